"""Elements as bytes and text: reading without decoding, and writing in the encoding of the source."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

Element = DataElement | RawDataElement


def tags_of(ds: Dataset) -> list[BaseTag]:
    """The tags of a dataset without decoding an element."""
    return list(ds.keys())


def text_of(element: Element) -> str:
    """The value as text with backslashes between values; bytes as Latin-1, for code that looks at ASCII only."""
    value = element.value
    if isinstance(value, bytes):
        return value.decode("latin-1").rstrip("\0 ")
    if value is None:
        return ""
    if isinstance(value, (list, tuple, MultiValue)):
        return "\\".join(str(part) for part in value)
    return str(value)


def ascii_element(tag: int, vr: str, values: str | Iterable[str]) -> RawDataElement:
    """An element of ASCII text, ready to be written in either VR encoding (little endian)."""
    text = values if isinstance(values, str) else "\\".join(values)
    data = text.encode("ascii")
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    return RawDataElement(BaseTag(tag), vr, len(data), data, 0, False, True)


def bytes_element(tag: int, vr: str, data: bytes) -> RawDataElement:
    """An element of bytes that are already little endian and of even length."""
    return RawDataElement(BaseTag(tag), vr, len(data), data, 0, False, True)


def with_vr(element: RawDataElement, vr: str) -> RawDataElement:
    """The same bytes under another VR (for what arrives as UN)."""
    return element._replace(VR=vr)

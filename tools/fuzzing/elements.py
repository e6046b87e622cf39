"""Elements of a data set as a tree, encoded by hand so that every length, VR and delimiter can be wrong on purpose."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, RLE, JPEG_LS = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
)
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, RLE, JPEG_LS)
COMPRESSED = frozenset((RLE, JPEG_LS))
_LONG = frozenset((b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV"))
_NUMBERS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d", b"AT": "HH"}
UNDEFINED = 0xFFFFFFFF


@dataclass(slots=True)
class Element:
    """One element. `value` is bytes, numbers, items (lists of elements) or, with `fragments`, encapsulated frames.

    `length` is written in place of the true length; `undefined` encodes items and sequence with undefined lengths;
    `ends` false leaves the delimiters out.
    """

    tag: int
    vr: bytes
    value: bytes | tuple[float, ...] | list[list[Element]]
    undefined: bool = False
    fragments: tuple[bytes, ...] | None = None
    length: int | None = None
    ends: bool = True


def encode(elements: Sequence[Element], syntax: str) -> bytes:
    """The data set as it travels in a transfer syntax (deflated where that says so)."""
    content = _Encoder(syntax).data_set(elements)
    if syntax != DEFLATED:
        return content
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


class _Encoder:
    def __init__(self, syntax: str) -> None:
        self._order = ">" if syntax == BIG_ENDIAN else "<"
        self._implicit = syntax == IMPLICIT

    def data_set(self, elements: Sequence[Element]) -> bytes:
        return b"".join(map(self._element, elements))

    def _element(self, element: Element) -> bytes:
        undefined = element.undefined or element.fragments is not None
        value = self._value(element)
        length = element.length
        if length is None:
            length = UNDEFINED if undefined else len(value)
        if undefined and element.ends:
            value += self._delimiter(0xE0DD, 0)
        return self._header(element.tag, element.vr, length) + value

    def _header(self, tag: int, vr: bytes, length: int) -> bytes:
        group, number = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return struct.pack(f"{self._order}HHI", group, number, length & UNDEFINED)
        if vr in _LONG:
            return struct.pack(f"{self._order}HH2sHI", group, number, vr, 0, length & UNDEFINED)
        return struct.pack(f"{self._order}HH2sH", group, number, vr, length & 0xFFFF)

    def _value(self, element: Element) -> bytes:
        if element.fragments is not None:
            table = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
            return table + b"".join(self._delimiter(0xE000, len(f)) + f for f in element.fragments)
        value = element.value
        if isinstance(value, bytes):
            return value
        if isinstance(value, tuple):
            return self._numbers(element.vr, value)
        return b"".join(self._item(item, element) for item in value)

    def _numbers(self, vr: bytes, value: tuple[float, ...]) -> bytes:
        code = _NUMBERS.get(vr, "H")
        if code in "fd":
            return struct.pack(f"{self._order}{len(value)}{code}", *value)
        return b"".join(struct.pack(f"{self._order}{code[0]}", int(v)) for v in value)

    def _item(self, item: Sequence[Element], sequence: Element) -> bytes:
        content = self.data_set(item)
        if not sequence.undefined:
            return self._delimiter(0xE000, len(content)) + content
        end = self._delimiter(0xE00D, 0) if sequence.ends else b""
        return self._delimiter(0xE000, UNDEFINED) + content + end

    def _delimiter(self, number: int, length: int) -> bytes:
        return struct.pack(f"{self._order}HHI", 0xFFFE, number, length)

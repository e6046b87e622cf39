"""Specific Character Set (PS3.3 C.12.1.1.2): declared terms, strict decoding, encoding for searches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.dataset import Dataset

from deidentify.errors import RefusalCode, Refused
from deidentify.quiet import quiet

DEFAULT = ("",)
_REPLACEMENT = "\ufffd"
_DELIMITERS = {ord("\\"), ord("^"), ord("=")}


def declared(ds: Dataset, inherited: tuple[str, ...] = DEFAULT) -> tuple[str, ...]:
    """The defined terms of (0008,0005), or those of the surrounding data set.

    Raises `Refused` for a term that PS3.3 does not define: nobody knows then what the text says.
    """
    if "SpecificCharacterSet" not in ds:
        return inherited
    element = ds.get_item("SpecificCharacterSet")
    raw = element.value
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else raw
    values = text.split("\\") if isinstance(text, str) else list(text or [])
    terms = tuple(str(value).strip(" \0") for value in values) or DEFAULT
    if any(term not in python_encoding for term in terms):
        raise Refused(RefusalCode.CHARACTER_SET, "Specific Character Set holds a term that DICOM does not define")
    return terms


def decode(value: bytes, terms: Sequence[str]) -> str:
    """Text of an element under the declared terms. Raises `Refused` when the bytes do not belong to them."""
    encodings = _python_names(tuple(terms))
    try:
        if b"\x1b" not in value:
            return value.decode(encodings[0])
        with quiet():
            text = decode_bytes(value, encodings, _DELIMITERS)
    except (UnicodeError, LookupError):
        text = _REPLACEMENT
    if _REPLACEMENT in text:
        message = "an identifying text cannot be decoded in the declared Specific Character Set"
        raise Refused(RefusalCode.CHARACTER_SET, message)
    return text


@lru_cache(maxsize=64)
def _python_names(terms: tuple[str, ...]) -> list[str]:
    with quiet():
        return convert_encodings(list(terms))


def encodings_of(text: str, terms: Sequence[str]) -> set[bytes]:
    """The byte forms in which `text` could stand in a file that declares these terms, and in UTF-8 and Latin-1."""
    if text.isascii():
        return {text.encode("ascii")}
    forms: set[bytes] = set()
    for encoding in ("utf-8", "latin-1"):
        try:
            forms.add(text.encode(encoding))
        except UnicodeEncodeError:
            continue
    try:
        with quiet():
            declared_form = encode_string(text, _python_names(tuple(terms)))
    except (UnicodeError, LookupError):
        return forms
    if b"?" not in declared_form:  # pydicom puts it where the character set has no such letter
        forms.add(declared_form)
    return forms

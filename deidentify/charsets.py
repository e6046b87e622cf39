"""Specific Character Set (PS3.3 C.12.1.1.2): declared terms, strict decoding, encoding for searches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.dataset import Dataset

from deidentify.errors import RefusalCode, Refused

DEFAULT = ("",)
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            encodings = convert_encodings(list(terms))
            if b"\x1b" in value:
                return decode_bytes(value, encodings, _DELIMITERS)
            return value.decode(encodings[0])
    except (UnicodeError, LookupError, UserWarning):
        message = "an identifying text cannot be decoded in the declared Specific Character Set"
        raise Refused(RefusalCode.CHARACTER_SET, message) from None


def encodings_of(text: str, terms: Sequence[str]) -> set[bytes]:
    """The byte forms in which `text` could stand in a file that declares these terms, and in UTF-8 and Latin-1."""
    forms: set[bytes] = set()
    for encoding in ("utf-8", "latin-1"):
        try:
            forms.add(text.encode(encoding))
        except UnicodeEncodeError:
            continue
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            forms.add(encode_string(text, convert_encodings(list(terms))))
    except (UnicodeError, LookupError, UserWarning):
        return forms
    return forms

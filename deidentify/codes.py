"""Coded entries (PS3.3 8.8): codes of published schemes stay with their published meaning, others lose their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from deidentify import text
from deidentify.elements import ascii_element, text_of
from deidentify.tables import words_of

UNSPECIFIED = "Unspecified"
_VALUE, _SCHEME, _VERSION, _MEANING = 0x00080100, 0x00080102, 0x00080103, 0x00080104
_LONG, _URN = 0x00080119, 0x00080120
_PUBLISHED: dict[str, str] = {
    "SCT": r"\d{6,18}",
    "SRT": r"[A-Z][0-9A-F]?-[0-9A-Z]{4,6}",
    "SNM3": r"[A-Z][0-9A-F]?-[0-9A-Z]{4,6}",
    "99SDM": r"[A-Z][0-9A-F]?-[0-9A-Z]{4,6}",
    "DCM": r"\d{6}",
    "LN": r"(?:LP|LA)?\d{1,7}-\d",
    "UCUM": r"[A-Za-z%/.*()0-9\-{}\[\]'_ ]{1,16}",
    "IBSI": r"[A-Z0-9]{4}",
    "FMA": r"\d{1,6}",
    "RADLEX": r"RID\d{1,6}",
    "NCIt": r"C\d{1,7}",
    "UMLS": r"C\d{7}",
    "MDC": r"\d{1,7}",
    "I10": r"[A-Z]\d{2}(?:\.\d{1,3})?",
    "I10C": r"[A-Z]\d{2}(?:\.\d{1,3})?",
    "NEU": r"[0-9\-]{1,8}",
    "UBERON": r"\d{7}",
    "99QIICR": r"\d{6}",
    "99TIMEPOINT": r"TP\d{3}",
}
_PATTERNS = {scheme: re.compile(pattern) for scheme, pattern in _PUBLISHED.items()}
_PRIVATE_SCHEME = re.compile(r"99[A-Z_]{1,14}|L")
_SCHEME_VERSION = re.compile(r"\d{1,2}(?:\.\d{1,2})*|20[0-4]\d[A-Za-z]?")
_ATOM = re.compile(r"[a-z]+")
_VERHOEFF = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


@cache
def _meanings(scheme: str) -> dict[str, list[str]]:
    """The published meanings by code value, shortest first, as pydicom packages them."""
    found: dict[str, list[str]] = {}
    if scheme in codes.schemes():
        for code in getattr(codes, scheme).concepts.values():
            if code.meaning.isascii():
                found.setdefault(code.value, []).append(code.meaning)
    return {value: sorted(meanings, key=len) for value, meanings in found.items()}


@dataclass(frozen=True)
class Code:
    """A coded entry as it leaves. `changed` says that it differs from what came in."""

    value: str
    scheme: str
    meaning: str
    version: str
    changed: bool


def read(item: Dataset) -> tuple[str, str, str, str]:
    """(value, scheme, meaning, version) of an item, "" for what it lacks."""
    tag = next((tag for tag in (_VALUE, _LONG, _URN) if tag in item), _VALUE)
    return _text(item, tag), _text(item, _SCHEME), _text(item, _MEANING), _text(item, _VERSION)


def _text(item: Dataset, tag: int) -> str:
    return text.visible(text_of(item.get_item(tag))) if tag in item else ""


def clean(item: Dataset, identifiers: Collection[str], token: Callable[[str], str]) -> Code:
    """The code that may stand in place of the one in `item`. `token` makes the opaque stand-in for a private code."""
    value, scheme, meaning, version = read(item)
    pattern = _PATTERNS.get(scheme)
    if pattern is not None and pattern.fullmatch(value) and _exists(value, scheme, identifiers):
        kept_value = value
        published = _meanings(scheme).get(value, [])
    else:
        scheme = _private_scheme(scheme, identifiers)
        kept_value = value if value and text.clean(value, identifiers) == value else token(value)
        published = []
    kept_meaning = meaning if meaning in published else text.clean(meaning, identifiers)
    if kept_meaning != meaning and published:
        kept_meaning = published[0]
    if not kept_meaning or text.names_subject(kept_meaning, identifiers):
        kept_meaning = UNSPECIFIED
    kept_version = version if _SCHEME_VERSION.fullmatch(version) and version not in identifiers else ""
    changed = (kept_value, kept_meaning, kept_version) != (value, meaning, version)
    return Code(kept_value[:16], scheme, kept_meaning[:64], kept_version, changed)


def _exists(value: str, scheme: str, identifiers: Collection[str]) -> bool:
    """Whether a value of the right form can be a code of its scheme, as far as that is known without the scheme."""
    if value in _meanings(scheme):
        return True
    if text.names_subject(value, identifiers) or scheme == "DCM":
        return False
    if scheme == "SCT":
        return _is_concept_id(value)
    return scheme != "UCUM" or _is_unit(value)


def _is_concept_id(number: str) -> bool:
    """Whether a number is a SNOMED CT concept identifier: partition 00 or 10 before Verhoeff's check digit (SNOMED CT
    Release File Specifications, SCTID)."""
    if number[-3:-1] not in ("00", "10"):
        return False
    check = 0
    for position, digit in enumerate(reversed(number)):
        check = int(_VERHOEFF[check][int(_PERMUTED[position % 8][int(digit)])])
    return check == 0


def _is_unit(value: str) -> bool:
    """A UCUM expression of common units and of known words in its notes."""
    return all(word in _units() for word in _ATOM.findall(value.lower()))


@cache
def _units() -> frozenset[str]:
    return words_of("unit_words.txt")


def _private_scheme(scheme: str, identifiers: Collection[str]) -> str:
    known = _PRIVATE_SCHEME.fullmatch(scheme) and not text.names_subject(scheme[2:], identifiers)
    return scheme if known or scheme in _PATTERNS else "99REMOVED"


def write(code: Code, out: Dataset) -> None:
    """Put the code into the item that leaves."""
    out[_VALUE] = ascii_element(_VALUE, "SH", code.value)
    out[_SCHEME] = ascii_element(_SCHEME, "SH", code.scheme)
    if code.version:
        out[_VERSION] = ascii_element(_VERSION, "SH", code.version)
    out[_MEANING] = ascii_element(_MEANING, "LO", code.meaning)

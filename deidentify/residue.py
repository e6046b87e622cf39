"""Checks of an object from the outside, without its original: what no de-identified object has."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from deidentify.elements import tags_of, text_of
from deidentify.findings import Finding, FindingCode
from deidentify.private import safe_elements
from deidentify.vrs import vr_of

# Not from the engine's tables on purpose: a list of its own, for what must be absent or empty.
_EMPTY = {
    0x00100030: "Patient's Birth Date", 0x00080050: "Accession Number", 0x00080080: "Institution Name",
    0x00080081: "Institution Address", 0x00081010: "Station Name", 0x00100021: "Issuer of Patient ID",
    0x00101000: "Other Patient IDs", 0x00101002: "Other Patient IDs Sequence", 0x00101040: "Patient's Address",
    0x00102154: "Patient's Telephone Numbers", 0x00181000: "Device Serial Number", 0x00104000: "Patient Comments",
    0x001021B0: "Additional Patient History", 0x00204000: "Image Comments", 0x00400275: "Request Attributes Sequence",
    0x04000500: "Encrypted Attributes Sequence", 0x04000561: "Original Attributes Sequence",
    0xFFFAFFFA: "Digital Signatures Sequence", 0xFFFCFFFC: "Data Set Trailing Padding",
}  # fmt: skip
_UID = re.compile(r"2\.25\.(?:0|[1-9]\d{0,38})|1\.2\.840\.10008(?:\.\d+)+")
_PSEUDONYM = re.compile(r"[A-Z2-7]{16}|ANONYMIZED")
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020


def residue(ds: Dataset, today: dt.date | None = None) -> Iterator[Finding]:
    """Findings in `ds` and its sequences; `today` bounds its dates where it is given."""
    yield from _item(ds, "", f"{today:%Y%m%d}" if today is not None else "")


def _item(ds: Dataset, path: str, today: str) -> Iterator[Finding]:
    tags = tags_of(ds)
    yield from _private(ds, tags, path)
    for tag in tags:
        where = f"{path}({tag.group:04X},{tag.element:04X})"
        if tag.group >> 8 in (0x50, 0x60) and not tag.is_private:
            yield Finding(FindingCode.GRAPHICS, where, "a curve or overlay")
            continue
        vr = vr_of(ds, tag)
        if vr == "SQ" and tag not in _EMPTY:
            for item in ds[tag].value:
                yield from _item(item, where, today)
        elif vr != "UN":
            yield from _value(text_of(ds.get_item(tag)) if vr in _TEXTUAL else "", tag, vr, where, today, ds)


_TEXTUAL = frozenset(("AE", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UR", "UT"))


def _value(value: str, tag: BaseTag, vr: str, where: str, today: str, ds: Dataset) -> Iterator[Finding]:
    value = value.strip(" \0")
    if tag in _EMPTY and (value not in ("", "REMOVED") or (vr == "SQ" and len(ds[tag].value))):
        yield Finding(FindingCode.IDENTIFYING_ATTRIBUTE, where, f"{_EMPTY[tag]} is not empty")
    elif vr == "PN" and value and not _PSEUDONYM.fullmatch(value):
        yield Finding(FindingCode.PERSON_NAME, where, "a person name that is not a pseudonym")
    elif tag in (_PATIENT_NAME, _PATIENT_ID) and not _PSEUDONYM.fullmatch(value):
        yield Finding(FindingCode.PERSON_NAME, where, "not a pseudonym")
    elif vr == "UI" and not all(_UID.fullmatch(uid.strip()) for uid in value.split("\\") if uid):
        yield Finding(FindingCode.FOREIGN_UID, where, "a UID that was not mapped")
    elif today and vr in ("DA", "DT") and any(part[:8] > today for part in value.split("\\")):
        yield Finding(FindingCode.FUTURE_DATE, where, "a date in the future")


def _private(ds: Dataset, tags: list[BaseTag], path: str) -> Iterator[Finding]:
    creators = {
        (tag.group, tag.element): text_of(ds.get_item(tag)).strip()
        for tag in tags
        if tag.is_private and 0x10 <= tag.element <= 0xFF
    }
    listed = {(creator, group) for creator, group, _ in safe_elements()}
    for tag in tags:
        if not tag.is_private:
            continue
        creator = creators.get((tag.group, tag.element if tag.element <= 0xFF else tag.element >> 8), "")
        known = (creator, tag.group) in listed
        if not known or (tag.element > 0xFF and (creator, tag.group, tag.element & 0xFF) not in safe_elements()):
            where = f"{path}({tag.group:04X},{tag.element:04X})"
            yield Finding(FindingCode.PRIVATE, where, "a private element that is not on the reviewed list")

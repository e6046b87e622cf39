"""The verification pass: searches what was written for what must not be there. It shares no rule with the engine and
works on the bytes, so a mistake of the engine cannot hide itself here. Findings never quote a value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from io import BytesIO

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag

from deidentify import stamp, text
from deidentify.elements import tags_of, text_of
from deidentify.findings import Finding, FindingCode
from deidentify.needles import PRINTABLE, SHORTEST, Needles, needles_for
from deidentify.parsing import PARSER_ERRORS
from deidentify.private import safe_elements
from deidentify.quiet import quiet
from deidentify.residue import residue
from deidentify.subject import Subject, fold
from deidentify.vrs import vr_of

_TEXT_VRS = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_UID = re.compile(rb"[0-2](?:\.\d{1,39}){3,}")
_WORD = re.compile(r"[^\W_]+")
_MANY = 500
_STAMP = ("(0012,0063)", "(0012,0064)")
_CONSTANTS = tuple(constant.encode().lower() for constant in (*stamp.CONSTANTS, "Profile "))


@quiet()
def verify_bytes(
    data: bytes, subject: Subject, original_uids: Collection[str], charsets: tuple[str, ...]
) -> list[Finding]:
    """Search an encoded file for everything that would tell whom it is about.

    `subject.identifiers` are looked for as whole words in every byte, in each of the declared `charsets` of the
    original, UTF-8 and Latin-1, names with and without accents and written together, dates in the usual orders; words
    too short for that are looked for in the text elements. `original_uids` are looked for in every byte. Besides, what
    no de-identified object has is reported whoever it is about (`deidentify.residue`).
    """
    needles = needles_for(subject.identifiers, charsets)
    try:
        ds = parse(data)
        findings = list(container_findings(data, ds))
        findings += identifier_findings(data, needles)
        findings += _text_findings(ds, needles.in_text, "")
        findings += residue(ds)
        findings += uid_findings(data, ds, original_uids)
    except (InvalidDicomError, *PARSER_ERRORS):
        return [Finding(FindingCode.NOT_DICOM, "offset 0", "the file cannot be read back")]
    return findings


@quiet()
def parse(data: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(data))


def container_findings(data: bytes, ds: Dataset) -> Iterator[Finding]:
    """Preamble, file meta, end of file, and the mark that the object was de-identified."""
    if any(data[:128]):
        yield Finding(FindingCode.PREAMBLE, "offset 0", "the preamble is not zero")
    for tag in tags_of(ds.file_meta):
        if tag.element not in (0x00, 0x01, 0x02, 0x03, 0x10, 0x12, 0x13):
            yield Finding(FindingCode.FILE_META, str(tag), "file meta holds more than it needs")
    end = _end(ds, data)
    if end != len(data):
        yield Finding(FindingCode.TRAILING_BYTES, f"offset {end}", "bytes after the last attribute, or padding")
    if str(ds.get("PatientIdentityRemoved", "")) != "YES" or "DeidentificationMethod" not in ds:
        yield Finding(FindingCode.NOT_MARKED, "(0012,0062)", "the object does not say that it was de-identified")


def _end(ds: Dataset, data: bytes) -> int:
    """Where the last attribute ends; for one of undefined length the end of its delimiter, if the file ends there."""
    tags = sorted(ds.keys())
    if not tags or tags[-1] >= 0xFFFCFFFC:
        return -1
    last = ds.get_item(tags[-1])
    if isinstance(last, RawDataElement) and last.length != 0xFFFFFFFF:
        return int(last.value_tell) + int(last.length)
    return len(data) if data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0") else -1


def identifier_findings(data: bytes, needles: Needles) -> Iterator[Finding]:
    """Needles that stand in the bytes as a word, apart from the texts that every object carries."""
    haystack = data.lower()
    # A needle of printable bytes can only stand in a run of them, and pixels hold few: one pass for all needles.
    runs = b"\0".join(PRINTABLE.findall(haystack))
    hits = [needle for needle in _wanted(needles.printable, runs) if needle in runs]
    hits += [needle for needle in _wanted(needles.others, haystack) if needle in haystack]
    if not hits:
        return
    for constant in _CONSTANTS:
        haystack = haystack.replace(constant, b"\0" * len(constant))
    for needle in hits:
        offset = _find_word(haystack, needle)
        if offset >= 0:
            yield Finding(FindingCode.IDENTIFIER, f"offset {offset}", "an identifier of the patient or of the staff")


def _wanted(needles: tuple[bytes, ...], haystack: bytes) -> Collection[bytes]:
    return needles if len(needles) < _MANY else _plausible(needles, haystack)


def _plausible(needles: Collection[bytes], haystack: bytes) -> list[bytes]:
    """Of thousands of needles those whose first bytes occur at all: one pass instead of thousands."""
    length = SHORTEST - 1
    starts = {haystack[offset : offset + length] for offset in range(len(haystack))}
    return [needle for needle in needles if needle[:length] in starts]


def _find_word(haystack: bytes, needle: bytes) -> int:
    """Offset of `needle` where it is not part of a longer word or number, -1 when there is none."""
    start = haystack.find(needle)
    while start >= 0:
        end = start + len(needle)
        before, after = haystack[start - 1 : start], haystack[end : end + 1]
        # A value is followed by the next tag, whose group may look like a letter or digit: (0038,eeee) is "8" NUL.
        is_tag = haystack[end + 1 : end + 2] == b"\0"
        if not _continues(before, needle[:1]) and (is_tag or not _continues(needle[-1:], after)):
            return start
        start = haystack.find(needle, start + 1)
    return -1


def _continues(left: bytes, right: bytes) -> bool:
    return (left.isalpha() and right.isalpha()) or (left.isdigit() and right.isdigit())


def text_elements(ds: Dataset, path: str) -> Iterator[tuple[str, str]]:
    """(attribute path, visible text) of every text element at any depth, private ones included."""
    for tag in tags_of(ds):
        vr = vr_of(ds, tag)
        if vr in _TEXT_VRS:
            yield path + _name(tag), text.visible(text_of(ds.get_item(tag)))
        elif vr == "SQ":
            for item in ds[tag].value:
                yield from text_elements(item, path + _name(tag))


def _name(tag: BaseTag) -> str:
    return f"({tag.group:04X},{tag.element:04X})"


@cache
def _creators() -> frozenset[str]:
    """Names of the private blocks that may stay: constants of the makers, whatever words they hold."""
    return frozenset(creator for creator, _, _ in safe_elements())


def _text_findings(ds: Dataset, words: frozenset[str], path: str) -> Iterator[Finding]:
    for where, value in text_elements(ds, path):
        if where.startswith(_STAMP) or value in _creators():
            continue
        if not value.isascii():
            yield Finding(FindingCode.FOREIGN_TEXT, where, "text beyond ASCII, which no cleaned text has")
        elif words and any(word in words for word in _WORD.findall(fold(value))):
            yield Finding(FindingCode.IDENTIFIER, where, "a short identifier of the patient or of the staff")


def uid_findings(data: bytes, ds: Dataset, original_uids: Collection[str]) -> Iterator[Finding]:
    """Original UIDs in any byte; in pixel data only where they are few, for speed."""
    wanted = {uid.encode() for uid in original_uids if uid}
    header_end = _pixels_start(ds, len(data))
    for match in _UID.finditer(data, 0, header_end):
        if match[0] in wanted:
            yield Finding(FindingCode.ORIGINAL_UID, f"offset {match.start()}", "a UID of the original")
    pixels = data[header_end:]
    for uid in wanted if len(wanted) <= 64 else ():
        if uid in pixels:
            yield Finding(FindingCode.ORIGINAL_UID, "pixel data", "a UID of the original")


def _pixels_start(ds: Dataset, otherwise: int) -> int:
    if "PixelData" not in ds:
        return otherwise
    element: DataElement | RawDataElement = ds.get_item("PixelData")
    return int(element.value_tell) if isinstance(element, RawDataElement) else otherwise

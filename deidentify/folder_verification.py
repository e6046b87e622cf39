"""`timepoint deidentify verify`: what is left in a folder, with the originals beside it or without."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from deidentify import charsets
from deidentify.elements import tags_of, text_of
from deidentify.errors import FolderError, Refused
from deidentify.findings import Finding, FindingCode
from deidentify.needles import Needles, needles_for
from deidentify.parsing import PARSER_ERRORS
from deidentify.quiet import quiet
from deidentify.reading import read_file
from deidentify.residue import residue
from deidentify.subject import Subject, identifiers_of
from deidentify.text import vocabulary
from deidentify.verification import (
    container_findings,
    identifier_findings,
    parse,
    uid_findings,
    verify_bytes,
)
from deidentify.vrs import vr_of

_NAME = re.compile(r"(?:2\.25\.\d{1,39}|[A-Z2-7]{16})(?:\.dcm)?")
_DATE = re.compile(r"(?:18|19|20)\d{6}")


@quiet()
def verify_folder(folder: Path, against: Path | None = None) -> list[Finding]:
    """Residual identifiers in the files below `folder`; empty when nothing was found.

    Without `against`: attributes that must be empty, person names, UIDs of foreign roots, private elements, graphics,
    dates in the future, file names, preamble, file meta, trailing bytes, missing marks. With `against`, the folder of
    the originals, all identifiers, UIDs and dates of its files are looked for in every file as well. Raises
    `FolderError` when a folder is missing.
    """
    for path in (folder, against):
        if path is not None and not path.is_dir():
            raise FolderError(f"{path} is not a folder")
    originals = _Originals.gather(against) if against is not None else None
    findings: list[Finding] = []
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file()), start=1):
        relative = path.relative_to(folder)
        named = all(_NAME.fullmatch(part) for part in relative.parts)
        label = str(relative) if named else f"file {number} (name withheld)"
        found = [] if named else [Finding(FindingCode.FILE_NAME, "file name", "not made of a pseudonym and new UIDs")]
        found += _file(path.read_bytes(), originals)
        findings += [replace(finding, file=label) for finding in found]
    return findings


@dataclass
class _Originals:
    """What identifies in a folder of originals.

    `pooled` is looked for in every file, whoever it is about. Dates and short words of one person occur by chance in
    files of another, so they are looked for only where the pixels tell which original a file comes from (`by_pixels`).
    """

    pooled: set[str] = field(default_factory=set)
    by_pixels: dict[bytes, set[str]] = field(default_factory=dict)
    uids: set[str] = field(default_factory=set)
    charsets: set[tuple[str, ...]] = field(default_factory=set)

    @classmethod
    def gather(cls, folder: Path) -> _Originals:
        originals = cls()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            try:
                _, ds = read_file(path)
                terms = charsets.declared(ds)
                identifiers = identifiers_of(ds)
            except Refused:
                continue  # the engine refuses it for the same reason, so it has no counterpart
            originals.charsets.add(terms)
            originals.pooled.update(text for text in identifiers if not _is_common(text))
            originals.uids.update(_uids(ds))
            digest = _pixel_digest(ds)
            if digest:
                originals.by_pixels.setdefault(digest, set()).update(identifiers)
        return originals

    @cached_property
    def needles(self) -> Needles:
        pooled = tuple(sorted(self.pooled))
        found = (needle for terms in self.charsets for needle in needles_for(pooled, terms).anywhere)
        return Needles(tuple(sorted(set(found))), frozenset())


def _is_common(text: str) -> bool:
    """A date, a short word, or a name that is a word of the vocabulary."""
    return bool(_DATE.fullmatch(text)) or len(text) < 5 or text.lower() in vocabulary()


def _pixel_digest(ds: Dataset) -> bytes:
    return hashlib.sha256(ds.PixelData).digest() if "PixelData" in ds and ds.PixelData else b""


def _uids(ds: Dataset) -> Iterator[str]:
    for tag in tags_of(ds):
        vr = vr_of(ds, tag)
        if vr == "UI":
            values = text_of(ds.get_item(tag)).split("\\")
            yield from (uid.strip(" \0") for uid in values if not uid.startswith("1.2.840.10008."))
        elif vr == "SQ":
            for item in ds[tag].value:
                yield from _uids(item)


def _file(data: bytes, originals: _Originals | None) -> list[Finding]:
    try:
        ds = parse(data)
    except (InvalidDicomError, *PARSER_ERRORS):
        return [Finding(FindingCode.NOT_DICOM, "offset 0", "not a DICOM file")]
    found = list(container_findings(data, ds)) + list(residue(ds, dt.datetime.now(dt.UTC).date()))
    if originals is None:
        return found
    subject = Subject(b"", tuple(sorted(originals.by_pixels.get(_pixel_digest(ds), ()))))
    found += uid_findings(data, ds, originals.uids)
    found += identifier_findings(data, originals.needles)
    for terms in sorted(originals.charsets) if subject.identifiers else ():
        found += verify_bytes(data, subject, (), terms)
    return list(dict.fromkeys(found))

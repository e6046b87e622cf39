"""Folder to folder: every instance below `source` is de-identified, verified and written, or listed with a reason."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pydicom
from pydicom.dataset import Dataset

from deidentify.engine import Deidentified, deidentify
from deidentify.errors import FolderError, RefusalCode, Refused
from deidentify.identity import Claim, Identities, claim_of
from deidentify.keys import KeyRing
from deidentify.parsing import parsing
from deidentify.profile import Profile
from deidentify.quiet import quiet
from deidentify.reading import read_file
from deidentify.residual_risk import ResidualRisk
from deidentify.series_text import by_series, refuse_text_in
from deidentify.subject import Subject, identifiers_of
from deidentify.text_reader import is_installed
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes

_IDENTIFYING = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDs", "OtherPatientNames", "PatientBirthDate", "PatientBirthName", "StudyInstanceUID",
)  # fmt: skip


@dataclass(frozen=True)
class RefusedFile:
    """A file that was not emitted. `path` is relative to the source folder and may itself identify: this list stays in
    the clinical zone."""

    path: Path
    code: RefusalCode
    message: str


@dataclass
class FolderReport:
    """What became of a folder. `duplicates` counts files that repeat an instance byte for byte."""

    written: int = 0
    duplicates: int = 0
    persons: int = 0
    refused: list[RefusedFile] = field(default_factory=list)
    risk: ResidualRisk = field(default_factory=lambda: ResidualRisk(Profile.default()))

    @property
    def refused_by_code(self) -> dict[str, int]:
        return dict(sorted(Counter(entry.code.value for entry in self.refused).items()))


@dataclass
class _Survey:
    """First pass: who is in the folder, and what names that person has in any of the files."""

    claims: dict[Path, Claim] = field(default_factory=dict)
    identifiers: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    refused: list[RefusedFile] = field(default_factory=list)


def deidentify_folder(
    source: Path,
    target: Path,
    keys: KeyRing,
    profile: Profile,
    ledger_file: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FolderReport:
    """De-identify all DICOM files below `source` into `target/<pseudonym>/<study>/<series>/<instance>.dcm` (new UIDs).

    Nothing is written that fails verification. `progress(done, total)` is called after each file. The surrogate of a
    person derives from the key and the normalised (issuer, PatientID), so later runs agree. Raises `FolderError` when
    the folders cannot be used.
    """
    _check(source, target, ledger_file)
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    survey = _survey(source, paths)
    run = _Run(source, target, keys, profile, survey)
    if profile.sample_series and is_installed():
        run.refuse_series_with_text()
    with _ledger(ledger_file) as write:
        for done, path in enumerate(paths, start=1):
            result = run.one(path)
            if result is not None:
                write(result.ledger.to_json())
                run.report.risk.add(result)
            if progress is not None:
                progress(done, len(paths))
        for refused in run.report.refused:
            write(json.dumps({"refused": refused.code.value, "message": refused.message}))
    run.report.risk.refused.update(run.report.refused_by_code)
    return run.report


def _check(source: Path, target: Path, ledger_file: Path | None) -> None:
    if not source.is_dir():
        raise FolderError(f"{source} is not a folder")
    inside = target.resolve()
    if inside == source.resolve() or source.resolve() in inside.parents or inside in source.resolve().parents:
        raise FolderError("the output folder and the input folder must lie apart")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FolderError(f"{target} exists and is not an empty folder")
    if ledger_file is not None and not ledger_file.resolve().parent.is_dir():
        raise FolderError(f"the folder of the ledger {ledger_file} does not exist")
    target.mkdir(parents=True, exist_ok=True)


@contextmanager
def _ledger(path: Path | None) -> Iterator[Callable[[str], object]]:
    """A function that writes one line of the ledger; refused files appear there with their reason and without name."""
    if path is None:
        yield lambda _line: None
        return
    with path.open("w", encoding="ascii") as stream:
        yield lambda line: stream.write(line + "\n")


def _survey(source: Path, paths: list[Path]) -> _Survey:
    survey = _Survey()
    same: dict[object, object] = {}  # equal texts of the slices of a study once, so that memory grows with studies
    for path in paths:
        try:
            ds = _header(path)
            identifiers, claim = identifiers_of(ds), claim_of(ds)
            survey.identifiers[path] = cast(tuple[str, ...], same.setdefault(identifiers, identifiers))
            survey.claims[path] = cast(Claim, same.setdefault(claim, claim))
        except Refused as refused:
            survey.refused.append(RefusedFile(path.relative_to(source), refused.code, refused.message))
    return survey


@quiet()
@parsing()
def _header(path: Path) -> Dataset:
    """The few attributes that tell who it is, without reading the rest of the file."""
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTIFYING))


class _Run:
    """Second pass over the files of one folder."""

    def __init__(self, source: Path, target: Path, keys: KeyRing, profile: Profile, survey: _Survey) -> None:
        self.source, self.target, self.keys, self.profile = source, target, keys, profile
        self.claims = survey.claims
        self.identities = Identities.of(survey.claims.values())
        self.names: dict[str, set[str]] = defaultdict(set)
        for path, claim in survey.claims.items():
            self.names[self.identities.person(claim)].update(survey.identifiers[path])
        refused = list(survey.refused)
        self.report = FolderReport(persons=len(self.names), refused=refused, risk=ResidualRisk(profile))
        self.seen: dict[str, bytes] = {}
        self.series_refused: dict[Path, Refused] = {}

    def refuse_series_with_text(self) -> None:
        """Keep back every series with text in a sample of its slices."""
        for files in by_series(sorted(self.claims)).values():
            try:
                refuse_text_in(files)
            except Refused as refused:
                self.series_refused.update(dict.fromkeys(files, refused))

    def one(self, path: Path) -> Deidentified | None:
        """De-identify, verify and write one file; None when it was refused or repeats another."""
        if path not in self.claims:
            return None
        try:
            if path in self.series_refused:
                raise self.series_refused[path]
            return self._one(path)
        except Refused as refused:
            self.report.refused.append(RefusedFile(path.relative_to(self.source), refused.code, refused.message))
            return None

    def _one(self, path: Path) -> Deidentified | None:
        data, ds = read_file(path)
        person = self.identities.person(self.claims[path])
        identifiers = sorted(self.names[person] | set(identifiers_of(ds)))
        subject = Subject(self.keys.surrogate(person), tuple(identifiers))
        result = deidentify(ds, subject, self.keys, self.profile)
        if self._is_repetition(result.ledger.sop_instance_uid, data):
            self.report.duplicates += 1
            return None
        encoded = to_bytes(result.dataset)
        findings = verify_bytes(encoded, subject, result.original_uids, result.charsets)
        if findings:
            kinds = ", ".join(sorted({finding.code.value for finding in findings}))
            raise Refused(RefusalCode.VERIFICATION, f"verification found: {kinds} (at {findings[0].where})")
        self._write(result, subject, encoded)
        return result

    def _is_repetition(self, uid: str, data: bytes) -> bool:
        digest = hashlib.sha256(data).digest()
        if uid not in self.seen:
            self.seen[uid] = digest
            return False
        if self.seen[uid] != digest:
            raise Refused(RefusalCode.DUPLICATE, "another file with other content has the same SOP Instance UID")
        return True

    def _write(self, result: Deidentified, subject: Subject, encoded: bytes) -> None:
        ds = result.dataset
        person = self.target / self.keys.pseudonym(subject.surrogate)
        folder = person / str(ds.StudyInstanceUID) / str(ds.SeriesInstanceUID)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{ds.SOPInstanceUID}.dcm"
        partial = path.with_suffix(".part")
        partial.write_bytes(encoded)
        partial.replace(path)
        self.report.written += 1

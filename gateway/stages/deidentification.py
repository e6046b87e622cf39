"""De-identify: the MR images of a study go from the image store into the research zone, each verified first."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pydicom
import structlog
from sqlmodel import col, select

from deidentify.engine import deidentify
from deidentify.errors import RefusalCode, Refused
from deidentify.reading import read_file
from deidentify.subject import Subject, identifiers_of
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.errors import NotFound
from gateway.rehoming import rehomings
from gateway.retention_tables import ReleasedImage
from gateway.stages.progress import advance, key_and_revision, require_study, set_aside
from gateway.tables import Instance, InstanceRole, Patient, QuarantineKind, StudyState
from gateway.vault import remember

_log = structlog.get_logger()


@dataclass(frozen=True)
class StudyImages:
    """The original MR images of a study: blob files, and whose they are. The files of `released` images hold their
    headers only: their pixels were deleted by retention."""

    surrogate: bytes
    files: tuple[Path, ...]
    released: int = 0


def research_study(gateway: Gateway, study_key: str, revision: int) -> Path:
    """Folder of the de-identified images of a study revision."""
    return gateway.research_folder / "studies" / f"{study_key}-r{revision}"


def original_images(gateway: Gateway, study_key: str) -> StudyImages:
    """Find the original MR images of a study.

    Raises:
        NotFound: when the study has no patient yet.
    """
    with read_scope(gateway.database) as session:
        study = require_study(session, study_key)
        patient = session.get(Patient, study.patient_key) if study.patient_key else None
        if patient is None:
            raise NotFound(f"study {study_key} has no patient")
        instances = session.exec(
            select(Instance, ReleasedImage.header_blob)
            .outerjoin(ReleasedImage, col(ReleasedImage.instance_id) == col(Instance.id))
            .where(Instance.study_key == study_key, Instance.role == InstanceRole.IMAGE)
            .order_by(col(Instance.sop_instance_uid))
        ).all()
        surrogate = bytes.fromhex(patient.surrogate)
    files = [
        gateway.results.path(header) if header else gateway.received.path(image.blob) for image, header in instances
    ]
    return StudyImages(surrogate, tuple(files), sum(1 for _, header in instances if header))


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Write the de-identified study, all or nothing. A series with an image that is refused is left out as a whole;
    a study of which no series is left is set aside."""
    study_key, revision = key_and_revision(arguments)
    target = research_study(gateway, study_key, revision)
    if not target.exists():
        images = original_images(gateway, study_key)
        if images.released:
            raise set_aside(
                gateway,
                study_key,
                revision,
                QuarantineKind.UNUSABLE,
                f"The pixels of {images.released} of {len(images.files)} images were deleted when their time was over.",
                "Have the whole study sent again, then complete it; or discard the new images.",
            )
        partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        refusals = _write_all(gateway, images, partial)
        for refusal in refusals:
            _log.warning("series left out of the research zone", study_key=study_key, code=refusal.code.value)
        if not any(partial.iterdir()):
            shutil.rmtree(partial)
            raise set_aside(
                gateway,
                study_key,
                revision,
                QuarantineKind.UNUSABLE,
                f"No series of the study can be de-identified: {refusals[0].message if refusals else 'no MR image'}.",
                "Look at the images of the study; replay it when the cause is mended.",
            )
        _remember(gateway, study_key, partial)
        partial.rename(target)
    remove_other_pseudonyms(gateway, study_key, revision)
    advance(gateway, study_key, revision, StudyState.DEIDENTIFIED)


def _remember(gateway: Gateway, study_key: str, folder: Path) -> None:
    """Put into the vault what leads back from the study in the research zone."""
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
        patient = session.get(Patient, study.patient_key) if study.patient_key else None
        if patient is None:
            raise NotFound(f"study {study_key} has no patient")
        originals = session.exec(select(Instance.sop_instance_uid).where(Instance.study_key == study_key)).all()
        written = {path.stem for path in folder.iterdir()}
        uids = {gateway.keys.uid(uid): uid for uid in originals if gateway.keys.uid(uid) in written}
        remember(session, gateway.vault_key, gateway.keys, patient, study.study_instance_uid, uids)


def follow_patient(gateway: Gateway, arguments: Arguments) -> None:
    """De-identify a study anew for the record it was given to. Nothing that follows needs the pixels: where they were
    deleted when their time was over, the copy under the former pseudonym goes and none takes its place."""
    study_key, revision = key_and_revision(arguments)
    if not original_images(gateway, study_key).released:
        run(gateway, arguments)
        return
    remove_other_pseudonyms(gateway, study_key, revision)
    advance(gateway, study_key, revision, StudyState.DEIDENTIFIED)


def remove_other_pseudonyms(gateway: Gateway, study_key: str, revision: int) -> None:
    """Remove the copies of a study that were made for another patient record: in the research zone a person has one
    pseudonym and one date shift."""
    with read_scope(gateway.database) as session:
        since = max((h.revision for h in rehomings(session, study_key, revision)), default=0)
    for folder in (gateway.research_folder / "studies").glob(f"{study_key}-r*"):
        number = folder.name.rpartition("-r")[2]
        if number.isdigit() and int(number) < since:
            shutil.rmtree(folder, ignore_errors=True)


def _write_all(gateway: Gateway, images: StudyImages, folder: Path) -> list[Refused]:
    """De-identify, verify and write every series; returns one refusal for each series that was left out."""
    known: dict[str, None] = {}
    series: dict[str, list[Path]] = {}
    for file in images.files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        known |= dict.fromkeys(identifiers_of(header))
        series.setdefault(str(header.SeriesInstanceUID), []).append(file)
    subject = Subject(images.surrogate, tuple(known))
    refusals = []
    for files in series.values():
        written: list[Path] = []
        try:
            for file in files:
                written.append(_write_one(gateway, subject, file, folder))
        except Refused as refusal:
            refusals.append(refusal)
            for path in written:
                path.unlink()
    return refusals


def _write_one(gateway: Gateway, subject: Subject, file: Path, folder: Path) -> Path:
    cleaned = deidentify(read_file(file)[1], subject, gateway.keys, gateway.profile)
    data = to_bytes(cleaned.dataset)
    findings = verify_bytes(data, subject, cleaned.original_uids, cleaned.charsets)
    if findings:
        kinds = ", ".join(sorted({finding.code.value for finding in findings}))
        raise Refused(RefusalCode.VERIFICATION, f"the verification found {kinds} at {findings[0].where}")
    path = folder / f"{cleaned.dataset.SOPInstanceUID}.dcm"
    path.write_bytes(data)
    return path

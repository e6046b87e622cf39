"""De-identify: the MR images of a study go from the image store into the research zone, each verified first."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pydicom
from sqlmodel import col, select

from deidentify.engine import deidentify
from deidentify.errors import Refused
from deidentify.subject import Subject, identifiers_of
from deidentify.writing import to_bytes, verify_bytes
from gateway.context import Gateway
from gateway.database import read_scope
from gateway.engine import Arguments
from gateway.errors import NotFound
from gateway.stages.progress import advance, key_and_revision, require_study, set_aside
from gateway.tables import Instance, InstanceRole, Patient, QuarantineKind, StudyState


@dataclass(frozen=True)
class StudyImages:
    """The original MR images of a study: blob files, and whose they are."""

    surrogate: bytes
    files: tuple[Path, ...]


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
            select(Instance)
            .where(Instance.study_key == study_key, Instance.role == InstanceRole.IMAGE)
            .order_by(col(Instance.sop_instance_uid))
        ).all()
        surrogate = bytes.fromhex(patient.surrogate)
    return StudyImages(surrogate, tuple(gateway.received.path(i.blob) for i in instances))


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Write the de-identified study, all or nothing; an instance that is refused sets the study aside."""
    study_key, revision = key_and_revision(arguments)
    target = research_study(gateway, study_key, revision)
    if not target.exists():
        images = original_images(gateway, study_key)
        partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _write_all(gateway, images, partial)
        except Refused as refusal:
            shutil.rmtree(partial)
            raise set_aside(
                gateway,
                study_key,
                revision,
                QuarantineKind.UNUSABLE,
                f"An image cannot be de-identified: {refusal}",
                "Look at the images of the study; replay it when the cause is mended.",
            ) from refusal
        partial.rename(target)
    advance(gateway, study_key, revision, StudyState.DEIDENTIFIED)


def _write_all(gateway: Gateway, images: StudyImages, folder: Path) -> None:
    known: dict[str, None] = {}
    for file in images.files:
        known |= dict.fromkeys(identifiers_of(pydicom.dcmread(file, stop_before_pixels=True)))
    subject = Subject(images.surrogate, tuple(known))
    for file in images.files:
        dataset = pydicom.dcmread(file)
        cleaned = deidentify(dataset, subject, gateway.keys, gateway.profile).dataset
        data = to_bytes(cleaned)
        findings = verify_bytes(data, subject)
        if findings:
            raise Refused("verification", f"{len(findings)} places still hold an identifier")
        (folder / f"{cleaned.SOPInstanceUID}.dcm").write_bytes(data)

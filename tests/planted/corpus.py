"""The planted corpus: patients, three studies each, every kind of object, written to a folder."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from planted import derived_objects, mr_objects
from planted.patients import Patient, patients
from planted.plants import Plant, Planter
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

SLICES = 3
_NOT_HIGHDICOM = ("korean", "chinese")  # character sets that highdicom does not know


@dataclass
class Corpus:
    """`accepted` and `refused` are file contents by name; `refused` names begin with the expected reason code.
    `originals` are the datasets of `accepted` as sent; `patient_of` tells by file whom it is about."""

    patients: list[Patient]
    accepted: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, bytes] = field(default_factory=dict)
    patient_of: dict[str, Patient] = field(default_factory=dict)
    study_of: dict[str, int] = field(default_factory=dict)
    plants: list[Plant] = field(default_factory=list)
    dates: set[dt.date] = field(default_factory=set)

    def write(self, folder: Path) -> None:
        for name, data in {**self.accepted, **self.refused}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def make_corpus(seed: int, people: int = 9) -> Corpus:
    """The same seed makes the same corpus; another seed changes every value and no place."""
    planter = Planter(seed)
    corpus = Corpus(patients(planter, people))
    for patient in corpus.patients:
        corpus.dates.update(patient.study_dates)
        for study in range(len(patient.study_dates)):
            _study(corpus, patient, study, planter)
    corpus.plants = planter.plants
    return corpus


def _study(corpus: Corpus, patient: Patient, study: int, planter: Planter) -> None:
    uids = _uids(planter)
    images = [_slice(patient, study, uids, number, planter) for number in range(SLICES)]
    where = (
        f"{patient.key}/{patient.name.split('^')[0]}_{study}" if patient.key == "first" else f"{patient.key}/{study}"
    )
    full = study == 0
    files: dict[str, bytes] = {}
    for number, image in enumerate(images):
        syntax = ImplicitVRLittleEndian if study == 1 else ExplicitVRLittleEndian
        files[f"slice{number}"] = mr_objects.spoil_file(mr_objects.encode(image, syntax), planter)
    sources: list[Dataset] = [pydicom.dcmread(BytesIO(files[f"slice{number}"])) for number in range(SLICES)]
    if full:
        files |= _kinds(patient, study, uids, sources, planter)
    for name, data in files.items():
        corpus.accepted[f"{where}/{name}"] = data
        corpus.patient_of[f"{where}/{name}"] = patient
        corpus.study_of[f"{where}/{name}"] = study
    if full and patient.key in ("first", "second"):
        for name, ds in derived_objects.refused(sources[0], planter).items():
            corpus.refused[f"{name}-{patient.key}"] = mr_objects.encode(ds)


def _kinds(
    patient: Patient, study: int, uids: dict[str, str], sources: list[Dataset], planter: Planter
) -> dict[str, bytes]:
    enhanced = mr_objects.enhanced(patient, study, uids)
    mr_objects.plant(enhanced, planter)
    enhanced.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0].FrameComments = planter.sentence(
        "nested FrameComments"
    )
    enhanced.PerFrameFunctionalGroupsSequence[1].FrameContentSequence[0].FrameLabel = planter.label("FrameLabel")
    objects = {"enhanced": enhanced}
    if patient.key not in _NOT_HIGHDICOM:
        objects |= {
            "seg": derived_objects.segmentation(sources, uids, planter),
            "sr": derived_objects.report(sources, uids, planter, patient.birth_date),
            "kos": derived_objects.key_objects(sources, uids, planter),
            "gsps": derived_objects.presentation(sources, uids, planter),
        }
    files = {name: mr_objects.spoil_file(mr_objects.encode(ds), planter) for name, ds in objects.items()}
    files |= _syntaxes(patient, study, uids, planter)
    trailing = planter.sentence("trailing bytes").encode()
    # A well-formed element behind the pixels that the IOD does not know, then its text: how trailers really look.
    files["enhanced"] += b"\xfc\xff\xfc\xffOB\0\0" + len(trailing).to_bytes(4, "little") + trailing
    return files


def _syntaxes(patient: Patient, study: int, uids: dict[str, str], planter: Planter) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, syntax in {
        "big": ExplicitVRBigEndian,
        "deflated": DeflatedExplicitVRLittleEndian,
        "rle": RLELossless,
    }.items():
        image = mr_objects.classic(patient, study, {**uids, "slice9": uids[name]}, 9)
        image.PatientComments = planter.sentence(f"PatientComments ({name})")
        if syntax == RLELossless:
            image = mr_objects.reparsed(image)
            image.compress(RLELossless, generate_instance_uid=False)
        big = syntax == ExplicitVRBigEndian
        files[name] = _big_endian(image) if big else mr_objects.encode(image, syntax)
    return files


def _big_endian(image: Dataset) -> bytes:
    image.PixelData = np.frombuffer(image.PixelData, "<u2").byteswap().tobytes()
    return mr_objects.encode(image, ExplicitVRBigEndian)


def _slice(patient: Patient, study: int, uids: dict[str, str], number: int, planter: Planter) -> Dataset:
    image = mr_objects.classic(patient, study, uids, number)
    image.ReferencedImageSequence = [mr_objects.reference(image.SOPClassUID, uids[f"slice{(number + 1) % SLICES}"])]
    if patient.issuer_in_all or number == 0:
        image.IssuerOfPatientID = patient.issuer
    if number != 1:  # one slice stays without plants: what a quiet header looks like
        mr_objects.plant(image, planter)
    return image


_KEYS = (
    "study", "frame", "series", "slice0", "slice1", "slice2", "enhanced", "enhanced_series", "seg", "seg_series", "sr",
    "sr_series", "kos", "kos_series", "pr", "pr_series", "tracking", "big", "deflated", "rle",
)  # fmt: skip


def _uids(planter: Planter) -> dict[str, str]:
    return {key: planter.uid(key) for key in _KEYS}

"""The corpus for scores: that of `corpus` and, for three of its patients, the places of `elsewhere` and more kinds.

`accepted` are the kinds that are handled; `refused` are those that are refused on purpose, named by the reason code.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pydicom
from planted import derived_objects, elsewhere, mr_objects
from planted.corpus import Corpus, make_corpus
from planted.patients import Patient
from planted.plants import Planter
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    MRSpectroscopyStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    PositronEmissionTomographyImageStorage,
    RTDoseStorage,
    RTPlanStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    VideoPhotographicImageStorage,
)

_FOREIGN = {
    "capture": SecondaryCaptureImageStorage, "colour-capture": MultiFrameTrueColorSecondaryCaptureImageStorage,
    "pdf": EncapsulatedPDFStorage, "cda": EncapsulatedCDAStorage, "spectroscopy": MRSpectroscopyStorage,
    "pet": PositronEmissionTomographyImageStorage, "ct": CTImageStorage, "video": VideoPhotographicImageStorage,
    "cr": ComputedRadiographyImageStorage, "ultrasound": UltrasoundImageStorage, "dose": RTDoseStorage,
    "plan": RTPlanStorage,
}  # fmt: skip
PRIVATE_CLASSES = ("1.2.840.113619.4.27", "1.3.12.2.1107.5.9.1", "1.3.46.670589.11.0.0.12.1")


def make_wide_corpus(seed: int, people: int = 5) -> Corpus:
    """The same seed makes the same corpus; another seed changes every value and no place."""
    corpus = make_corpus(seed, people)
    planter = Planter(seed + 1_000_000)
    planter.note("label", "reserved", planter.name())
    for patient in corpus.patients[:3]:
        _more(corpus, patient, planter)
    corpus.plants = [*corpus.plants, *planter.plants]
    return corpus


def _more(corpus: Corpus, patient: Patient, planter: Planter) -> None:
    uids = {key: planter.uid(key) for key in ("study", "frame", "series", "slice0", "slice1", "slice2", "tracking",
            "seg", "seg_series", "sr", "sr_series", "rtss", "rtss_series", "rle", "jls", "j2k")}  # fmt: skip
    images = []
    for number in range(3):
        image = mr_objects.classic(patient, 1, uids, number)
        image.IssuerOfPatientID = patient.issuer
        if number == 0:
            elsewhere.plant_elsewhere(image, planter)
        images.append(image)
    made = {f"slice{number}": mr_objects.encode(image) for number, image in enumerate(images)}
    received = [mr_objects.reparsed(image) for image in images]
    report = derived_objects.report(received, uids, planter, patient.birth_date)
    elsewhere.deepen(report, planter)
    made["seg"] = mr_objects.encode(derived_objects.segmentation(received, uids, planter))
    made["sr"] = mr_objects.encode(report)
    made["rtss"] = mr_objects.encode(elsewhere.structure_set(received, uids, planter))
    made |= _compressed(images[1], uids, planter) | _charsets(patient, uids, planter)
    for name, data in made.items():
        key = f"{patient.key}/wide/{name}"
        corpus.accepted[key], corpus.patient_of[key], corpus.study_of[key] = data, patient, 1
    for name, (reason, ds) in _refused(images[0], planter).items():
        corpus.refused[f"{reason}/{name}-{patient.key}"] = mr_objects.encode(ds)


def _compressed(image: Dataset, uids: dict[str, str], planter: Planter) -> dict[str, bytes]:
    made = {}
    large = deepcopy(image)
    large.Rows = large.Columns = 64
    large.PixelData = np.random.default_rng(5).integers(0, 4000, (64, 64), dtype=np.uint16).tobytes()
    names = ("rle", "jls", "j2k")
    for name, (syntax, frames) in zip(names, elsewhere.with_comments(large, planter).items(), strict=True):
        ds = deepcopy(large)
        ds.SOPInstanceUID, ds.PixelData = uids[name], frames
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        made[name] = mr_objects.encode(ds, UID(syntax))
    return made


def _charsets(patient: Patient, uids: dict[str, str], planter: Planter) -> dict[str, bytes]:
    made = {}
    for number, (charset, text) in enumerate(elsewhere.CHARSETS):
        ds = mr_objects.classic(patient, 1, uids, 0)
        ds.SOPInstanceUID, ds.IssuerOfPatientID = f"{uids['slice0']}.{number + 1}", patient.issuer
        if not patient.name.isascii():
            ds.PatientName = "Plain^Name"
        elsewhere.in_charset(ds, charset, text, planter)
        made[f"charset{number}"] = mr_objects.encode(ds)
    return made


def _refused(image: Dataset, planter: Planter) -> dict[str, tuple[str, Dataset]]:
    found: dict[str, tuple[str, Dataset]] = {}
    classes = {**{name: ("sop-class-refused", uid) for name, uid in _FOREIGN.items()},
               **{f"private{n}": ("sop-class-private", UID(uid)) for n, uid in enumerate(PRIVATE_CLASSES)}}  # fmt: skip
    for number, (name, (reason, uid)) in enumerate(classes.items()):
        ds = deepcopy(image)
        ds.SOPClassUID, ds.SOPInstanceUID = uid, f"{image.SOPInstanceUID}.{100 + number}"
        ds.DocumentTitle = planter.sentence(name, 60)
        found[name] = (reason, ds)
    burned = elsewhere.burned_in(image, planter.label("burned in"))
    burned.SOPInstanceUID = f"{image.SOPInstanceUID}.200"
    found["burned"] = ("pixels-burned-in", burned)
    return found


def media_directory(patient_name: str) -> bytes:
    """A DICOMDIR with one patient record."""
    ds = Dataset()
    ds.FileSetID = "STUDIES"
    ds.DirectoryRecordSequence = [mr_objects.item(DirectoryRecordType="PATIENT", PatientName=patient_name)]
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.1.3.10", "1.2.3.4.5.6"
    data = mr_objects.encode(ds)
    plain = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        delattr(plain, keyword)
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, plain, enforce_file_format=True)
    return bytes(buffer.getvalue())

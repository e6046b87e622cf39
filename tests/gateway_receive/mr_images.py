"""Small, valid MR images of brain-tumour protocols, made from nothing."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from longitudinal.types import Contrast

TIMING: dict[Contrast, tuple[str, float, float, float | None]] = {
    Contrast.T1C: ("t1 mprage post gad", 2.3, 500.0, None),
    Contrast.T1: ("t1 se tra", 10.0, 500.0, None),
    Contrast.T2: ("t2 tse tra", 100.0, 5000.0, None),
    Contrast.FLAIR: ("t2 flair tra", 120.0, 9000.0, 2500.0),
}


def mr_image(
    *,
    study: str,
    series: str,
    number: int,
    contrast: Contrast = Contrast.T1C,
    patient_id: str | None = "PAT-001",
    issuer: str = "HOSPITAL",
    name: str = "Doe^Jane",
    charset: str = "ISO_IR 192",
    size: int = 16,
    date: str = "20260110",
    sop_instance_uid: str = "",
) -> Dataset:
    """One axial slice at z = 5 mm * number."""
    description, echo, repetition, inversion = TIMING[contrast]
    ds = Dataset()
    ds.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = sop_instance_uid or generate_uid(entropy_srcs=[study, series, str(number)])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = date
    ds.StudyTime = ds.AcquisitionTime = "101500"
    ds.AccessionNumber = ""
    ds.Modality = "MR"
    ds.Manufacturer = "Example Scanners"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.PatientName, ds.PatientBirthDate, ds.PatientSex = name, "19700101", "F"
    if patient_id is not None:
        ds.PatientID = patient_id
    if issuer:
        ds.IssuerOfPatientID = issuer
    ds.SeriesDescription = ds.ProtocolName = description
    ds.SeriesNumber, ds.InstanceNumber = list(Contrast).index(contrast) + 1, number
    ds.ScanningSequence = ["SE", "IR"] if inversion else "SE"
    ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SK", "", "2D"
    ds.EchoTime, ds.RepetitionTime, ds.InversionTime = echo, repetition, inversion
    ds.ContrastBolusAgent = "Gadovist" if contrast is Contrast.T1C else ""
    ds.FrameOfReferenceUID = f"{study}.7"
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [-8.0, -8.0, 5.0 * number]
    ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 5.0
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    pixels = (np.arange(size * size, dtype="<u2").reshape(size, size) * (number + 1)) % 4096
    ds.PixelData = pixels.astype("<u2").tobytes()
    return _with_meta(ds)


def mr_series(study: str, contrast: Contrast, slices: int = 5, **patient: str | None) -> list[Dataset]:
    series = f"{study}.{list(Contrast).index(contrast) + 1}"
    return [
        mr_image(study=study, series=series, number=n, contrast=contrast, **patient)  # type: ignore[arg-type]
        for n in range(1, slices + 1)
    ]


def mr_study(
    study: str, contrasts: tuple[Contrast, ...] = tuple(Contrast), slices: int = 5, **patient: str | None
) -> list[Dataset]:
    """A study with one series for each contrast, slice by slice."""
    return [image for c in contrasts for image in mr_series(study, c, slices, **patient)]


def encoded(ds: Dataset) -> bytes:
    """The data set as it travels: without preamble and file meta information."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def write(folder: Path, images: list[Dataset]) -> list[Path]:
    """Write Part 10 files, named by their order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for order, image in enumerate(images):
        files.append(folder / f"{order:04d}.dcm")
        image.save_as(files[-1], enforce_file_format=True)
    return files


def _with_meta(ds: Dataset) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(ds.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    return ds

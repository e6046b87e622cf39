"""Write a simulated acquisition as classic MR Image Storage instances (PS3.3 A.4), one file a slice."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from longitudinal.types import Contrast
from training.simulate.course import Patient
from training.simulate.mr import SliceStack
from training.simulate.protocol import SCANNERS, SEQUENCES, describe

IMPLEMENTATION_CLASS_UID = UID("2.25.211385764203148017693402817640512733990")


@dataclass(frozen=True)
class StudyHeader:
    """What all series of a study share."""

    patient: Patient
    timepoint: int
    study_uid: str
    frame_of_reference_uid: str
    accession: str
    started: dt.datetime
    scanner: int


def derived_uid(*parts: object) -> str:
    """A `2.25.` UID (PS3.5 B.2) derived from the parts: the same parts give the same UID."""
    digest = hashlib.sha256("\x1f".join(str(p) for p in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_series(
    folder: Path,
    header: StudyHeader,
    contrast: Contrast,
    number: int,
    stack: SliceStack,
    signal: npt.NDArray[np.float32],
) -> str:
    """Write every slice of `signal` (slice, row, column; any scale) into `folder`; returns the series UID."""
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = derived_uid(header.study_uid, contrast.value)
    gain = 500.0 + 90.0 * header.scanner + 40.0 * number
    pixels = np.clip(np.rint(signal * gain), 0, 4095).astype("<u2")
    begun = header.started + dt.timedelta(minutes=4 * number)
    series = _series_dataset(header, contrast, number, series_uid, stack, begun)
    window = (float(gain * 0.7), float(gain * 1.4))
    for index in range(stack.slices):
        instance = _instance(series, series_uid, stack, index, pixels[index], window, begun)
        instance.save_as(folder / f"{index + 1:03d}.dcm", enforce_file_format=True)
    return series_uid


def _da(day: dt.date) -> str:
    return day.strftime("%Y%m%d")


def _tm(moment: dt.datetime) -> str:
    return moment.strftime("%H%M%S")


def _series_dataset(
    header: StudyHeader, contrast: Contrast, number: int, series_uid: str, stack: SliceStack, begun: dt.datetime
) -> Dataset:
    ds = Dataset()
    _patient_and_study(ds, header)
    _series_and_equipment(ds, header, number, series_uid, begun)
    ds.SeriesDescription = ds.ProtocolName = describe(contrast, header.scanner, stack)
    _mr_sequence(ds, header, contrast, stack)
    return ds


def _patient_and_study(ds: Dataset, header: StudyHeader) -> None:
    patient, day = header.patient, header.started.date()
    if patient.character_set:
        ds.SpecificCharacterSet = list(patient.character_set)
    ds.PatientName = patient.name
    ds.PatientID = patient.patient_id
    ds.IssuerOfPatientID = patient.issuer
    ds.PatientBirthDate = _da(patient.born)
    ds.PatientSex = patient.sex
    ds.PatientAge = f"{(day - patient.born).days // 365:03d}Y"
    ds.PatientWeight = str(60 + 5 * (patient.index % 7))
    ds.StudyInstanceUID = header.study_uid
    ds.StudyDate, ds.StudyTime = _da(day), _tm(header.started)
    ds.AccessionNumber = header.accession
    ds.StudyID = str(header.timepoint)
    ds.StudyDescription = "MR BRAIN W WO CONTRAST"
    ds.ReferringPhysicianName = "Referrer^Simulated"


def _series_and_equipment(ds: Dataset, header: StudyHeader, number: int, series_uid: str, begun: dt.datetime) -> None:
    manufacturer, model, tesla = SCANNERS[header.scanner]
    ds.Modality = "MR"
    ds.SeriesInstanceUID = series_uid
    ds.SeriesNumber = str(number)
    ds.SeriesDate, ds.SeriesTime = _da(begun.date()), _tm(begun)
    ds.BodyPartExamined = "BRAIN"
    ds.PatientPosition = "HFS"
    ds.Manufacturer, ds.ManufacturerModelName = manufacturer, model
    ds.InstitutionName = "Simulated Hospital"
    ds.StationName = f"SIMMR{header.scanner + 1}"
    ds.DeviceSerialNumber = f"{70000 + header.scanner}"
    ds.SoftwareVersions = "simulate-1"
    ds.MagneticFieldStrength = str(tesla)
    ds.FrameOfReferenceUID = header.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""


def _mr_sequence(ds: Dataset, header: StudyHeader, contrast: Contrast, stack: SliceStack) -> None:
    sequence = SEQUENCES[contrast]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanningSequence = list(sequence.scanning_sequence)
    ds.SequenceVariant = list(sequence.sequence_variant)
    ds.ScanOptions = list(sequence.scan_options)
    ds.MRAcquisitionType = "2D"
    ds.RepetitionTime = str(sequence.repetition_ms)
    ds.EchoTime = str(sequence.echo_ms)
    if sequence.inversion_ms is not None:
        ds.InversionTime = str(sequence.inversion_ms)
    ds.EchoTrainLength = str(sequence.echo_train)
    ds.EchoNumbers = "1"
    ds.FlipAngle = str(sequence.flip_deg)
    ds.NumberOfAverages = "1"
    ds.ImagingFrequency = f"{42.577 * SCANNERS[header.scanner][2]:.4f}"
    ds.ImagedNucleus = "1H"
    ds.SliceThickness = str(stack.thickness_mm)
    ds.SpacingBetweenSlices = str(stack.spacing_mm)
    if contrast is Contrast.T1C:
        ds.ContrastBolusAgent = "Gadobutrol"
        ds.ContrastBolusRoute = "IV"
        ds.ContrastBolusVolume = "7.5"


def _instance(
    series: Dataset,
    series_uid: str,
    stack: SliceStack,
    index: int,
    pixels: npt.NDArray[np.uint16],
    window: tuple[float, float],
    begun: dt.datetime,
) -> Dataset:
    ds = Dataset()
    ds.update(series)
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = derived_uid(series_uid, index + 1)
    ds.InstanceNumber = str(index + 1)
    ds.AcquisitionNumber = "1"
    ds.AcquisitionDate = ds.ContentDate = ds.InstanceCreationDate = _da(begun.date())
    ds.AcquisitionTime = ds.ContentTime = ds.InstanceCreationTime = _tm(begun)
    _place(ds, stack, index)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    ds.WindowCenter, ds.WindowWidth = f"{window[0]:.0f}", f"{window[1]:.0f}"
    ds.add_new(0x7FE00010, "OW", pixels.tobytes())
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    ds.file_meta.ImplementationVersionName = "TIMEPOINT_SIM_1"
    return ds


def _place(ds: Dataset, stack: SliceStack, index: int) -> None:
    affine = stack.affine
    position = affine[:3, 3] + affine[:3, 0] * index
    cosines = np.concatenate([stack.orientation[:, 0], stack.orientation[:, 1]])
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    ds.ImageOrientationPatient = [f"{v:.10f}" for v in cosines]
    ds.SliceLocation = f"{float(position @ stack.orientation[:, 2]):.4f}"
    ds.PixelSpacing = [str(stack.pixel_mm), str(stack.pixel_mm)]

"""Objects that show text: secondary captures of every photometric interpretation, and slices of one series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GREY_BYTES, GREY_WORDS, COLOUR_FRAMES = f"{CAPTURE}.2", f"{CAPTURE}.3", f"{CAPTURE}.4"
_ROOT = "1.2.826.0.1.3680043.10.1471"


def image_object(pixels: npt.NDArray[Any], sop_class: str = CAPTURE, number: int = 1, **attributes: Any) -> Dataset:
    """A whole object around `pixels` ([frames,] rows, columns[, 3]); `attributes` by keyword replace what it has."""
    colour = pixels.shape[-1] == 3
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{_ROOT}.3.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{_ROOT}.1", f"{_ROOT}.2"
    ds.FrameOfReferenceUID = f"{_ROOT}.4"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "P-4711", "19610304", "F"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName = "20240117", "101500", "A1", "Who^Dr"
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 1, number
    ds.Modality = "MR" if sop_class == MR_IMAGE else "OT"
    ds.ConversionType = "WSD"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"] if sop_class == MR_IMAGE else ["DERIVED", "SECONDARY"]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = int(rows), int(columns)
    if pixels.ndim > (3 if colour else 2):
        ds.NumberOfFrames = pixels.shape[0]
    bits = pixels.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def palette_object(pixels: npt.NDArray[np.uint8]) -> Dataset:
    """A capture in 256 colours of which the numbers run backwards: the brightest grey is colour 0."""
    ds = image_object((255 - pixels).astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    table = (np.arange(255, -1, -1, dtype=np.uint16) * 257).tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", table)
    return ds


def compressed(ds: Dataset) -> Dataset:
    """The same object with RLE frames."""
    ds.compress(RLELossless, generate_instance_uid=False)
    return ds


def write_series(folder: Path, slices: list[npt.NDArray[np.uint16]]) -> list[Path]:
    """Original MR slices of one series as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, pixels in enumerate(slices, start=1):
        ds = image_object(pixels, MR_IMAGE, number, BurnedInAnnotation="NO")
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, number * 5], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1, 1], 5
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
        ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength = 10, 500, 1
        path = folder / f"{number:03}.dcm"
        pydicom.dcmwrite(path, ds, enforce_file_format=True)
        paths.append(path)
    return paths

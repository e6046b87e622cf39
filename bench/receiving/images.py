"""MR instances as scanners send them: 256 x 256 x 16 bit with 51 kB of private header, 184 kB each."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

_ROOT = "1.2.826.0.1.3680043.10.99"
_PLACE = f"{_ROOT}.7000000.7000000"


class Images:
    """A template whose UIDs are replaced, so that no two instances of a run are the same."""

    def __init__(self) -> None:
        self._template = _encoded(_image())
        self._file = _file(_image())
        self._batch = 1_000_000

    def next_batch(self, count: int) -> list[tuple[str, bytes]]:
        """(SOP Instance UID, data set) of so many new instances of one new study."""
        self._batch += 1
        uids = [f"{_ROOT}.{self._batch}.{1_000_000 + n}" for n in range(count)]
        return [(uid, self._of(self._template, uid)) for uid in uids]

    def write_batch(self, folder: Path, count: int) -> list[Path]:
        """Files of so many new instances."""
        folder.mkdir(parents=True)
        self._batch += 1
        files = []
        for n in range(count):
            files.append(folder / f"{n:04d}.dcm")
            files[-1].write_bytes(self._of(self._file, f"{_ROOT}.{self._batch}.{1_000_000 + n}"))
        return files

    def _of(self, template: bytes, uid: str) -> bytes:
        study = f"{_ROOT}.{self._batch}.9000000"
        return template.replace(_PLACE.encode(), uid.encode()).replace(_study().encode(), study.encode())


class SmallImages:
    """Instances of 64 x 64 pixels (9 kB) without a private header: many are made quickly and take little room."""

    def __init__(self, number: int) -> None:
        image = _image()
        del image[0x0029, 0x0010], image[0x0029, 0x1010]
        image.Rows = image.Columns = 64
        image.PixelData = image.PixelData[: 2 * 64 * 64]
        self._template, self._number = _encoded(image), 2_000_000 + number

    def instances(self, count: int) -> Iterator[tuple[str, bytes]]:
        """(SOP Instance UID, data set), all of one study."""
        study = f"{_ROOT}.{self._number}.9000000"
        of_study = self._template.replace(_study().encode(), study.encode())
        for n in range(count):
            uid = f"{_ROOT}.{self._number}.{1_000_000 + n}"
            yield uid, of_study.replace(_PLACE.encode(), uid.encode())


def enhanced(count: int, megabytes: int) -> list[tuple[str, bytes]]:
    """Data sets of so many megabytes: many frames in one object."""
    made = []
    for n in range(count):
        ds = _image(enhanced_frames=megabytes * 2**20 // (2 * 256 * 256))
        ds.SOPInstanceUID = f"{_PLACE[:-7]}{8_000_000 + n}"
        made.append((str(ds.SOPInstanceUID), _encoded(ds)))
    return made


def _study() -> str:
    return f"{_ROOT}.7000000.9000000"


def _image(enhanced_frames: int = 0) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet, ds.Modality = "ISO_IR 100", "MR"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1" if enhanced_frames else MRImageStorage
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = _PLACE, _study(), f"{_study()}.1"
    ds.PatientID, ds.IssuerOfPatientID, ds.PatientName = "BENCH", "BENCH", "Bench^Receive"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20260110"
    ds.SeriesDescription = ds.ProtocolName = "t1 mprage post gad"
    ds.ImageType, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "M", "ND"], 1
    ds.EchoTime, ds.RepetitionTime, ds.ContrastBolusAgent = 2.3, 500.0, "Gadovist"
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-8.0, -8.0, 5.0]
    ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 1.0
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", np.random.default_rng(7).bytes(51_000))
    ds.Rows = ds.Columns = 256
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    frames = max(enhanced_frames, 1)
    if enhanced_frames:
        ds.NumberOfFrames = enhanced_frames
    pixels = np.random.default_rng(8).integers(0, 4096, (frames, 256, 256), dtype=np.uint16)
    ds.PixelData = pixels.tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def _file(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _encoded(ds: Dataset) -> bytes:
    content = _file(ds)
    return content[144 + int.from_bytes(content[140:144], "little") :]

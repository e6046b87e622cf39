"""Bytes or file to dataset, with refusals in place of parser errors."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from deidentify.errors import RefusalCode, Refused
from deidentify.parsing import parsing
from deidentify.quiet import quiet

_DICM = b"DICM"


@quiet()
@parsing()
def read(data: bytes) -> Dataset:
    """Parse a DICOM file held in memory. Raises `Refused` when it is none or is broken."""
    if data[128:132] != _DICM:
        raise Refused(RefusalCode.NOT_DICOM, "not a DICOM file (no DICM prefix after the preamble)")
    return pydicom.dcmread(BytesIO(data))


def read_file(path: Path) -> tuple[bytes, Dataset]:
    """The bytes and the dataset of a file. Raises `Refused`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(RefusalCode.UNREADABLE, f"the file cannot be read ({type(error).__name__})") from None
    return data, read(data)

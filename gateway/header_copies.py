"""A DICOM file without its pixel data: what stays of an image whose pixels are no longer kept."""

from __future__ import annotations

import io

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.errors import Unreadable


def without_pixels(content: bytes) -> bytes:
    """The Part 10 file up to its pixel data, byte for byte (a deflated one is written anew).

    Raises:
        Unreadable: when it is no DICOM file.
    """
    stream = io.BytesIO(content)
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, EOFError, ValueError) as error:
        raise Unreadable("The stored file is no DICOM file.") from error
    if dataset.file_meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return content[: stream.tell()]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()

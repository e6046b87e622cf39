"""The file that leaves: a new preamble and file meta information around the cleaned dataset, nothing after it."""

from __future__ import annotations

from io import BytesIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from deidentify.parsing import parsing
from deidentify.quiet import quiet

IMPLEMENTATION_CLASS_UID = UID("2.25.174956568003172064730067765053729663849")
IMPLEMENTATION_VERSION_NAME = "TIMEPOINT_DEID_1"


@quiet()
@parsing()
def to_bytes(dataset: Dataset) -> bytes:
    """Encode a dataset that `engine.deidentify` returned, in the transfer syntax that its file meta names.

    Preamble of zeros, file meta rebuilt with our implementation UID and nothing else, no padding, no trailing bytes.
    Raises `Refused` for a dataset that cannot be encoded.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()

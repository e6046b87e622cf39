"""Part 10 files around a data set that stays exactly as it was encoded by the sender (PS3.10 section 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from pydicom import config
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from gateway.errors import Unreadable

_META_START = 128 + 4  # preamble, "DICM"


@dataclass(frozen=True, slots=True)
class EncodedInstance:
    """An instance as it came over the network: the encoded data set and what the C-STORE request said about it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae: str
    dataset: bytes

    def file_header(self) -> bytes:
        """Preamble, `DICM` and file meta information, to be followed by the data set.

        The source AE title (0002,0016) is kept: it decides on the issuer of a patient ID that names none.
        """
        return _file_header(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid, self.source_ae[:16])


def _file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae: str) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid, config.IGNORE)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid, config.IGNORE)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    if source_ae:
        meta.SourceApplicationEntityTitle = source_ae
    buffer = DicomBytesIO()
    buffer.write(b"\x00" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=False)
    return buffer.getvalue()


def read_part10(content: bytes) -> EncodedInstance:
    """Take a Part 10 file apart again.

    Raises:
        Unreadable: when the bytes are no Part 10 file with the elements that one must have.
    """
    if content[128:_META_START] != b"DICM":
        raise Unreadable("It is no DICOM file.")
    file = BytesIO(content)
    file.seek(_META_START)
    try:
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
        return EncodedInstance(
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            source_ae=str(meta.get("SourceApplicationEntityTitle", "")),
            dataset=content[file.tell() :],
        )
    except (EOFError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise Unreadable("It is no DICOM file.") from error

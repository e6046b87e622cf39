"""Part 10 files around a data set that stays exactly as it was encoded by the sender (PS3.10 section 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from pydicom.filereader import read_dataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

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
    # By hand because this is written before each C-STORE response: pydicom needs 200 times as long for the same bytes.
    elements = [_VERSION, _uid(0x02, sop_class_uid), _uid(0x03, sop_instance_uid), _uid(0x10, transfer_syntax_uid)]
    elements.append(_IMPLEMENTATION)
    if source_ae:
        elements.append(_element(0x16, b"AE", source_ae.encode("ascii", "replace"), b" "))
    content = b"".join(elements)
    return _PREAMBLE + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(content)) + content


def _uid(element: int, value: str) -> bytes:
    return _element(element, b"UI", value.encode("ascii", "replace"), b"\0")


def _element(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    even = value + padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(even)) + even


_PREAMBLE = b"\0" * 128 + b"DICM"
_VERSION = struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\0\1"
_IMPLEMENTATION = _uid(0x12, PYDICOM_IMPLEMENTATION_UID)


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

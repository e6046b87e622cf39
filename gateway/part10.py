"""Part 10 files around a data set that stays exactly as it was encoded by the sender (PS3.10 section 7)."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO

from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

from gateway.errors import Unreadable

_META_START = 128 + 4  # preamble, "DICM"
_UID = re.compile(rb"[0-9.]{1,64}")
_AE_TITLE = re.compile(rb"[A-Za-z0-9_. -]{0,16}")
_UNUSUAL = -1
_LONG = (b"OB", b"UN", b"SQ", b"OW", b"UT")
MALFORMED = (
    EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, NotImplementedError, RecursionError,
    OSError, struct.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises over bytes that are no DICOM, found by fuzzing."""


@dataclass(frozen=True, slots=True)
class EncodedInstance:
    """An instance as it came over the network: the encoded data set and what the C-STORE request said about it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae: str
    dataset: bytes | memoryview

    def file_header(self) -> bytes:
        """Preamble, `DICM` and file meta information, to be followed by the data set.

        The source AE title (0002,0016) is kept: it decides on the issuer of a patient ID that names none.
        """
        return _file_header(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid, self.source_ae[:16])


def _file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae: str) -> bytes:
    # By hand because this is written before each C-STORE response: pydicom needs 200 times as long for the same bytes.
    before, after = _around(sop_class_uid, transfer_syntax_uid, source_ae)
    instance = _uid_element(0x03, sop_instance_uid)
    length = len(before) + len(instance) + len(after)
    return _PREAMBLE + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, length) + before + instance + after


@lru_cache(maxsize=64)
def _around(sop_class_uid: str, transfer_syntax_uid: str, source_ae: str) -> tuple[bytes, bytes]:
    """What all images of an association have in common, before and after their own UID."""
    source = _element(0x16, b"AE", source_ae.encode("ascii", "replace"), b" ") if source_ae else b""
    before = _VERSION + _uid_element(0x02, sop_class_uid)
    return before, _uid_element(0x10, transfer_syntax_uid) + _IMPLEMENTATION + source


def _uid_element(element: int, value: str) -> bytes:
    return _element(element, b"UI", value.encode("ascii", "replace"), b"\0")


def _element(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    even = value + padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(even)) + even


_PREAMBLE = b"\0" * 128 + b"DICM"
_VERSION = struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\0\1"
_IMPLEMENTATION = _uid_element(0x12, PYDICOM_IMPLEMENTATION_UID)


def read_part10(content: bytes) -> EncodedInstance:
    """Take a Part 10 file apart again.

    Raises:
        Unreadable: when the bytes are no Part 10 file with the elements that one must have.
    """
    instance, at = read_file_header(content)
    return replace(instance, dataset=content[at:])


def read_file_header(content: bytes) -> tuple[EncodedInstance, int]:
    """What the beginning of a Part 10 file says, without a data set, and where the data set begins.

    Raises:
        Unreadable: as `read_part10`.
    """
    if content[128:_META_START] != b"DICM":
        raise Unreadable("It is no DICOM file.")
    stated: dict[int, bytes] = {}
    end = _end_of_meta(content, stated)
    plain = _plainly_stated(stated) if end is not None else None
    if plain is not None and end is not None:
        return plain, end
    file = BytesIO(content if end is None else content[:end])
    file.seek(_META_START)
    try:
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
        instance = EncodedInstance(
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            source_ae=str(meta.get("SourceApplicationEntityTitle", "")),
            dataset=b"",
        )
    except MALFORMED as error:
        raise Unreadable("It is no DICOM file.") from error
    return instance, file.tell()


def _plainly_stated(stated: Mapping[int, bytes]) -> EncodedInstance | None:
    """What a header like our own says; None where it is written otherwise and pydicom is to read it."""
    uids = [stated.get(element, b"").rstrip(b"\0") for element in (0x02, 0x03, 0x10)]
    source = stated.get(0x16, b"").strip(b" ")
    if _UNUSUAL in stated or not all(map(_UID.fullmatch, uids)) or not _AE_TITLE.fullmatch(source):
        return None
    sop_class, sop_instance, syntax = (uid.decode() for uid in uids)
    return EncodedInstance(sop_class, sop_instance, syntax, source.decode(), dataset=b"")


def _end_of_meta(content: bytes, stated: dict[int, bytes]) -> int | None:
    """Where the data set begins as the group length says, None where that is missing or wrong; values on the way.

    A damaged data set may begin with group 0002 itself: only the length tells then what belongs to it.
    """
    start = _META_START + 12
    if len(content) < start or content[_META_START : _META_START + 8] != b"\2\0\0\0UL\4\0":
        return None
    at, end = start, start + int.from_bytes(content[start - 4 : start], "little")
    while at + 12 <= end <= len(content):
        if content[at + 4 : at + 6] in _LONG:
            at += 12 + int.from_bytes(content[at + 8 : at + 12], "little")
            continue
        start, length = at + 8, int.from_bytes(content[at + 6 : at + 8], "little")
        at = start + length
        usual = content[start - 8 : start - 6] == b"\2\0" and content[start - 4 : start - 2] in (b"UI", b"AE", b"SH")
        stated[int.from_bytes(content[start - 6 : start - 4], "little") if usual else _UNUSUAL] = content[start:at]
    return at if at == end else None

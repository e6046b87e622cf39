"""What an encoded data set says about itself, read once on arrival; pixels are measured, never decoded.

The facts are all that completeness, series selection and identity need, so that no later step opens the file again
before the analysis. What cannot be taken into the index is told by kind and in words, without patient values.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from gateway.malformed_elements import without_malformed
from gateway.part10 import MALFORMED, EncodedInstance
from gateway.sop_classes import ACCEPTED, WITH_PIXEL_DATA
from gateway.tables import QuarantineKind
from inference.series_header import header_of

# A scanner's values are taken as they are; pydicom's complaints about them quote patient data into the log.
config.settings.reading_validation_mode = config.IGNORE

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
MAX_INFLATED_BYTES = 2**29
_UNDEFINED_LENGTH = 0xFFFFFFFF
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_UID_TOLERATED = re.compile(r"[0-9]+(\.[0-9]+)*")  # leading zeros are forbidden (PS3.5 9.1) and seen in the wild


class NotIndexable(Exception):
    """The instance cannot be taken into the index: `kind` says why, the message is a sentence for the operator."""

    def __init__(self, kind: QuarantineKind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """The patient as an instance states it; `issuer` is empty where none is stated."""

    patient_id: str
    issuer: str
    name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One instance in words of the index.

    `header` holds the facts of the series (`inference.series_header.SeriesHeader` as a mapping), `geometry` those of
    this instance: `positions` (LPS mm, one for each frame), `orientation` (six cosines of the first frame), `rows`,
    `columns`, `frames`, `number` (Instance Number). `acquired` is the date of acquisition, else of series or study.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    identity: Identity
    acquired: dt.date | None
    header: Mapping[str, Any]
    geometry: Mapping[str, Any]


def read_facts(instance: EncodedInstance) -> tuple[InstanceFacts, Dataset]:
    """Read the facts of an instance; the data set without its pixel data comes along for who needs more.

    Raises:
        NotIndexable: when it is truncated, not DICOM, lacks pixel data or an identifier, or contradicts the request.
    """
    dataset = read_header(instance)
    try:
        return _facts(dataset, instance), dataset
    except MALFORMED:
        without_malformed(dataset)
    try:
        return _facts(dataset, instance), dataset
    except MALFORMED as error:
        raise NotIndexable(QuarantineKind.UNREADABLE, "Elements of the data set cannot be read.") from error


def _facts(dataset: Dataset, instance: EncodedInstance) -> InstanceFacts:
    _require_uids(dataset, instance)
    return InstanceFacts(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        modality=_text(dataset, "Modality")[:16],
        identity=_identity(dataset),
        acquired=_acquired(dataset),
        header=_series_header(dataset) if instance.sop_class_uid in WITH_PIXEL_DATA else {},
        geometry=_geometry(dataset) if instance.sop_class_uid in WITH_PIXEL_DATA else {},
    )


def read_header(instance: EncodedInstance) -> Dataset:
    """Everything before the pixel data, whose presence and length are checked.

    Raises:
        NotIndexable: when the bytes end early or cannot be read.
    """
    syntax = UID(instance.transfer_syntax_uid)
    content = inflated(instance.dataset) if syntax == DeflatedExplicitVRLittleEndian else instance.dataset
    if not _begins_like_a_data_set(content, syntax):
        raise NotIndexable(QuarantineKind.UNREADABLE, "The bytes are no DICOM data set in its syntax.")
    found: list[tuple[int, int]] = []

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        if tag not in PIXEL_TAGS:
            return False
        found.append((tag, length))
        return True

    stream: Any = BytesIO(content) if isinstance(content, bytes) else ViewStream(content)
    try:
        dataset = read_dataset(stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=at_pixels)
        whole = _ends_with_its_last_element(dataset)
    except MALFORMED as error:
        raise NotIndexable(QuarantineKind.UNREADABLE, "The bytes are no DICOM data set in its syntax.") from error
    if not len(dataset):
        raise NotIndexable(QuarantineKind.UNREADABLE, "The bytes are no DICOM data set in its syntax.")
    if not whole:
        raise NotIndexable(QuarantineKind.TRUNCATED, "The data set ends inside an element: part of it is missing.")
    if instance.sop_class_uid in WITH_PIXEL_DATA:
        if not found:
            raise NotIndexable(QuarantineKind.NO_PIXEL_DATA, "The image has no Pixel Data.")
        _check_pixels(dataset, syntax, memoryview(content)[stream.tell() :], found[0][1])
    return dataset


class ViewStream:
    """Memory to be read like a file, without a copy of the whole."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def read(self, count: int = -1) -> bytes:
        stop = len(self._view) if count < 0 else min(self._at + count, len(self._view))
        taken = bytes(self._view[self._at : stop])
        self._at = max(self._at, stop)
        return taken

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._view))[whence])
        return self._at

    def tell(self) -> int:
        return self._at


def _begins_like_a_data_set(content: bytes | memoryview, syntax: UID) -> bool:
    """Group 0008 comes first (group 0002 and below are not allowed, PS3.5 7.1), with a VR where the syntax has one."""
    if len(content) < 8:
        return False
    group = int.from_bytes(content[:2], "little" if syntax.is_little_endian else "big")
    vr = bytes(content[4:6])
    with_vr = vr.isalpha() and vr.isupper()
    return 0x0008 <= group <= 0x7FE0 and (syntax.is_implicit_VR or with_vr)


def inflated(deflated: bytes | memoryview) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(deflated, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise NotIndexable(QuarantineKind.UNREADABLE, "The deflated data set is damaged.") from error
    if inflater.unconsumed_tail:
        raise NotIndexable(QuarantineKind.UNREADABLE, "The deflated data set inflates to more than 512 MiB.")
    if not inflater.eof:
        raise NotIndexable(QuarantineKind.TRUNCATED, "The deflated data set ends early: part of it is missing.")
    return content


def _ends_with_its_last_element(dataset: Dataset) -> bool:
    """pydicom returns a value that the end of the data cut short without a word."""
    if not len(dataset):
        return True
    last = dataset.get_item(max(dataset.keys()))
    declared = getattr(last, "length", None)
    value = getattr(last, "value", None)
    if declared is None or declared == _UNDEFINED_LENGTH or not isinstance(value, bytes):
        return True
    return len(value) == int(declared)


def _check_pixels(dataset: Dataset, syntax: UID, element: memoryview, length: int) -> None:
    """Compare the bytes that follow with the declared and with the expected length of the pixel data."""
    header = 8 if syntax.is_implicit_VR else 12  # Pixel Data is OB or OW, Float ones OF and OD: 32-bit length
    value = element[header:]
    if length == _UNDEFINED_LENGTH:
        if not _fragments_are_whole(value):
            raise NotIndexable(QuarantineKind.TRUNCATED, "The compressed pixel data end early.")
        return
    if len(value) < length:
        raise NotIndexable(
            QuarantineKind.TRUNCATED, f"The pixel data end after {len(value)} of {length} bytes: part is missing."
        )
    expected = _native_length(dataset)
    if expected is None:
        raise NotIndexable(QuarantineKind.NO_PIXEL_DATA, "Rows, Columns or Bits Allocated of the image are missing.")
    if length < expected:
        raise NotIndexable(
            QuarantineKind.TRUNCATED, f"The pixel data hold {length} bytes where the image needs {expected}."
        )


def _fragments_are_whole(value: memoryview) -> bool:
    """Walk the items of encapsulated pixel data up to the sequence delimiter (PS3.5 A.4)."""
    at = 0
    while at + 8 <= len(value):
        group, element, length = struct.unpack_from("<HHI", value, at)
        if (group, element) == (0xFFFE, 0xE0DD):
            return True
        if (group, element) != (0xFFFE, 0xE000):
            return False
        at += 8 + length
    return False


def _native_length(dataset: Dataset) -> int | None:
    numbers = [_integer(dataset, k) for k in ("Rows", "Columns", "BitsAllocated")]
    if any(not n for n in numbers):
        return None
    rows, columns, bits = (n or 0 for n in numbers)
    samples = (_integer(dataset, "SamplesPerPixel") or 1) * (_integer(dataset, "NumberOfFrames") or 1)
    return (rows * columns * samples * bits + 7) // 8


def _require_uids(dataset: Dataset, instance: EncodedInstance) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        value = _text(dataset, keyword)
        if not value or len(value) > 64 or not _UID_TOLERATED.fullmatch(value):
            state = "has no" if not value else "has an invalid"
            raise NotIndexable(QuarantineKind.MISSING_UID, f"The instance {state} {keyword}.")
    if instance.sop_class_uid not in ACCEPTED:
        raise NotIndexable(QuarantineKind.CLASS_MISMATCH, "Objects of this SOP class are not accepted.")
    if _text(dataset, "SOPClassUID") != instance.sop_class_uid:
        raise NotIndexable(QuarantineKind.CLASS_MISMATCH, "The data set is of another SOP class than the request says.")
    if _text(dataset, "SOPInstanceUID") != instance.sop_instance_uid:
        raise NotIndexable(
            QuarantineKind.CLASS_MISMATCH, "The data set has another SOP Instance UID than the request says."
        )


def _identity(dataset: Dataset) -> Identity:
    return Identity(
        patient_id=_text(dataset, "PatientID"),
        issuer=_text(dataset, "IssuerOfPatientID") or _universal_issuer(dataset),
        name=_text(dataset, "PatientName"),
        birth_date=_text(dataset, "PatientBirthDate"),
        sex=_text(dataset, "PatientSex"),
    )


def _universal_issuer(dataset: Dataset) -> str:
    qualifiers = _value(dataset, "IssuerOfPatientIDQualifiersSequence")
    return _text(qualifiers[0], "UniversalEntityID") if qualifiers else ""


def _acquired(dataset: Dataset) -> dt.date | None:
    for keyword in ("AcquisitionDateTime", "AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate"):
        stated = _text(dataset, keyword).replace(".", "")[:8]
        try:
            return dt.datetime.strptime(stated, "%Y%m%d").replace(tzinfo=dt.UTC).date()
        except ValueError:
            continue
    return None


def _series_header(dataset: Dataset) -> dict[str, Any]:
    stated = dataclasses.asdict(header_of(dataset))
    return {name: _storable_value(value) for name, value in stated.items()}


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return _storable(value)
    return tuple(map(_storable_value, value)) if isinstance(value, tuple) else value


def _geometry(dataset: Dataset) -> dict[str, Any]:
    frames = [_frame_plane(dataset, item) for item in _value(dataset, "PerFrameFunctionalGroupsSequence") or ()]
    planes = frames or [(_numbers(dataset, "ImagePositionPatient"), _numbers(dataset, "ImageOrientationPatient"))]
    return {
        "positions": [position for position, _ in planes if len(position) == 3],
        "orientation": next((list(o) for _, o in planes if len(o) == 6), None),
        "oblique_frames": len({tuple(o) for _, o in planes if len(o) == 6}) > 1,
        "rows": _integer(dataset, "Rows"),
        "columns": _integer(dataset, "Columns"),
        "frames": len(frames) or _integer(dataset, "NumberOfFrames") or 1,
        "number": _integer(dataset, "InstanceNumber"),
    }


def _frame_plane(dataset: Dataset, frame: Dataset) -> tuple[Sequence[float], Sequence[float]]:
    shared = _value(dataset, "SharedFunctionalGroupsSequence") or [Dataset()]
    groups = (frame, shared[0])
    position = next((p for g in groups if (p := _in_group(g, "PlanePositionSequence", "ImagePositionPatient"))), [])
    axes = next((o for g in groups if (o := _in_group(g, "PlaneOrientationSequence", "ImageOrientationPatient"))), [])
    return position, axes


def _in_group(group: Dataset, sequence: str, keyword: str) -> list[float]:
    items = _value(group, sequence)
    return _numbers(items[0], keyword) if items else []


def _value(dataset: Dataset, keyword: str) -> Any:
    """A value, or None where it is absent or malformed beyond reading."""
    try:
        return dataset.get(keyword)
    except MALFORMED:
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    return "" if value is None else _storable(str(value).strip(" \0"))


def _storable(text: str) -> str:
    """NUL inside a text is kept visible: PostgreSQL takes none, and leaving it out could make two patients one."""
    return text.replace("\0", "\ufffd")


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    value = _value(dataset, keyword)
    try:
        numbers = [round(float(v), 6) for v in value] if value is not None else []
    except MALFORMED:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _integer(dataset: Dataset, keyword: str) -> int | None:
    value = _value(dataset, keyword)
    try:
        return int(value)
    except MALFORMED:
        return None

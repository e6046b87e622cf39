"""Headers of the source images: made safe to build on, and put back verbatim on what was built.

highdicom reads patient and study attributes from the first source image and fails on missing or odd ones. So it
is given a cleaned copy, and afterwards `stamp` copies every Patient and Study module attribute and the character
set from the untouched original (PS3.3 C.7.1, C.7.2), and replaces every clock reading by the caller's.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Sequence
from typing import Any

from highdicom.base import SOPClass
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, DT, TM

from inference.encoding.codes import private_scheme_item
from inference.encoding.errors import EncodingError

TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Patient and study attributes that every object must have, empty where unknown."""

_ENHANCED = frozenset({"1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3", "1.2.840.10008.5.1.4.1.1.4.4"})
"""Enhanced MR, Enhanced MR Colour and Legacy Converted Enhanced MR."""
_IDENTITY_GROUPS = frozenset({0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0038, 0x0040})
_REFERENCE = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_PER_INSTANCE = (
    *_REFERENCE,
    "Modality",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "PixelSpacing",
    "SliceThickness",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


def is_multi_frame(ds: Dataset) -> bool:
    """Whether `ds` is an Enhanced (multi-frame) MR image."""
    return ds.get("SOPClassUID") in _ENHANCED


def instance_header(original: Dataset) -> Dataset:
    """What a reference to a single-frame image and its place in space need, nothing else."""
    header = Dataset()
    for keyword in _PER_INSTANCE:
        if keyword in original:
            header[keyword] = copy.copy(original[keyword])  # assigning to a shared element would change the source
    return header


def reference_header(original: Dataset) -> Dataset:
    """What a mere reference to an instance needs."""
    header = Dataset()
    for keyword in _REFERENCE:
        header[keyword] = copy.copy(original[keyword])
    return header


def full_header(original: Dataset) -> Dataset:
    """A copy without pixels in which highdicom finds every attribute it insists on.

    Patient and study are left empty, `stamp` fills them in: highdicom would refuse odd values and print names in
    warnings.
    """
    header = Dataset()
    for tag in original.keys():  # noqa: SIM118 - iterating a Dataset would parse every element
        if tag.group != 0x7FE0:
            header[tag] = copy.copy(original[tag])
    for keyword in TYPE_2:
        setattr(header, keyword, "")
    if "SpecificCharacterSet" in header:
        del header.SpecificCharacterSet
    return header


def stamp(built: SOPClass, original: Dataset, created: dt.datetime) -> None:
    """Give `built` the patient, study and character set of `original`, and `created` as its only clock.

    `created` is local time, or an aware time that is turned into the offset of `original` where it states one.
    """
    own = _own_elements(original)
    built.copy_patient_and_study_information(own)
    for keyword in ("SpecificCharacterSet", "TimezoneOffsetFromUTC"):
        if keyword in own:
            built[keyword] = own[keyword]
    moment = local_time(original, created)
    date, time = DA(moment.date()), TM(moment.time())
    built.InstanceCreationDate, built.InstanceCreationTime = date, time
    built.ContentDate, built.ContentTime = date, time
    for item in built.ContributingEquipmentSequence:
        if item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = DT(moment)
    built.CodingSchemeIdentificationSequence = [private_scheme_item()]


def _own_elements(original: Dataset) -> Dataset:
    """Deep copies of everything that can be about patient, study and order."""
    own = Dataset()
    for tag in original.keys():  # noqa: SIM118 - iterating a Dataset would parse every element
        if tag.group in _IDENTITY_GROUPS:
            own[tag] = copy.deepcopy(original[tag])
    return own


def local_time(original: Dataset, created: dt.datetime) -> dt.datetime:
    """`created` as wall-clock time at the offset that `original` states (as it stands where it states none)."""
    offset = str(original.get("TimezoneOffsetFromUTC") or "")
    if created.tzinfo is not None and len(offset) == 5 and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:5])
        sign = -1 if offset[0] == "-" else 1
        created = created.astimezone(dt.timezone(sign * dt.timedelta(minutes=minutes)))
    return created.replace(tzinfo=None, microsecond=0)


def common_study(images: Sequence[Dataset]) -> UID:
    """The Study Instance UID that all images share.

    Raises:
        EncodingError: when there are no images, or they belong to several studies.
    """
    uids = {image.StudyInstanceUID for image in images}
    if len(uids) != 1:
        raise EncodingError(f"the source images must come from one study, they come from {len(uids)}")
    return UID(uids.pop())


def requested_procedures(original: Dataset) -> list[Dataset] | None:
    """Items of the Referenced Request Sequence (0040,A370) from the order that the source image names, if any."""
    requests: Sequence[Any] = original.get("RequestAttributesSequence") or ()
    if not requests and not original.get("AccessionNumber"):
        return None
    return [_request_item(original, request) for request in requests or [Dataset()]]


def _request_item(original: Dataset, request: Dataset) -> Dataset:
    original, request = _own_elements(original), copy.deepcopy(request)
    item = Dataset()
    item.StudyInstanceUID = original.StudyInstanceUID
    item.ReferencedStudySequence = []
    item.AccessionNumber = request.get("AccessionNumber") or original.get("AccessionNumber") or ""
    if "IssuerOfAccessionNumberSequence" in original:
        item["IssuerOfAccessionNumberSequence"] = original["IssuerOfAccessionNumberSequence"]
    item.PlacerOrderNumberImagingServiceRequest = original.get("PlacerOrderNumberImagingServiceRequest", "")
    item.FillerOrderNumberImagingServiceRequest = original.get("FillerOrderNumberImagingServiceRequest", "")
    item.RequestedProcedureID = request.get("RequestedProcedureID", "")
    item.RequestedProcedureDescription = request.get("RequestedProcedureDescription", "")
    item.RequestedProcedureCodeSequence = request.get("RequestedProcedureCodeSequence", [])
    return item

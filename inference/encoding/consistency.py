"""Nothing leaves that contradicts itself: result, SEG, report and source are compared as they would be read.

Everything is read back from the finished objects with `reading`, not from what they were built of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.encoding import codes
from inference.encoding.identity import is_own_object
from inference.encoding.reading import ReadGroup, read_report, read_segment_volumes
from inference.encoding.segment_plan import LESION_STRUCTURES, tracking_uid
from inference.encoding.source_headers import TYPE_2
from longitudinal.types import Compartment, StudyResult

BACKGROUND = Code("125040", "DCM", "Background")

TOLERANCE = 1e-3
"""Relative difference of a volume that is still the same volume."""

IDENTITY = (
    *TYPE_2,
    "StudyInstanceUID",
    "SpecificCharacterSet",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    "PatientAge",
    "PatientWeight",
    "PatientSize",
    "PatientComments",
)
"""Attributes of the patient and study that a result must share with its source."""


def check(result: StudyResult, segmentation: Dataset | None, report: Dataset, sources: Sequence[Dataset]) -> list[str]:
    """Everything wrong with a SEG and a measurement report of `result`, in sentences; empty when all agree.

    `sources` are the original images of all series used, one of the reference series first.
    """
    groups = read_report(report)
    problems = [*_units(groups), *_header_problems("report", report, sources[0])]
    problems += _volumes_against_result(result, groups)
    problems += _evidence_problems(report, segmentation, sources)
    if segmentation is not None:
        problems += _header_problems("segmentation", segmentation, sources[0])
        problems += _against_segmentation(groups, segmentation)
    elif any(group.segment for group in groups):
        problems.append("the report references a segment, but there is no segmentation")
    return problems


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other)) + 1e-9


def _units(groups: Sequence[ReadGroup]) -> Iterator[str]:
    for group in groups:
        if not group.tracking_uid:
            yield "a measurement group has no tracking UID"
        for number in group.numbers:
            for _, _, unit in number.uncertainty:
                if unit != number.unit:
                    yield f"{group.tracking_id}: uncertainty in {unit} beside a value in {number.unit}"


def _volumes_against_result(result: StudyResult, groups: Sequence[ReadGroup]) -> Iterator[str]:
    by_uid = {group.tracking_uid: group.volume_ml for group in groups}
    for lesion in result.lesions:
        for structure in LESION_STRUCTURES:
            written = by_uid.get(tracking_uid(lesion.tracking_uid, structure))
            if lesion.measurement is None:
                expected = 0.0 if structure.region is result.target else None
            elif structure.region is None:
                expected = lesion.measurement.compartments_ml[Compartment(structure.value)] or None
            else:
                expected = lesion.measurement.volumes_ml[structure.region]
            if expected is not None and (written is None or not _same(written, expected)):
                yield f"{lesion.tracking_id} {structure}: the report says {written} ml, the result {expected} ml"


def _against_segmentation(groups: Sequence[ReadGroup], segmentation: Dataset) -> Iterator[str]:
    volumes = read_segment_volumes(segmentation)
    tracked = {int(s.SegmentNumber): str(s.get("TrackingUID", "")) for s in segmentation.SegmentSequence}
    background = {int(s.SegmentNumber) for s in segmentation.SegmentSequence if _is_background(s)}
    referenced = set()
    for group in groups:
        if group.segment is None:
            continue
        uid, number = group.segment
        referenced.add(number)
        if uid != segmentation.SOPInstanceUID or number not in volumes:
            yield f"{group.tracking_id}: references segment {number} of {uid}, which is not there"
            continue
        if group.tracking_uid != tracked[number]:
            yield f"{group.tracking_id}: tracking UID differs from that of segment {number}"
        if group.volume_ml is None or not _same(group.volume_ml, volumes[number]):
            yield f"{group.tracking_id}: the report says {group.volume_ml} ml, segment {number} {volumes[number]} ml"
    for number in sorted(set(volumes) - referenced - background):
        yield f"segment {number} is described by no measurement group"


def _is_background(segment: Dataset) -> bool:
    """What a label map says of the voxels that belong to no segment (125040, DCM)."""
    return any(code.CodeValue == BACKGROUND.value for code in segment.SegmentedPropertyTypeCodeSequence)


def _header_problems(name: str, ds: Dataset, source: Dataset) -> Iterator[str]:
    for keyword in IDENTITY:
        if (ds.get(keyword) or None) != (source.get(keyword) or None):
            yield f"{keyword} of the {name} differs from its source"
    if ds.get("PatientName") and _name_bytes(ds) != _name_bytes(source):
        yield f"PatientName of the {name} is not byte-equal to its source"
    if not is_own_object(ds):
        yield f"the {name} does not carry our mark"
    schemes = ds.get("CodingSchemeIdentificationSequence") or ()
    if codes.PRIVATE_SCHEME not in [item.CodingSchemeDesignator for item in schemes]:
        yield f"the {name} does not declare the coding scheme {codes.PRIVATE_SCHEME}"


def _name_bytes(ds: Dataset) -> bytes:
    return ds.PatientName.encode(convert_encodings(ds.get("SpecificCharacterSet"))) if ds.PatientName else b""


def _evidence_problems(report: Dataset, segmentation: Dataset | None, sources: Sequence[Dataset]) -> Iterator[str]:
    listed = {
        str(reference.ReferencedSOPInstanceUID)
        for study in report.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    used: Mapping[str, str] = {str(ds.SOPInstanceUID): "source image" for ds in sources}
    if segmentation is not None:
        used = {**used, str(segmentation.SOPInstanceUID): "segmentation"}
    lost = [kind for uid, kind in used.items() if uid not in listed]
    if lost:
        yield f"{len(lost)} objects are not listed as evidence of the report (the first is a {lost[0]})"

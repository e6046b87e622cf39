"""The measurement report: volumes of every lesion and compartment, their change, and the response (TID 1500).

Each structure that has a segment is one volumetric ROI group (TID 1411) that references exactly that segment and
repeats its tracking UID. A structure without a segment (nothing left of it, or its segment gave way to the frame
budget) is a TID 1501 group under the same tracking UID: a volume of 0 is stated, not left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr.value_types import ContentItem
from pydicom.dataset import Dataset

from inference.encoding import codes
from inference.encoding.content_items import (
    Inferred,
    algorithm,
    brain,
    code_item,
    evaluation,
    measurement,
    text_item,
    time_point,
)
from inference.encoding.report_document import MEASUREMENTS, DocumentContext, Group, write_report
from inference.encoding.segment_plan import (
    APPEARANCE,
    LESION_STRUCTURES,
    PlannedSegment,
    Structure,
    tracking_id,
    tracking_uid,
)
from inference.encoding.text import number, plain
from longitudinal.types import Change, Compartment, LesionResult, Response, StudyResult

NORMAL_95 = 1.96
"""Half-width of a 95 % interval in standard deviations of repeat measurement."""

IMAGING_ONLY = (
    "Response category from volumes alone: steroid dose, clinical status and confirmation at a later time point "
    "are not known to the algorithm. Suggestion of an algorithm, to be judged by a physician."
)
NO_LESION_TEXT = "The algorithm found no lesion on this study. This does not exclude one."


def encode_measurement_report(
    context: DocumentContext, segments: Sequence[PlannedSegment], segmentation: Dataset | None, reference_series: str
) -> Dataset:
    """Write the measurement report.

    `segments` is the plan that `segmentation` was drawn from (`segmentation` is None where nothing was found);
    `reference_series` is the original Series Instance UID of the images under it.
    """
    result = context.result
    identification = algorithm(result.segmentation)
    groups: list[Group] = []
    for lesion in result.lesions:
        groups += _lesion_groups(result, lesion, segments, segmentation, reference_series, identification)
    groups += [
        _group(result, segment, [_cavity_volume(segment, identification)], [], segmentation, reference_series)
        for segment in segments
        if segment.lesion is None
    ]
    if not groups:
        groups.append(_nothing_found(result))
    return write_report(MEASUREMENTS, context, groups, [*_findings(result), *_budget_note(segments)])


def _budget_note(segments: Sequence[PlannedSegment]) -> list[ContentItem]:
    without = [segment.tracking_id for segment in segments if segment.number is None]
    if not without:
        return []
    names = ", ".join(without)
    text = f"No segment of their own, they are the sum of other segments: {names}."
    return [text_item(codes.ALGORITHM_NOTE, text)]


def _lesion_groups(
    result: StudyResult,
    lesion: LesionResult,
    segments: Sequence[PlannedSegment],
    segmentation: Dataset | None,
    reference_series: str,
    identification: AlgorithmIdentification,
) -> list[Group]:
    own = {s.structure: s for s in segments if s.lesion is not None and s.lesion.tracking_uid == lesion.tracking_uid}
    target = Structure(result.target.value)
    groups: list[Group] = []
    for structure in LESION_STRUCTURES:
        if structure not in own and not _worth_a_zero(lesion, structure, target):
            continue
        segment = own.get(structure) or _absent(lesion, structure)
        measurements = [_volume(lesion, structure, identification), *_shape(lesion, structure, identification)]
        if structure is target:
            for change in lesion.changes:
                measurements += _change(change, identification)
        evaluations = _evaluations(lesion, structure, target, segment)
        groups.append(_group(result, segment, measurements, evaluations, segmentation, reference_series))
    return groups


def _worth_a_zero(lesion: LesionResult, structure: Structure, target: Structure) -> bool:
    """A region of a measured lesion may be empty, and that is a finding; of a lost lesion the target says it all."""
    return structure is target if lesion.measurement is None else structure.region is not None


def _absent(lesion: LesionResult, structure: Structure) -> PlannedSegment:
    uid = tracking_uid(lesion.tracking_uid, structure)
    return PlannedSegment(structure, lesion, uid, tracking_id(lesion, structure), 0, 0.0)


def _group(
    result: StudyResult,
    segment: PlannedSegment,
    measurements: Sequence[Measurement],
    evaluations: Sequence[QualitativeEvaluation],
    segmentation: Dataset | None,
    reference_series: str,
) -> Group:
    tracking = TrackingIdentifier(uid=segment.tracking_uid, identifier=segment.tracking_id)
    finding = APPEARANCE[segment.structure].property_type
    if segmentation is None or segment.number is None:
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            time_point_context=time_point(result),
            finding_type=finding,
            finding_sites=[brain()],
            measurements=list(measurements),
            qualitative_evaluations=list(evaluations),
            finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
        )
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=segment.number,
            source_series=SourceSeriesForSegmentation(reference_series),
        ),
        time_point_context=time_point(result),
        finding_type=finding,
        finding_sites=[brain()],
        measurements=list(measurements),
        qualitative_evaluations=list(evaluations),
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
    )


def _volume(lesion: LesionResult, structure: Structure, identification: AlgorithmIdentification) -> Measurement:
    measured, region = lesion.measurement, structure.region
    label = APPEARANCE[structure].label
    name = f"{plain(lesion.tracking_id)} {label} volume"
    if measured is None:
        meaning = f"{name}: lesion looked for and not found"
        return measurement(
            codes.VOLUME, 0.0, codes.CUBIC_CENTIMETRE, identification, method=codes.VOXEL_SUM, meaning=meaning
        )
    if region is None:
        volume_ml, half_width = measured.compartments_ml[Compartment(structure.value)], 0.0
    else:
        volume_ml, half_width = measured.volumes_ml[region], NORMAL_95 * measured.volume_sd_ml[region]
    meaning = f"{name} {number(volume_ml)} ml"
    if half_width > 0:
        meaning += f" +/- {number(half_width)} ml (95 % limits of repeat measurement)"
    return measurement(
        codes.VOLUME,
        volume_ml,
        codes.CUBIC_CENTIMETRE,
        identification,
        method=codes.VOXEL_SUM,
        uncertainty=[(codes.UNCERTAINTY, half_width)] if half_width > 0 else (),
        meaning=meaning,
    )


def _shape(lesion: LesionResult, structure: Structure, identification: AlgorithmIdentification) -> list[Measurement]:
    """Figures of the mesh, which is that of the whole tumour."""
    measured = lesion.measurement
    if structure is not Structure.WHOLE or measured is None or measured.surface_area_mm2 <= 0:
        return []
    name = plain(lesion.tracking_id)
    figures = [
        (codes.MAXIMUM_3D_DIAMETER, measured.max_3d_diameter_mm, codes.MILLIMETRE, "largest 3D diameter", " mm"),
        (codes.SURFACE_AREA, measured.surface_area_mm2, codes.SQUARE_MILLIMETRE, "surface", " mm2"),
        (codes.SPHERICITY, measured.sphericity, codes.NO_UNITS, "sphericity", ""),
    ]
    return [
        measurement(code, value, unit, identification, meaning=f"{name} {what} {number(value)}{sign}")
        for code, value, unit, what, sign in figures
    ]


def _cavity_volume(segment: PlannedSegment, identification: AlgorithmIdentification) -> Measurement:
    return measurement(
        codes.VOLUME,
        segment.volume_ml,
        codes.CUBIC_CENTIMETRE,
        identification,
        method=codes.VOXEL_SUM,
        meaning=f"Resection cavity volume {number(segment.volume_ml)} ml",
    )


def _change(change: Change, identification: AlgorithmIdentification) -> list[Measurement]:
    against = f"{change.reference.value} of {change.reference_date.isoformat()} ({change.interval_days} d before)"
    verdict = "more than repeat measurement explains" if change.reliable else "within repeat measurement"
    significance = codes.SIGNIFICANT if change.reliable else codes.NOT_SIGNIFICANT
    origin = [Inferred(codes.VOLUME, change.reference_ml, codes.CUBIC_CENTIMETRE)]
    built = [
        measurement(
            codes.ABSOLUTE_CHANGE[change.reference],
            change.absolute_ml,
            codes.CUBIC_CENTIMETRE,
            identification,
            derivation=codes.CALCULATED,
            significance=significance,
            inferred_from=origin,
            meaning=f"Volume change {change.absolute_ml:+.2f} ml against the {against}, {verdict}",
        )
    ]
    if change.relative is not None:
        built.append(
            measurement(
                codes.RELATIVE_CHANGE[change.reference],
                100 * change.relative,
                codes.PERCENT,
                identification,
                derivation=codes.FRACTIONAL_CHANGE,
                significance=significance,
                inferred_from=origin,
                meaning=f"Volume change {100 * change.relative:+.0f} % against the {against}, {verdict}",
            )
        )
    return built


def _evaluations(
    lesion: LesionResult, structure: Structure, target: Structure, segment: PlannedSegment
) -> list[QualitativeEvaluation]:
    built = []
    if structure is target:
        built.append(evaluation(codes.LESION_RESPONSE, codes.LESION_RESPONSE_VALUES[lesion.response]))
        if lesion.is_new:
            built.append(evaluation(codes.LESION_STATUS, codes.NEW_LESION))
    if lesion.measurement is None:
        built.append(evaluation(codes.LESION_STATUS, codes.LESION_NOT_FOUND))
    elif segment.number is None and segment.frames:
        built.append(evaluation(codes.VALUE_STATUS, codes.UNION_OF_SEGMENTS))
    return built


def _nothing_found(result: StudyResult) -> Group:
    """The group of a study without any lesion: a statement, and no number."""
    uid = tracking_uid(result.study_instance_uid, Structure.CORE)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier="no lesion"),
        time_point_context=time_point(result),
        algorithm_id=algorithm(result.segmentation),
        finding_sites=[brain()],
        qualitative_evaluations=[evaluation(codes.LESION_STATUS, codes.NO_LESION)],
    )


def _findings(result: StudyResult) -> list[ContentItem]:
    """The patient's response and what a reader must know, as CODE and TEXT."""
    items: list[ContentItem] = [
        code_item(codes.CURRENT_RESPONSE, codes.PATIENT_RESPONSE_VALUES[result.response]),
        code_item(codes.RESPONSE_METHOD, codes.RANO),
    ]
    if result.response is not Response.BASELINE:
        items.append(text_item(codes.ALGORITHM_NOTE, IMAGING_ONLY))
    if not any(lesion.measurement for lesion in result.lesions):
        items.append(text_item(codes.ALGORITHM_NOTE, NO_LESION_TEXT))
    items += [text_item(codes.ALGORITHM_NOTE, warning) for warning in result.warnings]
    return items

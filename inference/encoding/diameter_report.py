"""The diameter report: RANO's bidimensional lines, as callipers that viewers draw on the source slice.

A document of its own, because OHIF draws a group only when its tracking identifier names the Cornerstone tool, and
then no other kind of group may be beside it. The lesion is told by the tracking UID (that of the tumour core).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CoordinatesForMeasurement,
    GraphicTypeValues,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TimePointContext,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.encoding import codes
from inference.encoding.content_items import Inferred, algorithm, brain, measurement, time_point_name
from inference.encoding.errors import EncodingError
from inference.encoding.report_document import DIAMETERS, DocumentContext, Group, write_report
from inference.encoding.segment_plan import Structure, tracking_uid
from inference.encoding.source_geometry import SourceFrame, source_frames
from inference.encoding.text import number, plain
from longitudinal.types import Diameter, LesionResult, StudyResult

CALLIPERS = "Cornerstone3DTools@^0.1.0:Bidirectional"
"""Tracking identifier by which Cornerstone3D and OHIF know a bidimensional measurement."""


def encode_diameter_report(context: DocumentContext, reference_images: Sequence[Dataset]) -> Dataset | None:
    """Write the report, or None where no lesion has both diameters.

    `reference_images` are the original instances of the reference series, the grid of the measurements.

    Raises:
        EncodingError: when a diameter does not lie on a slice of the reference series.
    """
    identification = algorithm(context.result.segmentation)
    frames = source_frames(reference_images)
    groups: list[Group] = []
    for lesion in context.result.lesions:
        measured = lesion.measurement
        if measured and measured.longest and measured.perpendicular:
            groups.append(
                _group(context.result, lesion, measured.longest, measured.perpendicular, frames, identification)
            )
    return write_report(DIAMETERS, context, groups) if groups else None


def _group(
    result: StudyResult,
    lesion: LesionResult,
    longest: Diameter,
    perpendicular: Diameter,
    frames: Sequence[SourceFrame],
    identification: AlgorithmIdentification,
) -> Group:
    frame = _frame_under(lesion, (longest, perpendicular), frames)
    name = plain(lesion.tracking_id)
    product = longest.length_mm * perpendicular.length_mm
    lengths = [
        Inferred(codes.LONG_AXIS, longest.length_mm, codes.MILLIMETRE),
        Inferred(codes.SHORT_AXIS, perpendicular.length_mm, codes.MILLIMETRE),
    ]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=tracking_uid(lesion.tracking_uid, Structure.CORE), identifier=CALLIPERS
        ),
        time_point_context=_time_point(result),
        finding_type=codes.TUMOUR_CORE,
        finding_sites=[brain()],
        measurements=[
            _line(codes.LONG_AXIS, longest, frame, identification, f"{name} longest diameter"),
            _line(codes.SHORT_AXIS, perpendicular, frame, identification, f"{name} perpendicular diameter"),
            measurement(
                codes.DIAMETER_PRODUCT,
                product,
                codes.SQUARE_MILLIMETRE,
                identification,
                method=codes.RANO,
                derivation=codes.CALCULATED,
                inferred_from=lengths,
                meaning=f"{name} product of perpendicular diameters {number(product)} mm2",
            ),
        ],
    )


def _time_point(result: StudyResult) -> TimePointContext:
    """The time point in words alone: OHIF writes the first NUM of a group beside the callipers, also one of the
    context."""
    order = str(result.timepoint.order)
    return TimePointContext(time_point=time_point_name(result), subject_time_point_identifier=order)


def _line(
    name: Code, diameter: Diameter, frame: SourceFrame, identification: AlgorithmIdentification, meaning: str
) -> Measurement:
    built = measurement(
        name,
        diameter.length_mm,
        codes.MILLIMETRE,
        identification,
        method=codes.RANO,
        meaning=f"{meaning} {number(diameter.length_mm)} mm",
    )
    ends = np.array([frame.to_image(point)[:2] for point in (diameter.start, diameter.end)])
    image = SourceImageForRegion(
        frame.image.SOPClassUID,
        frame.image.SOPInstanceUID,
        None if frame.frame_number is None else [frame.frame_number],
    )
    built[0].ContentSequence.append(CoordinatesForMeasurement(GraphicTypeValues.POLYLINE, ends, image))
    return built


def _frame_under(lesion: LesionResult, lines: Sequence[Diameter], frames: Sequence[SourceFrame]) -> SourceFrame:
    """The frame whose plane holds all four ends; the analysis named it by a de-identified UID, so space decides."""
    ends = [point for line in lines for point in (line.start, line.end)]
    distances = [max(abs(frame.to_image(point)[2]) for point in ends) for frame in frames]
    nearest = int(np.argmin(distances))
    frame = frames[nearest]
    inside = all(
        0 <= column <= int(frame.image.Columns) and 0 <= row <= int(frame.image.Rows)
        for column, row, _ in (frame.to_image(point) for point in ends)
    )
    if distances[nearest] > 0.5 or not inside:
        raise EncodingError(
            f"the diameters of {plain(lesion.tracking_id)} lie on no slice of the reference series "
            f"(nearest plane {distances[nearest]:.1f} mm off); were they measured on another grid?"
        )
    return frame

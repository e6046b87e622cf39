"""A study's masks as a BINARY or LABELMAP DICOM SEG on the original reference series (PS3.3 A.51, A.93, C.8.20).

The geometry is copied from the source frames, never recomputed. BINARY because every viewer reads it and because
whole tumour and compartments overlap; LABELMAP, a tenth of the size, is for archives that take it.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Sequence

from highdicom import AlgorithmIdentificationSequence, Volume
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from inference.encoding import codes, identity
from inference.encoding.errors import EncodingError
from inference.encoding.identity import Purpose
from inference.encoding.segment_plan import APPEARANCE, PlannedSegment, draw, plan_segments
from inference.encoding.source_geometry import SourceFrame, match_slices
from inference.encoding.source_headers import (
    common_study,
    full_header,
    instance_header,
    is_multi_frame,
    local_time,
    stamp,
)
from inference.encoding.text import long_string
from longitudinal.types import AlgorithmIdentity, StudyResult

SERIES_NUMBER = 99101


def encode_segmentation(
    result: StudyResult,
    labels: Volume,
    lesions: Volume,
    source_images: Sequence[Dataset],
    created: dt.datetime,
    segments: Sequence[PlannedSegment] | None = None,
    kind: SegmentationTypeValues = SegmentationTypeValues.BINARY,
) -> Dataset:
    """Write the masks of a study as one SEG.

    `labels` holds `Compartment.label` values and `lesions` lesion indices, both (slice, row, column) with the LPS
    affine of `source_images`, the original instances of the reference series. `segments` is the plan where the
    caller has made one with `plan_segments`; for a LABELMAP it must hold no overlapping ones.

    Raises:
        EncodingError: when the masks are not on the grid of the source, or there is nothing to write.
    """
    _check_same_grid(labels, lesions)
    common_study(source_images)
    if "FrameOfReferenceUID" not in source_images[0]:
        raise EncodingError("the source images have no Frame of Reference UID; a SEG cannot be placed without one")
    planned = plan_segments(result, labels, lesions, source_images[0]) if segments is None else segments
    drawn = [segment for segment in planned if segment.number is not None]
    if not drawn:
        raise EncodingError("no tumour and no cavity is marked; an empty SEG does not exist")
    frames = match_slices(labels, source_images)
    span, masks = draw(planned, labels, lesions)
    frames = frames[span]
    digest = identity.content_digest(result, labels, lesions, kind.value)
    segmentation = Segmentation(
        source_images=_headers(frames),
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=[_describe(segment, result.segmentation) for segment in drawn],
        series_instance_uid=identity.series_uid(Purpose.SEGMENTATION, result),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity.instance_uid(Purpose.SEGMENTATION, result, digest),
        instance_number=max(result.revision, 1),
        manufacturer=identity.MANUFACTURER,
        manufacturer_model_name=identity.MODEL_NAME,
        software_versions=identity.software_version(),
        device_serial_number=result.segmentation.weights_sha256[:16] or "0",
        plane_positions=[frame.plane_position() for frame in frames],
        omit_empty_frames=True,
        content_label="TUMOR",
        content_description="Brain tumor compartments, automatic",
        contributing_equipment=[identity.contributing_equipment(local_time(source_images[0], created))],
        series_description="Timepoint tumor segmentation",
    )
    segmentation.SeriesDescriptionCodeSequence = [CodedConcept.from_code(codes.SERIES_SEGMENTATION)]
    _fix_generated(segmentation, labels.spacing_between_slices, digest)
    stamp(segmentation, frames[0].image, created)
    return segmentation


def _check_same_grid(labels: Volume, lesions: Volume) -> None:
    if not labels.geometry_equal(lesions):
        raise EncodingError("the label volume and the lesion map are not on the same grid")


def _headers(frames: Sequence[SourceFrame]) -> list[Dataset]:
    """Cleaned headers of the source images under the slices, in slice order."""
    first = frames[0]
    if is_multi_frame(first.image):
        if any(frame.image is not first.image for frame in frames):
            raise EncodingError(
                "the stack of the reference series is split over several Enhanced MR instances; a SEG can be "
                "placed on one of them only, convert the series to classic MR or to one instance"
            )
        return [_multi_frame_header(first)]
    headers = []
    for frame in frames:
        header = full_header(frame.image) if frame is first else instance_header(frame.image)
        header.ImageOrientationPatient = [float(x) for x in (*first.row, *first.column)]
        header.PixelSpacing = first.image.PixelSpacing
        header.SliceThickness = header.get("SliceThickness") or 0
        headers.append(header)
    return headers


def _multi_frame_header(frame: SourceFrame) -> Dataset:
    """The header of an Enhanced image with orientation and pixel measures shared, as highdicom needs them."""
    header = full_header(frame.image)
    per_frame = frame.image.PerFrameFunctionalGroupsSequence[(frame.frame_number or 1) - 1]
    shared = copy.deepcopy(header.SharedFunctionalGroupsSequence[0])
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword not in shared:
            shared[keyword] = copy.deepcopy(per_frame[keyword])
    header.SharedFunctionalGroupsSequence = [shared]
    return header


def _describe(segment: PlannedSegment, model: AlgorithmIdentity) -> SegmentDescription:
    appearance = APPEARANCE[segment.structure]
    return SegmentDescription(
        segment_number=segment.number or 0,
        segment_label=long_string(segment.tracking_id),
        segmented_property_category=codes.MORPHOLOGICALLY_ABNORMAL,
        segmented_property_type=appearance.property_type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=long_string(model.name),
            family=codes.AI_FAMILY,
            version=long_string(model.version),
            source=long_string(model.manufacturer),
            parameters={"weights-sha256": model.weights_sha256},
        ),
        tracking_uid=segment.tracking_uid,
        tracking_id=long_string(segment.tracking_id),
        anatomic_regions=[codes.BRAIN],
        display_color=appearance.colour,
    )


def _fix_generated(segmentation: Segmentation, spacing_between_slices: float, digest: str) -> None:
    """Replace the random dimension UID, and state the true distance of slices: headers of some scanners give the
    gap instead, and readers multiply by it."""
    uid = identity.deterministic_uid(Purpose.DIMENSION, digest)
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in segmentation.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
    measures = copy.deepcopy(segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0])
    measures.SpacingBetweenSlices = round(float(spacing_between_slices), 6)
    if not measures.get("SliceThickness"):
        measures.SliceThickness = measures.SpacingBetweenSlices
    segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]

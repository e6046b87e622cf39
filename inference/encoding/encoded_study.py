"""All objects of one study revision, made together and checked against each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from highdicom import Volume
from highdicom.seg import SegmentationTypeValues
from pydicom.dataset import Dataset

from inference.encoding.consistency import check
from inference.encoding.diameter_report import encode_diameter_report
from inference.encoding.errors import EncodingError, InconsistentResultError
from inference.encoding.forecast_report import encode_forecast_report
from inference.encoding.identity import content_digest
from inference.encoding.measurement_report import encode_measurement_report
from inference.encoding.report_document import DocumentContext
from inference.encoding.segment_plan import plan_segments
from inference.encoding.segmentation import encode_segmentation
from longitudinal.types import Contrast, StudyResult


@dataclass(frozen=True)
class EncodedStudy:
    """The objects of a study revision. `segmentation` is None where nothing was found, `diameters` where no lesion
    has two diameters, `forecast` where there is none or the model abstained. The report is always there."""

    segmentation: Dataset | None
    report: Dataset
    diameters: Dataset | None
    forecast: Dataset | None

    @property
    def objects(self) -> tuple[Dataset, ...]:
        """What is to be delivered, the SEG before the reports that reference it."""
        made = (self.segmentation, self.report, self.diameters, self.forecast)
        return tuple(ds for ds in made if ds is not None)


def encode_study(
    result: StudyResult,
    labels: Volume,
    lesions: Volume,
    series: Mapping[Contrast, Sequence[Dataset]],
    reference: Contrast,
    created: dt.datetime,
    previous: Sequence[Dataset] = (),
    kind: SegmentationTypeValues = SegmentationTypeValues.BINARY,
) -> EncodedStudy:
    """Encode a result on its original study.

    `labels` and `lesions` are on the native grid of the series `reference`, (slice, row, column), LPS. `series` holds
    the original instances (headers suffice) of every series that was used. `created` becomes every date and time
    that is not copied from the source: the same arguments give byte-identical objects. `previous` are objects of
    earlier revisions of this study; reports name them as predecessors. `kind` is BINARY or LABELMAP.

    Raises:
        EncodingError: when the masks and the source do not fit.
        InconsistentResultError: when the objects contradict the result, the source or each other.
    """
    _check_arguments(result, series, reference)
    images = series[reference]
    others = [ds for contrast in sorted(series) if contrast != reference for ds in series[contrast]]
    digest = content_digest(result, labels, lesions, kind.value)
    overlapping = kind is SegmentationTypeValues.BINARY
    segments = plan_segments(result, labels, lesions, images[0], overlapping=overlapping)
    segmentation = (
        encode_segmentation(result, labels, lesions, images, created, segments, kind)
        if any(segment.number is not None for segment in segments)
        else None
    )
    sources = [*images, *others]
    evidence = sources if segmentation is None else [*sources, segmentation]
    context = DocumentContext(result, evidence, digest, created, previous)
    report = encode_measurement_report(context, segments, segmentation, images[0].SeriesInstanceUID)
    encoded = EncodedStudy(
        segmentation, report, encode_diameter_report(context, images), encode_forecast_report(context)
    )
    problems = check(result, segmentation, report, sources)
    if problems:
        raise InconsistentResultError(problems)
    return encoded


def _check_arguments(result: StudyResult, series: Mapping[Contrast, Sequence[Dataset]], reference: Contrast) -> None:
    if not series.get(reference):
        raise EncodingError(f"the reference series ({reference}) has no images")
    studies = {str(ds.StudyInstanceUID) for images in series.values() for ds in images}
    if studies != {result.study_instance_uid}:
        raise EncodingError("the source images do not belong to the study of the result")

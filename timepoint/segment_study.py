"""SEG and SR of a single study outside of the gateway: one time point, no record, no forecast."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import pydicom

from inference.contracts import StudyAnalysis
from inference.encoding.encoded_study import encode_study
from inference.encoding.identity import deterministic_uid
from longitudinal.record import ObservedTimePoint, build_record
from longitudinal.types import Contrast, StudyResult, TumourType


def write_dicom_results(folder: Path, series: Mapping[Contrast, Sequence[Path]], analysis: StudyAnalysis) -> None:
    """Write `seg.dcm` (where there is a lesion) and `sr.dcm` for the study that `analysis` was made from."""
    images = {c: [pydicom.dcmread(f, stop_before_pixels=True) for f in files] for c, files in series.items()}
    reference = next(c for c, ds in images.items() if str(ds[0].SeriesInstanceUID) == analysis.reference_series_uid)
    first = images[reference][0]
    study_uid = str(first.StudyInstanceUID)
    acquired = dt.datetime.strptime(str(first.get("StudyDate") or "19000101")[:8], "%Y%m%d").date()  # noqa: DTZ007
    lesions = {deterministic_uid("lesion", study_uid, "1", str(m.index)): m for m in analysis.measurements}
    target = TumourType.OTHER.target
    point = build_record([ObservedTimePoint(study_uid, acquired, lesions)], target).time_points[0]
    result = StudyResult(
        study_instance_uid=study_uid,
        revision=1,
        timepoint=point.context,
        lesions=point.lesions,
        response=point.response,
        target=target,
        forecast=None,
        segmentation=analysis.backend,
        warnings=analysis.notes,
    )
    created = dt.datetime.now(dt.UTC)
    encoded = encode_study(result, analysis.labels, analysis.lesions, images, reference, created)
    if encoded.segmentation is not None:
        encoded.segmentation.save_as(folder / "seg.dcm", enforce_file_format=True)
    encoded.report.save_as(folder / "sr.dcm", enforce_file_format=True)

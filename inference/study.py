"""One study from files to masks and measurements: select, read, prepare, segment, measure, place in the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from highdicom import Volume

from inference.analysis_files import load_analysis, save_analysis
from inference.contracts import (
    InferenceError,
    LabelArray,
    Matrix,
    PreparedStudy,
    SegmentationBackend,
    StudyAnalysis,
)
from inference.lesions import find_lesions
from inference.measurement import measure_lesions
from inference.native_labels import labels_onto
from inference.preparation import BrainExtractor, prepare_series
from inference.registration import register
from inference.resampling import IDENTITY, with_geometry
from inference.study_selection import choose_series, read_series
from inference.volumes import SeriesVolume, UnreadableSeries, load_volume
from longitudinal.types import Contrast

__all__ = ["analyse_series", "analyse_volumes", "load_analysis", "save_analysis", "select_files"]

ANCHOR_FACTOR = 2
"""The anchor image has voxels of this many working voxels along each axis."""


def select_files(paths: Iterable[Path]) -> dict[Contrast, list[Path]]:
    """Of the files of one study those of the series to analyse, by contrast.

    Args:
        paths: any files; what is no DICOM image is passed over.

    Raises:
        InferenceError: when the files hold several studies or no usable series.
        AmbiguousSeries: when two series are equally good for a contrast.
    """
    study = read_series(paths)
    return {contrast: list(study.files[uid]) for contrast, uid in choose_series(study).items()}


def analyse_series(
    series: Mapping[Contrast, Sequence[Path]],
    backend: SegmentationBackend,
    baseline_anchor: Volume | None = None,
    brain_extractor: BrainExtractor | None = None,
) -> StudyAnalysis:
    """Segment and measure one study.

    Args:
        series: the files of one series for each contrast (see `select_files`).
        backend: the network that labels the working grid.
        baseline_anchor: `anchor` of the patient's baseline analysis; None when this study is the baseline.
        brain_extractor: see `prepare_series`.

    Raises:
        InferenceError: when a required series is missing or unreadable, or the study does not match the baseline.
            The message says which and why.
    """
    loaded, notes = _load(series)
    volumes = {contrast: item.volume for contrast, item in loaded.items()}
    prepared = prepare_series(volumes, brain_extractor)
    source = loaded[prepared.reference]
    return _analyse(prepared, source.series_uid, source.sop_instance_uids, backend, baseline_anchor, notes)


def analyse_volumes(
    volumes: Mapping[Contrast, Volume],
    backend: SegmentationBackend,
    baseline_anchor: Volume | None = None,
    brain_extractor: BrainExtractor | None = None,
) -> StudyAnalysis:
    """Segment and measure volumes that come from no DICOM series (see `analyse_series`)."""
    return _analyse(prepare_series(volumes, brain_extractor), "", (), backend, baseline_anchor, [])


def _analyse(
    prepared: PreparedStudy,
    series_uid: str,
    sop_instance_uids: Sequence[str],
    backend: SegmentationBackend,
    baseline_anchor: Volume | None,
    notes: Sequence[str],
) -> StudyAnalysis:
    working = _checked(backend.segment(prepared), prepared)
    on_native = labels_onto(with_geometry(working, prepared.working), prepared.native)
    found = find_lesions(with_geometry(on_native, prepared.native))
    anchor = _anchor(prepared)
    return StudyAnalysis(
        labels=found.labels,
        lesions=found.lesions,
        measurements=measure_lesions(found.labels, found.lesions, sop_instance_uids),
        reference_series_uid=series_uid,
        to_baseline=_to_baseline(anchor, baseline_anchor),
        anchor=anchor,
        backend=backend.identity,
        notes=(*notes, *prepared.notes, *_lesion_notes(found.count, found.dropped, found.dropped_ml)),
    )


def _load(series: Mapping[Contrast, Sequence[Path]]) -> tuple[dict[Contrast, SeriesVolume], list[str]]:
    """Volumes of all series; one that others can stand in for is left out when it is unreadable."""
    loaded: dict[Contrast, SeriesVolume] = {}
    notes: list[str] = []
    for contrast in (c for c in Contrast if series.get(c)):
        try:
            loaded[contrast] = load_volume(series[contrast])
        except UnreadableSeries as error:
            if contrast is Contrast.T1C:
                raise
            notes.append(f"The {contrast.value} series was left out. {error}")
    return loaded, notes


def _checked(labels: LabelArray, prepared: PreparedStudy) -> LabelArray:
    if labels.shape != prepared.brain.shape or labels.dtype != np.uint8 or labels.max(initial=0) > 4:
        raise InferenceError(
            f"The segmentation model returned {labels.dtype} labels of shape {labels.shape} for a grid of shape "
            f"{prepared.brain.shape}; uint8 labels 0 to 4 of that shape are required."
        )
    return labels


def _anchor(prepared: PreparedStudy) -> Volume:
    """The brain of the reference contrast at 2 mm: mean of 2 x 2 x 2 working voxels."""
    brain = np.where(prepared.brain, prepared.channels[prepared.reference], 0.0).astype(np.float32)
    grid = prepared.working
    blocks = [n // ANCHOR_FACTOR for n in brain.shape]
    even = brain[tuple(slice(0, n * ANCHOR_FACTOR) for n in blocks)]
    shape = [size for n in blocks for size in (n, ANCHOR_FACTOR)]
    coarse = even.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float64).astype(np.float32)
    scale = np.diag([ANCHOR_FACTOR] * 3 + [1.0])
    scale[:3, 3] = (ANCHOR_FACTOR - 1) / 2
    return Volume(coarse, grid.affine @ scale, "PATIENT", frame_of_reference_uid=grid.frame_of_reference_uid)


def _to_baseline(anchor: Volume, baseline_anchor: Volume | None) -> Matrix:
    return IDENTITY.copy() if baseline_anchor is None else register(anchor, baseline_anchor).matrix


def _lesion_notes(count: int, dropped: int, dropped_ml: float) -> list[str]:
    notes = [] if count else ["No tumour was found."]
    if dropped:
        notes.append(f"{dropped} labelled piece(s) too small to report, together {dropped_ml:.3f} ml, were left out.")
    return notes

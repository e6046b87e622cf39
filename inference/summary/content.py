"""What is on a summary page: the key slices of some time points, the record, the forecast and what must be known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom import Volume

from longitudinal.record import RecordedTimePoint
from longitudinal.types import Region, StudyResult

MOST_SLICES = 4
CROP_MM = 110.0
"""Side of the square that a key slice shows."""


@dataclass(frozen=True)
class KeySlice:
    """One slice of a time point: pixels 0 to 1 (rows, columns), masks of the same shape, `spacing_mm` (row, column).

    `image` is None where the images of that time point are no longer there.
    """

    acquired: dt.date
    volume_ml: float
    image: npt.NDArray[np.float32] | None
    whole: npt.NDArray[np.bool_] | None
    target: npt.NDArray[np.bool_] | None
    spacing_mm: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class SummaryPage:
    """Everything that the page shows. `points` are the time points up to the study of `result`, oldest first."""

    result: StudyResult
    points: Sequence[RecordedTimePoint]
    slices: Sequence[KeySlice]
    software: str


def key_slice(
    acquired: dt.date, volume_ml: float, image: Volume, labels: Volume, lesions: Volume, target: Region
) -> KeySlice:
    """The slice with most of the target region (of the whole tumour where there is none, else the middle slice), cut
    to a square about the tumour. All volumes are on one grid, (slice, row, column)."""
    inside = lesions.array > 0
    whole = inside & np.isin(labels.array, Region.WHOLE.labels)
    wanted = inside & np.isin(labels.array, target.labels)
    shown = wanted if wanted.any() else whole
    area = shown.sum(axis=(1, 2))
    at = int(area.argmax()) if area.any() else image.spatial_shape[0] // 2
    rows, columns = _window(whole[at], image.spacing[1:], image.spatial_shape[1:])
    pixels = image.array[at].astype(np.float32)
    low, high = np.percentile(pixels[pixels > pixels.min()], (1, 99.5)) if np.ptp(pixels) else (0.0, 1.0)
    scaled = np.clip((pixels - low) / max(high - low, 1e-6), 0, 1)
    spacing = (float(image.spacing[1]), float(image.spacing[2]))
    return KeySlice(
        acquired, volume_ml, scaled[rows, columns], whole[at, rows, columns], wanted[at, rows, columns], spacing
    )


def _window(mask: npt.NDArray[np.bool_], spacing: Sequence[float], shape: Sequence[int]) -> tuple[slice, slice]:
    points = np.argwhere(mask)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2 if len(points) else np.array(shape) / 2
    cuts = []
    for axis in (0, 1):
        half = CROP_MM / 2 / float(spacing[axis])
        if len(points):
            half = max(half, float(np.ptp(points[:, axis])) / 2 + 8)
        start = max(0, int(centre[axis] - half))
        cuts.append(slice(start, min(int(shape[axis]), int(centre[axis] + half) + 1)))
    return cuts[0], cuts[1]


def chosen_points(points: Sequence[RecordedTimePoint], most: int = MOST_SLICES) -> list[RecordedTimePoint]:
    """The time points whose slices are shown: the first, the nadir and the latest ones, in order."""
    if len(points) <= most:
        return list(points)
    nadirs = [place for place, point in enumerate(points) if point.context.is_nadir]
    by_interest = dict.fromkeys([0, len(points) - 1, *nadirs[-1:], *reversed(range(len(points)))])
    return [points[place] for place in sorted(list(by_interest)[:most])]

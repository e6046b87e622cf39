"""Slices in space: are they parallel, evenly spaced, complete? Numbers only, no pixel data, no framework.

A slice is its Image Position (Patient), the LPS centre of its first pixel, and its Image Orientation (Patient), the
cosines along which column index and row index grow (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of two direction cosines that still count as the same orientation (0.06 degrees)."""

UNEVEN_FRACTION = 0.1
"""Largest deviation of one spacing from the usual one, as a fraction of it."""

SAME_POSITION_MM = 0.01

Floats = npt.NDArray[np.float64]


class BrokenStack(ValueError):
    """The slices do not make one regular stack; the message is a sentence fragment for people."""


@dataclass(frozen=True, slots=True)
class SliceGap:
    """`missing` slices are absent between the distances `after_mm` and `before_mm` along the slice normal."""

    after_mm: float
    before_mm: float
    missing: int


@dataclass(frozen=True, slots=True)
class SliceStack:
    """Order of the slices and their common spacing.

    `order` lists input indices by growing distance along `normal`, the cross product of the two in-plane axes that
    `orientation` (6 cosines) holds; `spacing_mm` is the mean distance of neighbours.
    """

    order: tuple[int, ...]
    orientation: tuple[float, ...]
    normal: tuple[float, float, float]
    spacing_mm: float


def slice_normal(orientation: Sequence[float]) -> Floats:
    """Unit normal of a slice: (direction of growing column index) x (direction of growing row index).

    Raises:
        BrokenStack: when the six cosines are not two perpendicular unit vectors.
    """
    cosines = np.asarray(orientation, dtype=np.float64)
    if cosines.shape != (6,) or not np.isfinite(cosines).all():
        raise BrokenStack("Image Orientation (Patient) is not six numbers")
    row, column = cosines[:3], cosines[3:]
    gram = np.stack([row, column]) @ np.stack([row, column]).T
    if np.abs(gram - np.eye(2)).max() > 0.01:
        raise BrokenStack("Image Orientation (Patient) is not two perpendicular unit vectors")
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def find_slice_gaps(positions: Sequence[Sequence[float]], orientation: Sequence[float]) -> tuple[SliceGap, ...]:
    """Where slices are missing inside a series. The usual spacing is taken from the closest neighbours, so that a
    series of which most slices are still to come shows its gaps; slices missing at either end cannot be seen.

    Args:
        positions: Image Position (Patient) of each image, LPS mm, any order; duplicates count once.
        orientation: the common Image Orientation (Patient).

    Raises:
        BrokenStack: when the orientation is none.
    """
    distances = np.unique(np.round(_as_points(positions) @ slice_normal(orientation), 3))
    steps = np.diff(distances)
    steps_seen = steps[steps > SAME_POSITION_MM]
    if len(steps_seen) < 2:
        return ()
    usual = _usual_step(steps_seen)
    return tuple(
        SliceGap(float(distances[i]), float(distances[i + 1]), round(float(step / usual)) - 1)
        for i, step in enumerate(steps)
        if step > 1.5 * usual
    )


def stack_slices(positions: Sequence[Sequence[float]], orientations: Sequence[Sequence[float]]) -> SliceStack:
    """Order slices along their normal and check that they make one regular grid.

    Args:
        positions: Image Position (Patient) for each slice, LPS mm.
        orientations: Image Orientation (Patient) for each slice.

    Raises:
        BrokenStack: one slice only, differing orientations, two slices at one position, missing slices, uneven
            spacing, or slices that are shifted sideways against one another.
    """
    if len(positions) < 2:
        raise BrokenStack("there is only one slice; a volume needs at least two")
    cosines = np.asarray(orientations, dtype=np.float64)
    normal = slice_normal(cosines[0])
    if np.abs(cosines - cosines[0]).max() > ORIENTATION_TOLERANCE:
        raise BrokenStack("the slices have different orientations")
    points = _as_points(positions)
    distances = points @ normal
    order = np.argsort(distances, kind="stable")
    steps = np.diff(distances[order])
    if steps.min() <= SAME_POSITION_MM:
        raise BrokenStack(f"{int((steps <= SAME_POSITION_MM).sum()) + 1} images or more share a slice position")
    gaps = find_slice_gaps(positions, cosines[0].tolist())
    if gaps:
        raise BrokenStack(f"{sum(g.missing for g in gaps)} slice(s) are missing inside the series")
    spacing = float(steps.mean())
    if np.abs(steps - spacing).max() > UNEVEN_FRACTION * spacing:
        raise BrokenStack(f"slice spacing is uneven ({steps.min():.2f} to {steps.max():.2f} mm)")
    _refuse_shear(points[order], normal, spacing)
    return SliceStack(tuple(int(i) for i in order), tuple(map(float, cosines[0])), _triple(normal), spacing)


def _refuse_shear(ordered: Floats, normal: Floats, spacing: float) -> None:
    drift = ordered - ordered[0]
    sideways = np.linalg.norm(drift - np.outer(drift @ normal, normal), axis=1).max()
    if sideways > max(0.5, UNEVEN_FRACTION * spacing):
        raise BrokenStack(f"slices are shifted sideways by up to {sideways:.1f} mm (tilted stack)")


def _usual_step(steps: Floats) -> float:
    smallest = steps.min()
    return float(np.median(steps[steps <= 1.25 * smallest]))


def _as_points(positions: Sequence[Sequence[float]]) -> Floats:
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise BrokenStack("Image Position (Patient) is not three numbers for each image")
    return points


def _triple(vector: npt.NDArray[Any]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])

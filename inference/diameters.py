"""RANO diameters: the longest line across a region in one slice, and the longest one perpendicular to it there.

The outline of a mask runs half-way between voxels in and out of it (marching squares at 0.5), which neither adds nor
takes half a voxel at each end as voxel corners or voxel centres would. On that outline both lines are exact.
Reference: Wen et al., RANO 2.0, J Clin Oncol 2023 (two perpendicular diameters in the axial or acquisition plane).
"""

# scikit-image is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.measure import find_contours

from inference.contracts import BoolArray

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlaneDiameters:
    """Both lines in slice `slice_index`; points are (row, column) in voxel units, lengths in mm."""

    slice_index: int
    longest: tuple[Points, Points]
    longest_mm: float
    perpendicular: tuple[Points, Points]
    perpendicular_mm: float


def plane_diameters(mask: BoolArray, spacing_mm: tuple[float, float]) -> PlaneDiameters | None:
    """Longest in-plane diameter over all slices, with the longest perpendicular in the same connected area.

    Args:
        mask: (slices, rows, columns).
        spacing_mm: distance of neighbouring rows and of neighbouring columns.

    Returns:
        None for an empty mask. Of equally long lines the one in the first slice.
    """
    scale = np.asarray(spacing_mm, dtype=np.float64)
    best: tuple[float, int, Points, Points, list[Points]] | None = None
    for slice_index in np.flatnonzero(mask.any(axis=(1, 2))):
        for outlines in _outlines(mask[slice_index]):
            vertices = np.concatenate(outlines) * scale
            # the diagonal of the bounding box bounds every line in it
            if best is None or np.linalg.norm(np.ptp(vertices, axis=0)) > best[0]:
                length, start, end = longest_line(vertices)
                if best is None or length > best[0] + 1e-9:
                    best = (length, int(slice_index), start, end, [o * scale for o in outlines])
    if best is None:
        return None
    length, index, start, end, outlines = best
    across, first, second = longest_perpendicular(outlines, end - start)
    return PlaneDiameters(index, (start / scale, end / scale), length, (first / scale, second / scale), across)


def longest_line(vertices: Points) -> tuple[float, Points, Points]:
    """The two most distant points of a set (n, 2 or 3); they are vertices of its convex hull."""
    corners = vertices[np.sort(ConvexHull(vertices).vertices)]
    distances = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    i, j = np.unravel_index(int(distances.argmax()), distances.shape)
    return float(distances[i, j]), corners[i], corners[j]


def longest_perpendicular(outlines: list[Points], along: Points) -> tuple[float, Points, Points]:
    """The longest line across closed outlines that is perpendicular to `along`.

    The width of a polygon along parallel lines changes linearly between its vertices, so that the longest lies on a
    line through a vertex.

    Args:
        outlines: closed polygons (n, 2) in mm, first point repeated at the end.
        along: the direction to be perpendicular to.
    """
    direction = along / np.linalg.norm(along)
    across = np.array([-direction[1], direction[0]])
    starts = np.concatenate([o[:-1] for o in outlines])
    ends = np.concatenate([o[1:] for o in outlines])
    from_place, to_place = starts @ direction, ends @ direction
    from_height, to_height = starts @ across, ends @ across
    best = (-1.0, 0.0, 0.0, 0.0)
    for place in np.unique(np.round(from_place, 9)):
        step = to_place - from_place
        crossed = (np.minimum(from_place, to_place) <= place + 1e-9) & (
            np.maximum(from_place, to_place) >= place - 1e-9
        )
        level = np.abs(step) < 1e-12
        share = np.clip((place - from_place) / np.where(level, 1.0, step), 0.0, 1.0)
        heights = np.concatenate(
            [
                (from_height + share * (to_height - from_height))[crossed & ~level],
                from_height[crossed & level],
                to_height[crossed & level],
            ]
        )
        if np.ptp(heights) > best[0] + 1e-9:
            best = (float(np.ptp(heights)), float(place), float(heights.min()), float(heights.max()))
    length, place, low, high = best
    return length, place * direction + low * across, place * direction + high * across


def _outlines(plane: BoolArray) -> list[list[Points]]:
    """For each 8-connected area of a slice its closed outlines in (row, column) voxel units."""
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    top, left = rows[0], columns[0]
    crop = np.pad(plane[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    areas, count = ndimage.label(crop, structure=np.ones((3, 3)))
    offset = np.array([top - 1, left - 1], dtype=np.float64)
    return [
        [contour + offset for contour in find_contours((areas == i).astype(np.float64), 0.5, fully_connected="high")]
        for i in range(1, count + 1)
    ]

"""Masks as surfaces: marching cubes (Lewiner) on the smoothed mask, decimated, with the volume they keep.

The level of the isosurface is the one at which the mesh encloses the volume of the voxels, so that smoothing does not
eat small lesions. Vertices are LPS millimetres.
"""

# scikit-image is not annotated.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fast_simplification
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, zoom
from skimage.measure import marching_cubes

from inference.contracts import BoolArray, FloatArray, Matrix

LARGEST_ERROR = 0.01
"""Largest difference between mesh and voxels, as a fraction of the voxels' volume."""

_SMOOTHING_MM = 0.8
_ISOTROPIC_WITHIN = 1.6
_FACES = 24_000
_PAD = 4
Points = npt.NDArray[np.float64]
Faces = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """A closed surface. `points` (n, 3) in LPS mm, `faces` (m, 3) counter-clockwise from outside."""

    points: Points
    faces: Faces
    voxel_ml: float

    @property
    def mesh_ml(self) -> float:
        return enclosed_ml(self.points, self.faces)

    @property
    def error(self) -> float:
        """Difference of the mesh's volume from the voxels', as a fraction of theirs."""
        return self.mesh_ml / self.voxel_ml - 1.0 if self.voxel_ml else 0.0


def surface_of(mask: BoolArray, affine: Matrix) -> Surface | None:
    """The surface of a mask, None where it is empty.

    Args:
        mask: bool (slices, rows, columns).
        affine: (slice, row, column) indices to LPS mm.
    """
    if not mask.any():
        return None
    voxel_ml = float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000.0)
    field, placed = _smoothed(mask, affine)
    return surface_at_volume(field, placed, voxel_ml)


def surface_at_volume(field: FloatArray, affine: Matrix, volume_ml: float) -> Surface:
    """The isosurface of a field (larger inside) that encloses a volume, decimated where its volume allows."""
    points, faces = _matched(field, affine, volume_ml)
    if len(faces) > _FACES:
        thin, thin_faces = fast_simplification.simplify(
            points.astype(np.float32), faces.astype(np.int32), target_count=_FACES
        )
        if abs(enclosed_ml(thin, thin_faces) / volume_ml - 1.0) <= LARGEST_ERROR:
            points, faces = thin.astype(np.float64), thin_faces.astype(np.int64)
    return Surface(points, faces, volume_ml)


def enclosed_ml(points: npt.NDArray[Any], faces: npt.NDArray[Any]) -> float:
    """Volume that a closed surface encloses (divergence theorem)."""
    a, b, c = (points[faces[:, i]].astype(np.float64) - points.mean(axis=0) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6000.0)


def _smoothed(mask: BoolArray, affine: Matrix) -> tuple[FloatArray, Matrix]:
    """The mask's box with a margin as a smooth field, thick slices divided until voxels are nearly cubes."""
    corner = [max(int(i.min()) - _PAD, 0) for i in np.nonzero(mask)]
    end = [int(i.max()) + _PAD + 1 for i in np.nonzero(mask)]
    box = np.pad(mask[tuple(slice(a, b) for a, b in zip(corner, end, strict=True))].astype(np.float32), _PAD)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = np.maximum(np.round(spacing / (spacing.min() * _ISOTROPIC_WITHIN)), 1.0)
    fine = zoom(box, factors, order=1, mode="grid-constant", grid_mode=True) if (factors > 1).any() else box
    field = gaussian_filter(fine, _SMOOTHING_MM / (spacing / factors), mode="constant")
    placed = affine.copy()
    placed[:3, :3] = affine[:3, :3] / factors
    start = np.array(corner, dtype=np.float64) - _PAD - 0.5 + 0.5 / factors
    placed[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    return np.asarray(field, dtype=np.float32), placed


def _matched(field: FloatArray, affine: Matrix, volume_ml: float) -> tuple[Points, Faces]:
    """Marching cubes at the level whose mesh encloses the volume, by bisection to 0.1 %."""
    low, high = float(field.min()), float(field.max())
    wanted = volume_ml * 1000.0 / abs(np.linalg.det(affine[:3, :3]))
    rank = int(np.clip(round(wanted), 1, field.size - 1))
    level = float(np.partition(field.ravel(), field.size - rank)[field.size - rank])
    level = min(max(level, low + 1e-3 * (high - low)), high - 1e-3 * (high - low))
    points, faces = _isosurface(field, affine, level)
    for _ in range(14):
        ratio = enclosed_ml(points, faces) / volume_ml
        if abs(ratio - 1.0) < 1e-3:
            break
        low, high = (level, high) if ratio > 1.0 else (low, level)
        level = (low + high) / 2.0
        points, faces = _isosurface(field, affine, level)
    return points, faces


def _isosurface(field: FloatArray, affine: Matrix, level: float) -> tuple[Points, Faces]:
    indices, faces, _, _ = marching_cubes(field, level, gradient_direction="descent")
    points = indices @ affine[:3, :3].T + affine[:3, 3]
    faces = faces.astype(np.int64)
    if enclosed_ml(points, faces) < 0:
        faces = faces[:, ::-1]
    return points, faces

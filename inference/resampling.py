"""Volumes onto other grids.

Transforms are 4 x 4 matrices that map LPS millimetres of the grid that is filled to LPS millimetres of the volume
that is read.
"""

# SimpleITK is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from highdicom import Volume

from inference.contracts import FloatArray, Matrix

IDENTITY: Matrix = np.eye(4)
_ANTIALIAS_RATIO = 0.7


def resample(volume: Volume, onto: Volume, transform: Matrix = IDENTITY, *, nearest: bool = False) -> FloatArray:
    """Values of a volume at the voxel centres of another grid, linear between voxels, 0 outside its field of view.

    Axes along which the volume is much finer than the target are smoothed first, against aliasing.

    Args:
        volume: (slices, rows, columns), any orientation.
        onto: the grid to fill; its values are not used.
        transform: LPS of `onto` to LPS of `volume`.
        nearest: take the nearest voxel instead; for masks.

    Returns:
        float32 array of the shape of `onto`.
    """
    image = to_image(volume)
    if not nearest:
        image = _smoothed(image, min(onto.spacing))
    method = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    target = _grid_of(onto)
    filled = sitk.Resample(image, *target[:1], _to_itk(transform), method, *target[1:], 0.0, sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(filled), dtype=np.float32)


def to_image(volume: Volume) -> sitk.Image:
    """A float32 SimpleITK image of a volume, same LPS geometry."""
    _, origin, spacing, direction = _grid_of(volume)
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array, dtype=np.float32))
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def with_geometry(array: npt.NDArray[Any], grid: Volume) -> Volume:
    """A volume of `array` on the geometry of `grid`."""
    return Volume(array, grid.affine, grid.coordinate_system, frame_of_reference_uid=grid.frame_of_reference_uid)


def _smoothed(image: sitk.Image, target_mm: float) -> sitk.Image:
    for axis, spacing in enumerate(image.GetSpacing()):
        if spacing < _ANTIALIAS_RATIO * target_mm and image.GetSize()[axis] >= 4:
            sigma = 0.42 * math.sqrt(target_mm**2 - spacing**2)
            image = sitk.RecursiveGaussian(image, sigma, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    return image


def _grid_of(volume: Volume) -> tuple[list[int], list[float], list[float], list[float]]:
    """Size, origin, spacing and direction in ITK's order (columns, rows, slices)."""
    direction = volume.direction[:, ::-1]
    size = [int(n) for n in volume.spatial_shape[::-1]]
    spacing = [float(s) for s in volume.spacing[::-1]]
    return size, [float(p) for p in volume.affine[:3, 3]], spacing, [float(d) for d in direction.ravel()]


def _to_itk(matrix: Matrix) -> sitk.Transform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in matrix[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in matrix[:3, 3]])
    return transform

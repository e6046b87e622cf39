"""Volumes onto other grids, and label maps back without losing or making volume.

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
from scipy import ndimage

from inference.contracts import BoolArray, FloatArray, InferenceError, LabelArray, Matrix
from longitudinal.types import Compartment

IDENTITY: Matrix = np.eye(4)
_SUBSAMPLE_MM = 0.5
_ANTIALIAS_RATIO = 0.7
_CORE = (Compartment.NECROTIC.label, Compartment.ENHANCING.label)


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

    Raises:
        InferenceError: when either grid is sheared (its axes are not perpendicular).
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
    size, origin, spacing, direction = _grid_of(volume)
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array, dtype=np.float32))
    if list(image.GetSize()) != size:
        raise InferenceError("A volume must have exactly three dimensions.")
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def with_geometry(array: npt.NDArray[Any], grid: Volume) -> Volume:
    """A volume of `array` on the geometry of `grid`."""
    return Volume(array, grid.affine, grid.coordinate_system, frame_of_reference_uid=grid.frame_of_reference_uid)


def labels_onto(labels: Volume, native: Volume) -> LabelArray:
    """Bring a label map to another grid so that every lesion keeps its volume and its share of each compartment.

    Nearest-neighbour sampling of a fine map on thick slices gains or loses whole slices by chance. Here each native
    voxel learns how much of it each label fills; each connected piece then takes as many of its fullest voxels as
    its volume needs, and shares them out to core, enhancing and cavity in the same way, so that each volume is kept
    to half a native voxel.

    Args:
        labels: uint8 (slices, rows, columns), values of `Compartment.label`.
        native: the grid to fill; its values are not used.

    Returns:
        uint8 array of the shape of `native`.
    """
    out = np.zeros(native.spatial_shape, dtype=np.uint8)
    box = _native_box(labels, native)
    if box is None:
        return out
    pieces, _ = ndimage.label(labels.array > 0, structure=np.ones((3, 3, 3)))
    occupancy, piece = _occupancy(labels, pieces.astype(np.int32), native, box)
    out[box] = _share_out(occupancy, piece)
    return out


def _share_out(occupancy: FloatArray, piece: npt.NDArray[np.int32]) -> LabelArray:
    """`occupancy` is (5, slices, rows, columns), the share of each voxel that each label fills."""
    filled = occupancy[1:].sum(axis=0)
    flat = np.flatnonzero(filled.ravel())
    share, group = occupancy.reshape(5, -1)[:, flat].astype(np.float64), piece.ravel()[flat]
    everything = np.ones(len(flat), dtype=bool)
    tumour = _fullest(share[1:].sum(axis=0), group, everything)
    core = _fullest(share[list(_CORE)].sum(axis=0), group, tumour)
    enhancing = _fullest(share[Compartment.ENHANCING.label], group, core)
    cavity = _fullest(share[Compartment.CAVITY.label], group, tumour & ~core)
    chosen = np.zeros(len(flat), dtype=np.uint8)
    chosen[tumour] = Compartment.OEDEMA.label
    chosen[core] = Compartment.NECROTIC.label
    chosen[enhancing] = Compartment.ENHANCING.label
    chosen[cavity] = Compartment.CAVITY.label
    out = np.zeros(filled.size, dtype=np.uint8)
    out[flat] = chosen
    return out.reshape(filled.shape)


def _fullest(share: npt.NDArray[np.float64], group: npt.NDArray[np.int32], allowed: BoolArray) -> BoolArray:
    """Of the allowed voxels of each group, as many of the fullest as the group's whole share amounts to."""
    wanted = np.floor(np.bincount(group, weights=share) + 0.5).astype(np.int64)
    candidates = np.flatnonzero(allowed & (share > 0))
    order = candidates[np.lexsort((candidates, -share[candidates], group[candidates]))]
    groups = group[order]
    first = np.searchsorted(groups, groups, side="left")
    rank = np.arange(len(order)) - first
    chosen = np.zeros(len(share), dtype=bool)
    chosen[order[rank < wanted[groups]]] = True
    return chosen


def _occupancy(
    labels: Volume, pieces: npt.NDArray[np.int32], native: Volume, box: tuple[slice, ...]
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Share of each label in each native voxel of the box, and the connected piece that reaches into it."""
    shape = tuple(s.stop - s.start for s in box)
    to_labels = labels.inverse_affine @ native.affine
    counts = np.zeros((5, *shape), dtype=np.float32)
    piece = np.zeros(shape, dtype=np.int32)
    steps = [max(1, math.ceil(s / _SUBSAMPLE_MM - 1e-6)) for s in native.spacing]
    for offset in np.ndindex(*steps):
        shift = [(o + 0.5) / n - 0.5 for o, n in zip(offset, steps, strict=True)]
        values, ids = _lookup(labels.array, pieces, to_labels, box, shift)
        for label in range(1, 5):
            counts[label] += values == label
        np.maximum(piece, ids, out=piece)
    return (counts / math.prod(steps)).astype(np.float32), piece


def _lookup(
    labels: npt.NDArray[Any], pieces: npt.NDArray[np.int32], matrix: Matrix, box: tuple[slice, ...], shift: list[float]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Nearest label and piece at every voxel of a box, moved by a fraction of a voxel."""
    axes = [np.arange(s.start, s.stop, dtype=np.float64) + d for s, d in zip(box, shift, strict=True)]
    inside = np.ones(tuple(len(a) for a in axes), dtype=bool)
    index = []
    for row, size in zip(matrix[:3], labels.shape, strict=True):
        place = (
            row[0] * axes[0][:, None, None] + row[1] * axes[1][None, :, None] + row[2] * axes[2][None, None] + row[3]
        )
        rounded = np.floor(place + 0.5).astype(np.int32)
        inside &= (rounded >= 0) & (rounded < size)
        index.append(np.clip(rounded, 0, size - 1))
    flat = np.ravel_multi_index(tuple(index), labels.shape)
    return np.where(inside, labels.ravel()[flat], 0), np.where(inside, pieces.ravel()[flat], 0)


def _native_box(labels: Volume, native: Volume) -> tuple[slice, ...] | None:
    """The part of the native grid that labelled voxels can reach."""
    found = ndimage.find_objects((labels.array > 0).astype(np.uint8))
    if not found:
        return None
    corners = np.array(np.meshgrid(*[[s.start - 1, s.stop] for s in found[0]], indexing="ij")).reshape(3, -1).T
    points = (native.inverse_affine @ labels.affine @ np.c_[corners, np.ones(8)].T)[:3].T
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, native.spatial_shape)
    if (low >= high).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _smoothed(image: sitk.Image, target_mm: float) -> sitk.Image:
    for axis, spacing in enumerate(image.GetSpacing()):
        if spacing < _ANTIALIAS_RATIO * target_mm and image.GetSize()[axis] >= 4:
            sigma = 0.42 * math.sqrt(target_mm**2 - spacing**2)
            image = sitk.RecursiveGaussian(image, sigma, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    return image


def _grid_of(volume: Volume) -> tuple[list[int], list[float], list[float], list[float]]:
    """Size, origin, spacing and direction in ITK's order (columns, rows, slices)."""
    direction = volume.direction[:, ::-1]
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise InferenceError("The axes of an image are not perpendicular; a sheared grid cannot be resampled.")
    size = [int(n) for n in volume.spatial_shape[::-1]]
    spacing = [float(s) for s in volume.spacing[::-1]]
    return size, [float(p) for p in volume.affine[:3, 3]], spacing, [float(d) for d in direction.ravel()]


def _to_itk(matrix: Matrix) -> sitk.Transform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in matrix[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in matrix[:3, 3]])
    return transform

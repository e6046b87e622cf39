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

from inference.contracts import BoolArray, FloatArray, LabelArray, Matrix
from longitudinal.types import Compartment, Region

IDENTITY: Matrix = np.eye(4)
_ANTIALIAS_RATIO = 0.7
_ENHANCING, _CAVITY = Compartment.ENHANCING.label, Compartment.CAVITY.label
_CORE = Region.CORE.labels


Floats = npt.NDArray[np.float64]


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


def labels_onto(labels: Volume, native: Volume) -> LabelArray:
    """Bring a label map to another grid so that every lesion keeps its volume and its share of each compartment.

    Nearest-neighbour sampling of a fine map on thick slices gains or loses whole slices by chance. Here every
    labelled voxel is cut into small parts that are counted where they fall; each connected piece then takes as many of
    its fullest native voxels as its volume needs, and shares them out to core, enhancing and cavity in the same way, so
    that each volume is kept to half a native voxel.

    Args:
        labels: uint8 (slices, rows, columns), values of `Compartment.label`.
        native: the grid to fill; its values are not used.

    Returns:
        uint8 array of the shape of `native`.
    """
    out = np.zeros(native.spatial_shape, dtype=np.uint8)
    pieces, _ = ndimage.label(labels.array > 0, structure=np.ones((3, 3, 3)))
    places, values, piece = _parts(labels, pieces, native)
    if len(places) == 0:
        return out
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    flat = np.ravel_multi_index(tuple((places - low).T), tuple(high - low))
    filled, voxel = np.unique(flat, return_inverse=True)
    owner = np.zeros(len(filled), dtype=np.int64)
    owner[voxel] = piece
    whole_voxel = native.voxel_volume / labels.voxel_volume * _steps(labels, native) ** 3
    share = np.stack([np.bincount(voxel[values == c], minlength=len(filled)) for c in range(5)]) / whole_voxel
    wanted = np.stack([np.bincount(piece[values == c], minlength=piece.max() + 1) for c in range(5)]) / whole_voxel
    target = np.zeros(int(np.prod(high - low)), dtype=np.uint8)
    target[filled] = _share_out(share, wanted, owner)
    out[box] = target.reshape(tuple(high - low))
    return out


def _parts(
    labels: Volume, pieces: npt.NDArray[np.integer[Any]], native: Volume
) -> tuple[npt.NDArray[np.int64], LabelArray, npt.NDArray[np.int64]]:
    """Equal parts of the labelled voxels that fall into the native field of view: the native voxel of each, its label,
    the connected piece it belongs to."""
    centres = np.argwhere(labels.array > 0)
    matrix = native.inverse_affine @ labels.affine
    steps = _steps(labels, native)
    offsets = (np.indices((steps, steps, steps)).reshape(3, -1).T + 0.5) / steps - 0.5
    base = centres @ matrix[:3, :3].T + matrix[:3, 3] + 0.5
    shifts = offsets @ matrix[:3, :3].T
    places = np.floor(base[:, None] + shifts[None]).astype(np.int64).reshape(-1, 3)
    inside = ((places >= 0) & (places < native.spatial_shape)).all(axis=1)
    values = np.repeat(labels.array[tuple(centres.T)], len(offsets))[inside]
    piece = np.repeat(pieces[tuple(centres.T)].astype(np.int64), len(offsets))[inside]
    return places[inside], values, piece


def _steps(labels: Volume, native: Volume) -> int:
    """Parts of a labelled voxel along each axis: at least two for each native voxel, at most four."""
    return min(4, max(2, math.ceil(2 * max(labels.spacing) / min(native.spacing) - 1e-6)))


def _share_out(share: Floats, wanted: Floats, owner: npt.NDArray[np.int64]) -> LabelArray:
    """Decide the label of each voxel.

    Args:
        share: (5, voxels), how much of each voxel each label fills.
        wanted: (5, pieces), volume of each label in each piece, in voxels.
        owner: (voxels,), the piece that each voxel belongs to.
    """
    tumour = _fullest(share[1:].sum(axis=0), wanted[1:].sum(axis=0), owner, np.ones(len(owner), dtype=bool))
    core = _fullest(share[list(_CORE)].sum(axis=0), wanted[list(_CORE)].sum(axis=0), owner, tumour)
    enhancing = _fullest(share[_ENHANCING], wanted[_ENHANCING], owner, core)
    cavity = _fullest(share[_CAVITY], wanted[_CAVITY], owner, tumour & ~core)
    chosen = np.zeros(len(owner), dtype=np.uint8)
    chosen[tumour] = Compartment.OEDEMA.label
    chosen[core] = Compartment.NECROTIC.label
    chosen[enhancing] = _ENHANCING
    chosen[cavity] = _CAVITY
    return chosen


def _fullest(share: Floats, wanted: Floats, owner: npt.NDArray[np.int64], allowed: BoolArray) -> BoolArray:
    """Of the allowed voxels of each piece the fullest, as many as are wanted."""
    candidates = np.flatnonzero(allowed)
    order = candidates[np.lexsort((candidates, -share[candidates], owner[candidates]))]
    owners = owner[order]
    rank = np.arange(len(order)) - np.searchsorted(owners, owners, side="left")
    chosen = np.zeros(len(owner), dtype=bool)
    chosen[order[rank < np.floor(wanted + 0.5)[owners]]] = True
    return chosen


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

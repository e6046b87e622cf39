"""Label maps from the working grid back to the grid of the images, without losing or making volume.

Nearest-neighbour sampling of a fine map on thick slices gains or loses whole slices by chance. Here every labelled
voxel is cut into small equal parts that are counted where they fall; each connected piece then takes as many of its
fullest native voxels as its volume needs, and shares them out to core, enhancing and cavity in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from scipy import ndimage

from inference.contracts import BoolArray, LabelArray
from longitudinal.types import Compartment, Region

_ENHANCING, _CAVITY = Compartment.ENHANCING.label, Compartment.CAVITY.label
_CORE = list(Region.CORE.labels)
_CHUNK_PARTS = 4_000_000

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass
class _Counts:
    """Parts counted so far in a box of the native grid that starts at `low`.

    `share` (5, slices, rows, columns): parts of each label in each voxel; `owner`: the piece that reaches into it;
    `wanted` (5, pieces): parts of each label that each piece has within the field of view.
    """

    low: Integers
    share: Integers
    owner: Integers
    wanted: Integers


def labels_onto(labels: Volume, native: Volume) -> LabelArray:
    """Bring a label map to another grid so that every piece keeps its volume and its share of each compartment.

    Args:
        labels: uint8 (slices, rows, columns), values of `Compartment.label`.
        native: the grid to fill; its values are not used.

    Returns:
        uint8 array of the shape of `native`. Volumes of whole piece, core, enhancing part and cavity are kept to half
        a native voxel each, as far as they lie within its field of view.
    """
    out = np.zeros(native.spatial_shape, dtype=np.uint8)
    counts = _count_parts(labels, native)
    if counts is not None:
        parts_in_native = native.voxel_volume / labels.voxel_volume * _steps(labels, native) ** 3
        box = tuple(slice(a, a + n) for a, n in zip(counts.low.tolist(), counts.owner.shape, strict=True))
        out[box] = _share_out(counts.share, counts.wanted / parts_in_native, counts.owner)
    return out


def _count_parts(labels: Volume, native: Volume) -> _Counts | None:
    """Cut labelled voxels into parts and count them in native voxels; None where none falls into the field of view."""
    pieces, count = ndimage.label(labels.array > 0, structure=np.ones((3, 3, 3)))
    voxels = np.argwhere(pieces)
    values, owners = labels.array[tuple(voxels.T)].astype(np.int64), pieces[tuple(voxels.T)].astype(np.int64)
    matrix = native.inverse_affine @ labels.affine
    centres = voxels @ matrix[:3, :3].T + matrix[:3, 3] + 0.5  # floor of this is the native index
    steps = _steps(labels, native)
    shifts = ((np.indices((steps,) * 3).reshape(3, -1).T + 0.5) / steps - 0.5) @ matrix[:3, :3].T
    if len(voxels) == 0:
        return None
    low = np.maximum(np.floor(centres.min(axis=0) + shifts.min(axis=0)), 0).astype(np.int64)
    high = np.minimum(np.floor(centres.max(axis=0) + shifts.max(axis=0)) + 1, native.spatial_shape).astype(np.int64)
    if (low >= high).any():
        return None
    shape = tuple((high - low).tolist())
    counts = _Counts(
        low, np.zeros((5, *shape), np.int64), np.zeros(shape, np.int64), np.zeros((5, count + 1), np.int64)
    )
    chunk = _CHUNK_PARTS // len(shifts)
    for start in range(0, len(voxels), chunk):
        part = slice(start, start + chunk)
        _add(counts, centres[part, None] + shifts[None] - low, values[part, None], owners[part, None])
    return counts


def _add(counts: _Counts, places: Floats, values: Integers, owners: Integers) -> None:
    """Count parts at `places` (voxels, parts, 3), native voxel units from the corner of the box."""
    shape = counts.owner.shape
    index = np.floor(places).astype(np.int64)
    inside = ((index >= 0) & (index < shape)).all(axis=-1)
    flat = np.ravel_multi_index(tuple(index[inside].T), shape)
    value = np.broadcast_to(values, inside.shape)[inside]
    owner = np.broadcast_to(owners, inside.shape)[inside]
    size, pieces = counts.owner.size, counts.wanted.shape[1]
    counts.share += np.bincount(value * size + flat, minlength=5 * size).reshape(counts.share.shape)
    counts.wanted += np.bincount(value * pieces + owner, minlength=5 * pieces).reshape(counts.wanted.shape)
    counts.owner.ravel()[flat] = owner


def _steps(labels: Volume, native: Volume) -> int:
    """Parts of a labelled voxel along each axis: at least two for each native voxel, three or four."""
    return min(4, max(3, math.ceil(2 * max(labels.spacing) / min(native.spacing) - 1e-6)))


def _share_out(share: Integers, wanted: Floats, owner: Integers) -> LabelArray:
    """Decide the label of each voxel.

    Args:
        share: (5, slices, rows, columns), how many parts of each label each voxel holds.
        wanted: (5, pieces), volume of each label in each piece, in voxels.
        owner: (slices, rows, columns), the piece that each voxel belongs to.
    """
    tumour = _fullest(share[1:].sum(axis=0), wanted[1:].sum(axis=0), owner, np.asarray(share[1:].any(axis=0)))
    core = _fullest(share[_CORE].sum(axis=0), wanted[_CORE].sum(axis=0), owner, tumour)
    enhancing = _fullest(share[_ENHANCING], wanted[_ENHANCING], owner, core)
    cavity = _fullest(share[_CAVITY], wanted[_CAVITY], owner, tumour & ~core)
    chosen = np.zeros(owner.shape, dtype=np.uint8)
    chosen[tumour] = Compartment.OEDEMA.label
    chosen[core] = Compartment.NECROTIC.label
    chosen[enhancing] = _ENHANCING
    chosen[cavity] = _CAVITY
    return chosen


def _fullest(share: Integers, wanted: Floats, owner: Integers, allowed: BoolArray) -> BoolArray:
    """Of the allowed voxels of each piece the fullest, as many as are wanted; of equally full ones those in the
    fullest surroundings, so that the outline stays smooth and drifts to no side."""
    chosen = np.zeros(share.shape, dtype=bool)
    candidates = np.flatnonzero(allowed)
    if not wanted.any() or len(candidates) == 0:
        return chosen
    around = ndimage.gaussian_filter(share.astype(np.float32), 1.0, truncate=2.0).ravel()[candidates]
    owners, full = owner.ravel()[candidates], share.ravel()[candidates]
    order = np.lexsort((-around, -full, owners))
    ranked = owners[order]
    rank = np.arange(len(order)) - np.searchsorted(ranked, ranked, side="left")
    chosen.ravel()[candidates[order[rank < np.floor(wanted + 0.5)[ranked]]]] = True
    return chosen

"""Heads from label maps of real people: each draw is moved, scaled and bent, so that few maps give many heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from scipy.spatial.transform import Rotation

from training.brain import heads as label_maps
from training.simulate.anatomy import Head, Tissue
from training.simulate.random_fields import smooth_field

_MARGIN_MM = 14
_BRAIN_CENTRE_LPS_MM = (0.0, 18.0, 12.0)
"""Where the middle of the brain lies in head space, whose origin is the anterior commissure."""

_GREY = {3: 1.0, 8: 1.0, 10: 0.6, 11: 0.95, 12: 0.85, 13: 0.35, 17: 0.95, 18: 1.0, 26: 0.95}
_WHITE = {2: 1.0, 7: 1.0, 16: 0.85, 28: 0.65}
_WATER = (4, 5, 14, 15, label_maps.CSF)
_OUTER = {number: tissue for tissue, number in label_maps.LABEL_OF_TISSUE.items() if tissue not in (1, 2, 3)}


def head_of_map(source: label_maps.Head, seed: int, spacing_mm: float) -> Head:
    """One person's head of a label map, another one for each seed, cut to the brain with a margin.

    What lies outside the brain and is no tissue of ours becomes muscle.
    """
    rng = np.random.default_rng([seed, 11])
    box = ndi.find_objects(source.brain.astype(np.uint8))[0]
    classes = _cut(source.classes, box)
    numbers = np.array(source.tissues)[classes]
    shape = tuple(round(n / spacing_mm) for n in classes.shape)
    index = _places(rng, shape, classes.shape, spacing_mm)
    grey, white, water = (_share(numbers, part, index) for part in _shares())
    brain = _at(_cut(source.brain, box).astype(np.float32), index) >= 0.5
    total = np.maximum(grey + white + water, 1e-3)
    known = grey + white + water > 0.5
    csf, gm, wm = (np.where(known, part / total, 0).astype(np.float32) for part in (water, grey, white))
    csf[brain & ~known] = 1.0
    outer = ndi.map_coordinates(_outer_tissue(numbers), index, order=0, mode="nearest")
    inside = np.argmax(np.stack([csf, gm, wm]), axis=0).astype(np.uint8) + np.uint8(Tissue.CSF)
    tissue = np.where(known | brain, inside, outer).astype(np.uint8)
    middle = np.argwhere(brain).mean(axis=0)[::-1] * spacing_mm
    left, posterior, superior = (c - m for c, m in zip(_BRAIN_CENTRE_LPS_MM, middle, strict=True))
    return Head(csf, gm, wm, tissue, brain, spacing_mm, (float(left), float(posterior), float(superior)))


def _shares() -> Sequence[Mapping[int, float]]:
    """How much of each label is grey matter, white matter and CSF."""
    grey = _GREY | {number: 1 - part for number, part in _WHITE.items()}
    white = _WHITE | {number: 1 - part for number, part in _GREY.items()}
    return grey, white, dict.fromkeys(_WATER, 1.0)


def _cut(array: npt.NDArray[np.generic], box: Sequence[slice]) -> npt.NDArray[np.generic]:
    window = tuple(
        slice(max(s.start - _MARGIN_MM, 0), min(s.stop + _MARGIN_MM, n)) for s, n in zip(box, array.shape, strict=True)
    )
    return array[window]


def _places(
    rng: np.random.Generator, shape: Sequence[int], source: Sequence[int], spacing_mm: float
) -> npt.NDArray[np.float32]:
    """Where each new voxel lies in the map (1 mm), voxel coordinates, shape (3, z, y, x)."""
    turn = Rotation.from_euler("xyz", rng.normal(0, 6, 3), degrees=True).as_matrix()
    matrix = turn @ np.diag(1 / rng.normal(1.0, 0.06, 3)) + rng.normal(0, 0.02, (3, 3))
    if rng.random() < 0.5:
        matrix[:, 2] *= -1
    grid = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * spacing_mm for n in shape), indexing="ij")
    moved = np.tensordot(matrix, np.stack(grid), axes=1).astype(np.float32)
    for axis in range(3):
        moved[axis] += smooth_field(rng, shape, spacing_mm, 90.0) * np.float32(rng.uniform(1, 4))
        moved[axis] += smooth_field(rng, shape, spacing_mm, 40.0) * np.float32(rng.uniform(0.3, 1.6))
        moved[axis] += (source[axis] - 1) / 2
    return moved


def _share(
    numbers: npt.NDArray[np.generic], parts: Mapping[int, float], index: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    table = np.zeros(int(numbers.max()) + 1, dtype=np.float32)
    for number, part in parts.items():
        if number < len(table):
            table[number] = part
    return _at(table[numbers], index)


def _at(field: npt.NDArray[np.float32], index: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    smooth = ndi.gaussian_filter(field, 0.5)
    return np.asarray(ndi.map_coordinates(smooth, index, order=1, mode="nearest"), dtype=np.float32)


def _outer_tissue(numbers: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    out = np.full(numbers.shape, Tissue.MUSCLE, dtype=np.uint8)
    for number, tissue in _OUTER.items():
        out[numbers == number] = tissue
    return out

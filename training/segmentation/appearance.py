"""A random look for a case: four contrasts as some scanner might show them, and the brain mask as some tool finds it.

Domain randomisation (Billot et al., SynthSeg, 2023): signal levels, texture, bias field, noise, slice thickness in a
random plane, residual misregistration, imperfect brain masks, and contrasts that were not acquired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from inference.backends.own import CHANNEL_ORDER, normalise
from inference.contracts import BoolArray, FloatArray, LabelArray
from longitudinal.types import Contrast
from training.segmentation.cases import Case
from training.segmentation.lesion_look import LesionLook, draw_look, paint
from training.simulate.anatomy import Tissue
from training.simulate.mr import TISSUE_SIGNAL
from training.simulate.random_fields import smooth_field

_STAND_INS = {
    Contrast.T1C: Contrast.T1,
    Contrast.T1: Contrast.T1C,
    Contrast.T2: Contrast.FLAIR,
    Contrast.FLAIR: Contrast.T2,
}
_MISSING_SHARES = {Contrast.T1C: 0.03, Contrast.T1: 0.07, Contrast.T2: 0.07, Contrast.FLAIR: 0.03}

_TISSUE_SD = 0.14
"""SD of the logarithm of tissue signal."""


@dataclass(frozen=True)
class Sample:
    """Network input, float32 (channel, slice, row, column) in `CHANNEL_ORDER`, and its labels, uint8."""

    image: FloatArray
    labels: LabelArray


def crop(rng: np.random.Generator, case: Case, extents: tuple[int, int, int]) -> Case:
    """A part of the case of these extents at random, most often with the tumour in it; padded where it is smaller."""
    shape = case.labels.shape
    focus = np.argwhere(case.labels > 0) if rng.random() < 0.8 else np.empty((0, 3))
    middle = focus[rng.integers(len(focus))] if len(focus) else np.array(shape) / 2
    window, padding = [], []
    for size, extent, centre in zip(shape, extents, middle, strict=True):
        jitter = rng.uniform(-0.25, 0.25) * extent
        start = int(np.clip(centre + jitter - extent / 2, 0, max(size - extent, 0)))
        window.append(slice(start, min(start + extent, size)))
        short = max(extent - size, 0)
        padding.append((short // 2, short - short // 2))
    arrays = {name: np.pad(getattr(case, name)[tuple(window)], padding) for name in Case.__dataclass_fields__}
    return Case(**arrays)


def draw_sample(rng: np.random.Generator, case: Case, spacing_mm: float) -> Sample:
    """One random look of the case, mirrored left to right half of the time."""
    missing = [c for c in Contrast if rng.random() < _MISSING_SHARES[c]][:1]
    distractors = _distractors(rng, case, spacing_mm)
    shape = case.labels.shape
    look = draw_look(rng)
    channels = {}
    for contrast in Contrast:
        image = _signal(rng, case, look, contrast, spacing_mm)
        for where, gains in distractors:
            image[where] *= gains.get(contrast, 1.0)
        channels[contrast] = _acquired(rng, image, contrast, spacing_mm)
    for contrast in missing:
        channels[contrast] = channels[_STAND_INS[contrast]]
    brain = _found_brain(rng, case, spacing_mm)
    image = normalise(np.stack([channels[c] for c in CHANNEL_ORDER]), brain)
    image += rng.normal(0, 0.08, (len(CHANNEL_ORDER), 1, 1, 1)).astype(np.float32) * brain
    labels = np.where(brain, case.labels, 0).astype(np.uint8).reshape(shape)
    if rng.random() < 0.5:
        return Sample(np.ascontiguousarray(image[..., ::-1]), np.ascontiguousarray(labels[..., ::-1]))
    return Sample(image, labels)


def _signal(
    rng: np.random.Generator, case: Case, look: LesionLook, contrast: Contrast, spacing_mm: float
) -> FloatArray:
    """The noise-free signal with randomised levels."""
    levels = np.array(TISSUE_SIGNAL[contrast]) * np.exp(rng.normal(0, _TISSUE_SD, len(Tissue)))
    image = levels.astype(np.float32)[case.tissue]
    inside = (case.tissue >= Tissue.CSF) & (case.tissue <= Tissue.WM)
    fractions = ((Tissue.CSF, case.csf), (Tissue.GM, case.gm), (Tissue.WM, case.wm))
    mixed = sum(np.float32(levels[kind] / 255) * part for kind, part in fractions)
    image = np.where(inside, mixed, image).astype(np.float32)
    image = paint(rng, image, case, look, contrast, spacing_mm)
    texture = smooth_field(rng, image.shape, spacing_mm, float(rng.uniform(4, 12)))
    image *= 1 + np.float32(rng.uniform(0.02, 0.09)) * texture
    return np.asarray(np.clip(image, 0, None) ** np.float32(np.exp(rng.normal(0, 0.12))), dtype=np.float32)


def _distractors(
    rng: np.random.Generator, case: Case, spacing_mm: float
) -> list[tuple[BoolArray, dict[Contrast, float]]]:
    """What looks like tumour and is none: vascular white-matter change, enhancing choroid plexus, small vessels."""
    healthy = case.labels == 0
    out: list[tuple[BoolArray, dict[Contrast, float]]] = []
    if rng.random() < 0.4:
        spots = smooth_field(rng, case.labels.shape, spacing_mm, float(rng.uniform(8, 20))) > rng.uniform(2.2, 3.0)
        gains = {
            Contrast.FLAIR: float(rng.uniform(1.2, 1.8)),
            Contrast.T2: float(rng.uniform(1.2, 1.7)),
            Contrast.T1: 0.9,
        }
        out.append((spots & healthy & (case.wm > 150), gains))
    if rng.random() < 0.5:
        strands = smooth_field(rng, case.labels.shape, spacing_mm, 9.0) > rng.uniform(1.6, 2.2)
        deep = ndi.binary_erosion(case.brain > 0, iterations=round(12 / spacing_mm))
        out.append((strands & healthy & deep & (case.csf > 150), {Contrast.T1C: float(rng.uniform(2.5, 5.0))}))
    if rng.random() < 0.5:
        vessels = smooth_field(rng, case.labels.shape, spacing_mm, float(rng.uniform(5, 8))) > rng.uniform(2.3, 3.0)
        dark = {Contrast.T2: float(rng.uniform(0.4, 0.9)), Contrast.FLAIR: float(rng.uniform(0.6, 1.0))}
        out.append((vessels & healthy & (case.wm < 128), {Contrast.T1C: float(rng.uniform(1.5, 2.5))} | dark))
    return out


def _acquired(rng: np.random.Generator, image: FloatArray, contrast: Contrast, spacing_mm: float) -> FloatArray:
    """Slices in a random plane, a shift that registration left, coil bias, Rician noise."""
    thick = float(
        rng.choice((rng.uniform(1.0, 2.0), rng.uniform(2.0, 4.0), rng.uniform(4.0, 6.5)), p=(0.25, 0.3, 0.45))
    )
    plane = int(rng.choice(3, p=(0.8, 0.1, 0.1)))
    left_over = 0.0 if contrast is Contrast.T1C else 0.5
    for axis in range(3):
        resolution = thick if axis == plane else float(rng.uniform(0.9, 1.7))
        matrix = slice_matrix(
            image.shape[axis], spacing_mm, resolution, float(rng.uniform(0, 1)), rng.normal(0, left_over)
        )
        image = np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)
    bias = np.exp(
        np.float32(rng.uniform(0.0, 0.25)) * smooth_field(rng, image.shape, spacing_mm, float(rng.uniform(120, 260)))
    )
    noise = np.float32(rng.uniform(0.005, 0.05))
    real = image * bias + noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, noise * rng.standard_normal(image.shape, dtype=np.float32)), dtype=np.float32)


def slice_matrix(size: int, spacing_mm: float, slice_mm: float, phase: float, shift_mm: float) -> FloatArray:
    """What acquiring one axis in slices and interpolating back does to it, as a matrix (size, size).

    Slices of `slice_mm` lie side by side, the first offset by `phase` slices; the result is read at positions moved
    by `shift_mm`. Slices that are not thicker than a voxel leave the axis as it is, but for the shift.
    """
    position = np.arange(size) * spacing_mm
    if slice_mm <= spacing_mm:
        centres = position
        averaged = np.eye(size)
    else:
        centres = np.arange((phase - 1) * slice_mm, position[-1] + 2 * slice_mm, slice_mm)
        overlap = np.minimum(position[None] + spacing_mm / 2, centres[:, None] + slice_mm / 2) - np.maximum(
            position[None] - spacing_mm / 2, centres[:, None] - slice_mm / 2
        )
        averaged = np.clip(overlap, 0, None)
        averaged[averaged.sum(axis=1) == 0, 0] = 1e-9
        averaged /= averaged.sum(axis=1, keepdims=True)
    pitch = centres[1] - centres[0]
    weight = np.clip(1 - np.abs(position[:, None] + shift_mm - centres[None]) / pitch, 0, None)
    return np.asarray(weight @ averaged, dtype=np.float32)


def _found_brain(rng: np.random.Generator, case: Case, spacing_mm: float) -> BoolArray:
    """The true mask, or one whose surface wanders by a few millimetres."""
    brain = case.brain > 0
    if rng.random() < 0.4 or not brain.any():
        return brain
    distance = ndi.distance_transform_edt(~brain) - ndi.distance_transform_edt(brain)
    wander = rng.normal(0, 1.0) + 1.2 * smooth_field(rng, brain.shape, spacing_mm, 50.0)
    return np.asarray(distance * spacing_mm <= wander, dtype=np.bool_)

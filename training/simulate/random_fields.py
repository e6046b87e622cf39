"""Smooth random fields: displacements, coil bias, growth irregularity and tissue texture are drawn from these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def _weights(size: int, spacing_mm: float, wavelength_mm: float) -> FloatArray:
    """Gaussian weights (voxel, knot) that make the variance of the interpolated field one everywhere."""
    knot_mm = wavelength_mm / 4
    positions = np.arange(size) * spacing_mm
    knots = np.arange(-2, int(np.ceil(positions[-1] / knot_mm)) + 3) * knot_mm
    weights = np.exp(-0.5 * ((positions[:, None] - knots[None, :]) / knot_mm) ** 2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)


def smooth_field(rng: np.random.Generator, shape: Sequence[int], spacing_mm: float, wavelength_mm: float) -> FloatArray:
    """A Gaussian random field of zero mean and unit variance over an isotropic grid, shape (z, y, x).

    `wavelength_mm` is about the distance from one crest to the next; the field is separable, so a head of nine
    million voxels costs a fraction of a second.
    """
    wz, wy, wx = (_weights(n, spacing_mm, wavelength_mm) for n in shape)
    knots = rng.standard_normal((wz.shape[1], wy.shape[1], wx.shape[1]), dtype=np.float32)
    along_x = knots.reshape(-1, knots.shape[2]) @ wx.T
    along_yx = np.matmul(wy, along_x.reshape(knots.shape[0], knots.shape[1], -1))
    along_zyx = wz @ along_yx.reshape(knots.shape[0], -1)
    return np.asarray(along_zyx.reshape(*shape), dtype=np.float32)

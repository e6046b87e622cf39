"""Four MR contrasts of a head with tumours, acquired on grids as a scanner would.

Relative intensities follow spin-echo and inversion-recovery brain protocols at 1.5-3 T (T1-weighted before and after
gadolinium, T2-weighted, T2-FLAIR). Acquisition adds what a scanner adds: a slice profile, partial volume, a coil
bias field and Rician noise (Gudbjartsson and Patz 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from scipy.spatial.transform import Rotation

from longitudinal.types import Compartment, Contrast
from training.simulate.anatomy import Head, Tissue
from training.simulate.random_fields import FloatArray, smooth_field
from training.simulate.tumour import Growth, Lesion

Matrix = npt.NDArray[np.float64]

TISSUE_SIGNAL: Mapping[Contrast, Sequence[float]] = {
    # air, CSF, GM, WM, vessel, bone, marrow, muscle, fat, skin, eye
    Contrast.T1: (0.01, 0.22, 0.58, 0.82, 0.30, 0.06, 0.75, 0.45, 1.15, 0.55, 0.25),
    Contrast.T1C: (0.01, 0.24, 0.62, 0.84, 1.45, 0.06, 0.80, 0.55, 1.15, 0.75, 0.27),
    Contrast.T2: (0.01, 1.60, 0.82, 0.58, 0.18, 0.05, 0.62, 0.30, 0.85, 0.45, 1.65),
    Contrast.FLAIR: (0.01, 0.16, 0.74, 0.58, 0.20, 0.05, 0.60, 0.32, 0.80, 0.42, 0.20),
}

# Of a fully filled voxel, in the units of the table above; "diffuse" is the core of a lower-grade glioma.
LESION_SIGNAL: Mapping[Contrast, Mapping[str, float]] = {
    Contrast.T1: {"necrotic": 0.34, "diffuse": 0.46, "oedema": 0.63, "enhancing": 0.58, "cavity": 0.24},
    Contrast.T1C: {"necrotic": 0.38, "diffuse": 0.48, "oedema": 0.65, "enhancing": 1.38, "cavity": 0.27},
    Contrast.T2: {"necrotic": 1.35, "diffuse": 1.34, "oedema": 1.06, "enhancing": 0.98, "cavity": 1.58},
    Contrast.FLAIR: {"necrotic": 0.70, "diffuse": 0.98, "oedema": 1.18, "enhancing": 1.02, "cavity": 0.20},
}


@dataclass(frozen=True)
class Look:
    """How much a patient differs from the tables: relative SD of tissue and lesion intensities and of texture."""

    tissue_sd: float = 0.04
    lesion_sd: float = 0.07
    texture_sd: float = 0.05
    blur_mm: float = 0.7


@dataclass(frozen=True)
class Pose:
    """Head position in the scanner: scanner = rotation @ head + shift (LPS mm)."""

    rotation: Matrix
    shift_mm: npt.NDArray[np.float64]

    def to_head(self, lps_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Head coordinates of scanner points, both of shape (3, n)."""
        return self.rotation.T @ (lps_mm - self.shift_mm[:, None])


@dataclass(frozen=True)
class SliceStack:
    """Geometry of a multi-slice series. `orientation` holds unit vectors in scanner LPS as columns: along a row
    (column index grows), along a column (row index grows), and from slice to slice."""

    slices: int
    rows: int
    columns: int
    pixel_mm: float
    thickness_mm: float
    spacing_mm: float
    orientation: Matrix
    centre_mm: npt.NDArray[np.float64]

    @property
    def affine(self) -> Matrix:
        """4 x 4, (slice, row, column) to LPS millimetres (the order that `highdicom.Volume` uses)."""
        out = np.eye(4)
        out[:3, 0] = self.orientation[:, 2] * self.spacing_mm
        out[:3, 1] = self.orientation[:, 1] * self.pixel_mm
        out[:3, 2] = self.orientation[:, 0] * self.pixel_mm
        middle = (np.array([self.slices, self.rows, self.columns]) - 1) / 2
        out[:3, 3] = self.centre_mm - out[:3, :3] @ middle
        return out

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.slices, self.rows, self.columns


def rigid_pose(rng: np.random.Generator, rotation_sd_deg: float, shift_sd_mm: float) -> Pose:
    """A random small rotation about the three axes and a random shift."""
    turn = Rotation.from_euler("xyz", rng.normal(0, rotation_sd_deg, 3), degrees=True).as_matrix()
    return Pose(np.asarray(turn), rng.normal(0, shift_sd_mm, 3))


def render(
    rng: np.random.Generator,
    head: Head,
    lesions: Sequence[tuple[Lesion, npt.NDArray[np.uint8]]],
    contrast: Contrast,
    look: Look | None = None,
) -> FloatArray:
    """The noise-free signal of one contrast on the head grid; white matter in T1 is about 0.8.

    `lesions` are lesions with their compartment labels on their boxes, at this time point.
    """
    look = look or Look()
    signal = np.array(TISSUE_SIGNAL[contrast]) * np.exp(rng.normal(0, look.tissue_sd, len(Tissue)))
    image = signal.astype(np.float32)[head.tissue]
    inside = (head.tissue >= Tissue.CSF) & (head.tissue <= Tissue.WM)
    brain = sum(
        np.float32(signal[kind]) * part
        for kind, part in ((Tissue.CSF, head.csf), (Tissue.GM, head.gm), (Tissue.WM, head.wm))
    )
    image = np.where(inside, brain, image).astype(np.float32)
    for lesion, labels in lesions:
        _paint(rng, image, lesion, labels, contrast, look)
    texture = smooth_field(rng, head.shape, head.spacing_mm, 7.0)
    image *= 1 + np.float32(look.texture_sd) * texture
    sigma = look.blur_mm / head.spacing_mm
    return np.asarray(ndi.gaussian_filter(image, sigma), dtype=np.float32)


def _paint(
    rng: np.random.Generator,
    image: FloatArray,
    lesion: Lesion,
    labels: npt.NDArray[np.uint8],
    contrast: Contrast,
    look: Look,
) -> None:
    table = LESION_SIGNAL[contrast]
    core = "diffuse" if lesion.plan.growth is Growth.DIFFUSE else "necrotic"
    view = image[lesion.box]
    uneven = 1 + 0.12 * smooth_field(rng, labels.shape, lesion.spacing_mm, 10.0)
    names = {
        Compartment.OEDEMA: "oedema",
        Compartment.NECROTIC: core,
        Compartment.ENHANCING: "enhancing",
        Compartment.CAVITY: "cavity",
    }
    for compartment, name in names.items():
        level = table[name] * np.exp(rng.normal(0, look.lesion_sd))
        where = labels == compartment.label
        replaced = (level * uneven)[where]
        # Oedema is water within tissue: the anatomy shows through it; the core replaces tissue altogether.
        share = 0.8 if compartment is Compartment.OEDEMA else 0.97
        view[where] = share * replaced + (1 - share) * view[where]


def sample(
    image: npt.NDArray[np.float32], head: Head, stack: SliceStack, pose: Pose, step_mm: float = 1.2
) -> FloatArray:
    """Average `image` over the thickness of every slice of `stack` (partial volume), zero outside the head grid."""
    count = max(1, round(stack.thickness_mm / max(step_mm, head.spacing_mm)))
    offsets = (np.arange(count) + 0.5) / count * stack.thickness_mm - stack.thickness_mm / 2
    total = np.zeros(stack.shape, dtype=np.float32)
    matrix = pose.rotation.T @ stack.affine[:3, :3]
    for offset in offsets:
        origin = stack.affine[:3, 3] + stack.orientation[:, 2] * offset
        start = head.index_of(pose.to_head(origin[:, None]))[:, 0]
        total += ndi.affine_transform(
            image, matrix[::-1] / head.spacing_mm, start, stack.shape, order=1, prefilter=False, output=np.float32
        )
    return total / np.float32(count)


def scanner_noise(
    rng: np.random.Generator, signal: FloatArray, stack: SliceStack, noise: float, bias: float
) -> FloatArray:
    """Multiply by a smooth coil bias field (log SD `bias`) and take the magnitude of a complex signal with Gaussian
    noise of SD `noise` in both parts."""
    coarse = (
        math.ceil(stack.slices * stack.spacing_mm / 4),
        *(math.ceil(n * stack.pixel_mm / 4) for n in stack.shape[1:]),
    )
    field = smooth_field(rng, coarse, 4.0, 220.0)
    full = ndi.zoom(field, np.array(stack.shape) / np.array(coarse), order=1, grid_mode=True, mode="nearest")
    real = signal * np.exp(np.float32(bias) * full)
    real += np.float32(noise) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(noise) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)

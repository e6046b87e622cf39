"""A head: the MNI152 brain, deformed for each patient, inside CSF, skull, scalp, face and neck built around it.

The template holds the brain only; everything outside is made from the distance to the closed brain surface and
from a few solids (eyes, air passages, face, neck), with thicknesses that vary over the head and between patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from training.simulate.random_fields import FloatArray, smooth_field
from training.simulate.template import ORIGIN_LPS_MM, Template, load_template

LabelArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

EXTENT_LPS_MM = ((-96.0, 96.0), (-104.0, 128.0), (-104.0, 104.0))
"""Head space: L, P and S from..to. Its origin is the template's (anterior commissure)."""

_VENTRICLES_LPS = (0.0, 10.0, 14.0)


class Tissue(IntEnum):
    """What a voxel outside brain tissue is made of; CSF, GM and WM are held as fractions as well."""

    AIR = 0
    CSF = 1
    GM = 2
    WM = 3
    VESSEL = 4
    BONE = 5
    MARROW = 6
    MUSCLE = 7
    FAT = 8
    SKIN = 9
    EYE = 10


@dataclass(frozen=True)
class Head:
    """One patient's head on an isotropic grid, indexed (slice to S, row to P, column to L).

    `csf`, `gm` and `wm` are fractions in the intracranial space; `tissue` holds `Tissue` values (the dominant one
    inside the brain); `brain` is what a brain extraction should keep. `origin_mm` is the LPS position of voxel
    (0, 0, 0).
    """

    csf: FloatArray
    gm: FloatArray
    wm: FloatArray
    tissue: LabelArray
    brain: BoolArray
    spacing_mm: float
    origin_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.tissue.shape
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        return self.spacing_mm**3 / 1000

    def index_of(self, lps_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Voxel coordinates (slice, row, column), shape (3, ...), of LPS points, shape (3, ...)."""
        origin = np.reshape(self.origin_mm, (3,) + (1,) * (lps_mm.ndim - 1))
        return np.asarray(((lps_mm - origin) / self.spacing_mm)[::-1])


@dataclass(frozen=True)
class _Grid:
    shape: tuple[int, int, int]
    spacing_mm: float
    origin_mm: tuple[float, float, float]

    def axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """LPS coordinates along each axis, broadcastable: L (1,1,x), P (1,y,1), S (z,1,1)."""
        z, y, x = self.shape
        left, posterior, superior = (
            (o + np.arange(n) * self.spacing_mm).astype(np.float32)
            for o, n in zip(self.origin_mm, (x, y, z), strict=True)
        )
        return left[None, None, :], posterior[None, :, None], superior[:, None, None]


def simulate_head(seed: int, spacing_mm: float = 1.0) -> Head:
    """Build the head of the patient with this seed; the same seed gives the same head.

    Differences between patients: size, small shear and rotation of the brain in the skull, a smooth deformation
    of a few millimetres, ventricle size, mirror image, cortical folding detail, skull and scalp thickness.
    """
    rng = np.random.default_rng([seed, 0])
    grid = _head_grid(spacing_mm)
    template = load_template()
    index = _template_index(rng, grid)
    hull = _sample_hull(template, index)
    csf, gm, wm = _brain_fractions(rng, template, index, grid)
    brain = hull <= 0
    tissue = _outer_tissue(rng, grid, hull)
    sulcal = np.clip(1 - gm - wm, 0, 1) * (tissue == Tissue.CSF)
    csf = np.where(tissue == Tissue.CSF, np.maximum(csf, sulcal), 0).astype(np.float32)
    gm, wm = gm * (tissue == Tissue.CSF), wm * (tissue == Tissue.CSF)
    inside = np.argmax(np.stack([csf, gm, wm]), axis=0).astype(np.uint8) + np.uint8(Tissue.CSF)
    tissue = np.where(tissue == Tissue.CSF, inside, tissue)
    tissue[_sinuses(rng, grid, hull)] = Tissue.VESSEL
    return Head(csf, gm, wm, tissue, brain, spacing_mm, grid.origin_mm)


def _head_grid(spacing_mm: float) -> _Grid:
    counts = [round((high - low) / spacing_mm) + 1 for low, high in EXTENT_LPS_MM]
    low_l, low_p, low_s = (low for low, _ in EXTENT_LPS_MM)
    return _Grid((counts[2], counts[1], counts[0]), spacing_mm, (low_l, low_p, low_s))


def _template_index(rng: np.random.Generator, grid: _Grid) -> FloatArray:
    """Where each head voxel lies in the template, voxel coordinates (slice, row, column), shape (3, z, y, x)."""
    left, posterior, superior = grid.axes()
    scale = rng.normal(0.94, 0.03) * rng.normal(1.0, 0.02, size=3)
    shear = rng.normal(0.0, 0.02, size=(3, 3))
    matrix = np.diag(1 / scale) + shear - np.diag(np.diag(shear))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    growth = float(rng.uniform(-0.3, 0.4))
    x, y, z = (left - _VENTRICLES_LPS[0], posterior - _VENTRICLES_LPS[1], superior - _VENTRICLES_LPS[2])
    near = growth * np.exp(-(x**2 + y**2 + z**2) / (2 * 26.0**2)).astype(np.float32)
    out = np.empty((3, *grid.shape), dtype=np.float32)
    for axis in range(3):
        a, b, c = (np.float32(v) for v in matrix[axis])
        wander = smooth_field(rng, grid.shape, grid.spacing_mm, 90.0) * np.float32(2.2)
        wander += smooth_field(rng, grid.shape, grid.spacing_mm, 45.0) * np.float32(1.0)
        moved = a * left + b * posterior + c * superior - near * (x, y, z)[axis] + wander
        if axis == 0:
            moved = moved * np.float32(flip)
        out[2 - axis] = moved - np.float32(ORIGIN_LPS_MM[axis])
    return out


def _sample_hull(template: Template, index: FloatArray) -> FloatArray:
    coarse = (index + np.float32(template.hull_offset_mm)) / np.float32(template.hull_step_mm)
    return np.asarray(ndi.map_coordinates(template.hull_mm, coarse, order=1, mode="nearest"), dtype=np.float32)


def _brain_fractions(
    rng: np.random.Generator, template: Template, index: FloatArray, grid: _Grid
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """CSF, GM and WM fractions; the averaged template is sharpened and its folding is disturbed, so that the
    cortex has an individual pattern."""
    parts = []
    for field, gain in ((template.csf, 1.6), (template.gm, 2.2), (template.wm, 2.2)):
        probability = ndi.map_coordinates(field, index, order=1, mode="constant")
        folding = smooth_field(rng, grid.shape, grid.spacing_mm, 11.0) * np.float32(0.55)
        parts.append(np.clip(probability, 0, 1) ** np.float32(gain) * np.exp(folding))
    total = parts[0] + parts[1] + parts[2]
    share = np.divide(1, total, out=np.zeros_like(total), where=total > 1e-3)
    return parts[0] * share, parts[1] * share, parts[2] * share


def _ball(grid: _Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> FloatArray:
    """Below 0 inside the ellipsoid; times the smallest radius it is about the distance in millimetres."""
    terms = [((axis - c) / r) ** 2 for axis, c, r in zip(grid.axes(), centre, radii, strict=True)]
    return np.asarray(np.sqrt(terms[0] + terms[1] + terms[2]) - 1, dtype=np.float32)


def _outer_tissue(rng: np.random.Generator, grid: _Grid, hull: FloatArray) -> LabelArray:
    """Label everything outside the brain; what is intracranial is labelled CSF for the moment."""
    vary = smooth_field(rng, grid.shape, grid.spacing_mm, 80.0)
    csf_mm = np.clip(2.2 + 0.8 * vary, 0.8, None) * rng.uniform(0.7, 1.5)
    skull_mm = np.clip(6.0 + 1.0 * smooth_field(rng, grid.shape, grid.spacing_mm, 90.0), 3.0, None)
    scalp_mm = np.clip(rng.uniform(4.5, 8.0) + 1.0 * vary, 2.5, None)
    depth = hull - csf_mm
    surface = depth - skull_mm - scalp_mm
    surface = np.minimum(surface, _face_and_neck(rng, grid))
    tissue = np.full(grid.shape, Tissue.AIR, dtype=np.uint8)
    flesh = smooth_field(rng, grid.shape, grid.spacing_mm, 16.0)
    tissue[surface < 0] = Tissue.MUSCLE
    tissue[(surface < 0) & ((surface > -5.5) | (flesh > 1.0))] = Tissue.FAT
    tissue[(surface < 0) & (surface > -1.8)] = Tissue.SKIN
    _place_face_parts(rng, grid, tissue, surface)
    tissue[depth < skull_mm] = Tissue.BONE
    tissue[(depth > 0.3 * skull_mm) & (depth < 0.68 * skull_mm)] = Tissue.MARROW
    tissue[depth < 0] = Tissue.CSF
    return tissue


def _face_and_neck(rng: np.random.Generator, grid: _Grid) -> FloatArray:
    """About the distance in millimetres to the surface of face and neck, negative inside."""
    wide = float(rng.uniform(0.94, 1.06))
    face = _ball(grid, (0.0, -42.0, -58.0), (62.0 * wide, 52.0, 70.0)) * 52.0
    nose = _ball(grid, (0.0, -92.0, -52.0), (15.0, 16.0, 26.0)) * 15.0
    left, posterior, superior = grid.axes()
    neck = np.hypot(left / wide, (posterior - 38.0) * 0.95) - 58.0 + np.clip(superior + 40.0, 0, None) * 0.8
    return np.asarray(np.minimum(np.minimum(face, nose), neck), dtype=np.float32)


def _place_face_parts(rng: np.random.Generator, grid: _Grid, tissue: LabelArray, surface: FloatArray) -> None:
    """Orbits with eyes, paranasal air, the airway and some bone of the skull base and jaw, in place."""
    inner = surface < -2.0
    shift = rng.normal(0.0, 1.5, size=3)
    jaw = np.abs(_ball(grid, (0.0, -38.0, -88.0), (48.0, 46.0, 20.0))) < 0.12
    base = _ball(grid, (0.0, 25.0, -82.0), (34.0, 34.0, 14.0)) < 0
    tissue[inner & (jaw | base)] = Tissue.BONE
    passages = (
        ((0.0, -68.0, -46.0), (13.0, 22.0, 16.0)),
        ((28.0, -58.0, -60.0), (12.0, 13.0, 13.0)),
        ((-28.0, -58.0, -60.0), (12.0, 13.0, 13.0)),
        ((0.0, -84.0, -12.0), (16.0, 5.0, 9.0)),
        ((0.0, -18.0, -84.0), (11.0, 9.0, 26.0)),
        ((50.0, 32.0, -58.0), (8.0, 10.0, 10.0)),
        ((-50.0, 32.0, -58.0), (8.0, 10.0, 10.0)),
    )
    for centre, radii in passages:
        moved = (centre[0], centre[1] + float(shift[1]), centre[2] + float(shift[2]))
        tissue[inner & (_ball(grid, moved, radii) < 0)] = Tissue.AIR
    for side in (-1.0, 1.0):
        orbit = (side * 31.0, -64.0 + float(shift[1]), -32.0 + float(shift[2]))
        tissue[inner & (_ball(grid, orbit, (17.0, 24.0, 15.0)) < 0)] = Tissue.FAT
        globe = (orbit[0], orbit[1] - 9.0, orbit[2])
        tissue[_ball(grid, globe, (12.0, 12.0, 12.0)) < 0] = Tissue.EYE


def _sinuses(rng: np.random.Generator, grid: _Grid, hull: FloatArray) -> BoolArray:
    """The superior sagittal and transverse sinuses: blood that takes up contrast, just outside the brain."""
    left, posterior, superior = grid.axes()
    reach = float(rng.uniform(3.0, 5.0))
    shell = (hull > -1.0) & (hull < 4.5)
    sagittal = (np.abs(left) < reach) & (superior > -20.0) & (posterior > -70.0)
    transverse = (np.abs(superior + 22.0 + 0.1 * np.abs(left)) < reach) & (posterior > 55.0)
    return np.asarray(shell & (sagittal | transverse), dtype=np.bool_)

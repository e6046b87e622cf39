"""A tumour that grows in a head: nested shapes, ordered by the time at which a front would reach each voxel.

Two fronts start at the seed. The core front spreads about evenly, with irregular speed; the oedema front follows
white matter. Both stop at ventricles and skull (a fast-marching solution of |grad T| = 1 / speed, after the
travelling-wave limit of the reaction-diffusion model of Swanson 2000 and Konukoglu 2010). A lesion of a given volume
is everything that the front has reached first, so a smaller lesion always lies within a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage as ndi

from longitudinal.types import Compartment, Region
from training.simulate.anatomy import BoolArray, Head, LabelArray, Tissue
from training.simulate.random_fields import FloatArray, smooth_field

_MARCH_MM = 2.0
_HALF_BOX_MM = 62.0


class Growth(StrEnum):
    """How a lesion is built; `profile` has the figures."""

    RING = "ring"
    """Necrotic centre, enhancing rim, vasogenic oedema: glioblastoma and larger metastases."""
    SOLID = "solid"
    """Enhancing throughout, with oedema: small metastases."""
    DIFFUSE = "diffuse"
    """Non-enhancing core with infiltration around it, patchy enhancement at most: lower-grade glioma."""


@dataclass(frozen=True)
class LesionPlan:
    """What is fixed for a lesion over time. `cavity_ml` is the resection cavity left in its middle (0 for none),
    `rim_mm` the mean thickness of the enhancing rim, `patch` the enhancing fraction of a diffuse core."""

    growth: Growth
    rim_mm: float
    patch: float
    cavity_ml: float


@dataclass(frozen=True)
class Lesion:
    """A lesion's arrival times on a box of the head grid; `box` are its slices (z, y, x).

    `core_order` and `whole_order` are arrival times (unreachable voxels are infinite) and `unrest` is a smooth
    field of unit variance that modulates the rim and the patches.
    """

    plan: LesionPlan
    box: tuple[slice, slice, slice]
    core_order: FloatArray
    whole_order: FloatArray
    unrest: FloatArray
    spacing_mm: float

    def compartments(self, core_ml: float, whole_ml: float) -> LabelArray:
        """Label the box: `Compartment.label` values for a lesion whose core (cavity included) and whole extent
        have about these volumes. With both growing, each whole lesion contains the one before."""
        core = _first(self.core_order, core_ml, self.spacing_mm)
        whole = _first(self.whole_order, whole_ml, self.spacing_mm) | core
        labels = np.zeros(core.shape, dtype=np.uint8)
        labels[whole] = Compartment.OEDEMA.label
        labels[core] = Compartment.NECROTIC.label
        labels[self._enhancing(core)] = Compartment.ENHANCING.label
        labels[_first(self.core_order, self.plan.cavity_ml, self.spacing_mm)] = Compartment.CAVITY.label
        return labels

    def _enhancing(self, core: BoolArray) -> BoolArray:
        if self.plan.growth is Growth.SOLID:
            return core
        if self.plan.growth is Growth.DIFFUSE:
            if self.plan.patch <= 0:
                return np.zeros_like(core)
            return core & (self.unrest > np.quantile(self.unrest, 1 - self.plan.patch))
        depth = ndi.distance_transform_edt(np.pad(core, 1), sampling=self.spacing_mm)[1:-1, 1:-1, 1:-1]
        rim = np.maximum(self.plan.rim_mm * np.exp(0.35 * self.unrest), 1.1 * self.spacing_mm)
        return np.asarray(core & (depth <= rim), dtype=np.bool_)


def plan_lesion(rng: np.random.Generator, growth: Growth, cavity_ml: float = 0.0) -> LesionPlan:
    """Draw what is fixed over time for a lesion of this kind."""
    patch = float(rng.uniform(0.05, 0.25)) if rng.random() < 0.35 else 0.0
    return LesionPlan(growth, float(rng.uniform(2.6, 5.0)), patch, cavity_ml)


def seed_lesion(rng: np.random.Generator, head: Head, plan: LesionPlan, avoid: BoolArray | None = None) -> Lesion:
    """Place a lesion in the hemispheric white matter of `head` (not within `avoid`) and let its fronts march."""
    centre = _seed_point(rng, head, avoid)
    half = int(_HALF_BOX_MM / head.spacing_mm)
    box = tuple(slice(max(c - half, 0), min(c + half + 1, n)) for c, n in zip(centre, head.shape, strict=True))
    z, y, x = box
    start = [c - s.start for c, s in zip(centre, (z, y, x), strict=True)]
    room = _room(head, (z, y, x))
    shape = room.shape
    irregular = (
        smooth_field(rng, shape, head.spacing_mm, 26.0) * 0.3 + smooth_field(rng, shape, head.spacing_mm, 12.0) * 0.12
    )
    solidity = 0.75 + 0.25 * head.wm[z, y, x]
    tract = 0.12 + head.wm[z, y, x] ** 2
    core = _march(solidity * np.exp(irregular), room, start, head.spacing_mm)
    roam = np.exp(0.5 * smooth_field(rng, shape, head.spacing_mm, 30.0))
    whole = _march(tract * roam, room, start, head.spacing_mm)
    unrest = smooth_field(rng, shape, head.spacing_mm, 14.0)
    return Lesion(plan, (z, y, x), core, whole, unrest, head.spacing_mm)


def region_volumes_ml(labels: npt.NDArray[np.uint8], voxel_ml: float) -> dict[Region, float]:
    """Volume of every region in a label map, millilitres."""
    counts = np.bincount(labels.ravel(), minlength=5)
    return {region: float(counts[list(region.labels)].sum() * voxel_ml) for region in Region}


def _first(order: FloatArray, volume_ml: float, spacing_mm: float) -> BoolArray:
    """The voxels reached first that together have this volume."""
    wanted = round(volume_ml * 1000 / spacing_mm**3)
    reachable = int(np.isfinite(order).sum())
    if wanted <= 0:
        return np.zeros(order.shape, dtype=np.bool_)
    if wanted >= reachable:
        return np.isfinite(order)
    limit = np.partition(order.ravel(), wanted - 1)[wanted - 1]
    return np.asarray(order <= limit, dtype=np.bool_)


def _seed_point(rng: np.random.Generator, head: Head, avoid: BoolArray | None) -> tuple[int, int, int]:
    superior = head.origin_mm[2] + np.arange(head.shape[0]) * head.spacing_mm
    left = head.origin_mm[0] + np.arange(head.shape[2]) * head.spacing_mm
    allowed = (head.wm > 0.6) & (superior > -25)[:, None, None] & (np.abs(left) > 14)[None, None, :]
    if avoid is not None:
        allowed &= ~avoid
    candidates = np.flatnonzero(allowed)
    z, y, x = np.unravel_index(int(candidates[rng.integers(len(candidates))]), head.shape)
    return int(z), int(y), int(x)


def _room(head: Head, box: tuple[slice, slice, slice]) -> BoolArray:
    """Where a tumour can grow: brain tissue with its narrow sulci, on its own side of the midline gap."""
    solid = (head.gm[box] + head.wm[box]) > 0.5
    radius = max(1, round(2.0 / head.spacing_mm))
    closed = ndi.binary_closing(solid, ndi.generate_binary_structure(3, 1), iterations=radius)
    vessel = head.tissue[box] == Tissue.VESSEL
    return np.asarray(closed & head.brain[box] & ~vessel, dtype=np.bool_)


def _march(speed: FloatArray, room: BoolArray, start: list[int], spacing_mm: float) -> FloatArray:
    """Arrival times over the box; marched at about 2 mm and interpolated, infinite outside `room`."""
    step = max(1, round(_MARCH_MM / spacing_mm))
    coarse = np.where(room, speed, 0.004)[::step, ::step, ::step].astype(np.float32)
    seed = [round(v / step) for v in reversed(start)]
    front = sitk.FastMarching(sitk.GetImageFromArray(coarse), trialPoints=[seed], stoppingValue=1e9)  # type: ignore[no-untyped-call]
    times = sitk.GetArrayFromImage(front)
    if step > 1:
        index = np.meshgrid(*(np.arange(n, dtype=np.float32) / step for n in room.shape), indexing="ij")
        times = ndi.map_coordinates(times, np.stack(index), order=1, mode="nearest")
    return np.where(room, times, np.inf).astype(np.float32)

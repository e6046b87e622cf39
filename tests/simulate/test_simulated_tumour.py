"""Simulated tumours: asked volumes, nested over time, kept out of ventricles and skull."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage as ndi

from longitudinal.types import Compartment, Region
from training.simulate.anatomy import Head, simulate_head
from training.simulate.tumour import Growth, Lesion, LesionPlan, region_volumes_ml, seed_lesion


@pytest.fixture(scope="module")
def head() -> Head:
    return simulate_head(5, spacing_mm=2.0)


def grown(head: Head, plan: LesionPlan, seed: int = 3) -> Lesion:
    return seed_lesion(np.random.default_rng(seed), head, plan)


@pytest.mark.parametrize("core_ml", [1.0, 8.0, 30.0])
def test_the_core_has_the_volume_that_was_asked_for(head: Head, core_ml: float) -> None:
    labels = grown(head, LesionPlan(Growth.RING, 3.5, 0.0, 0.0)).compartments(core_ml, core_ml * 3)
    volumes = region_volumes_ml(labels, head.voxel_ml)
    assert volumes[Region.CORE] == pytest.approx(core_ml, abs=2 * head.voxel_ml)
    assert volumes[Region.WHOLE] == pytest.approx(core_ml * 3, rel=0.15)
    assert volumes[Region.WHOLE] == pytest.approx(volumes[Region.CORE] + volumes[Region.OEDEMA])


def test_a_larger_lesion_contains_the_smaller_one(head: Head) -> None:
    lesion = grown(head, LesionPlan(Growth.RING, 3.5, 0.0, 2.0))
    sizes = [(4.0, 12.0), (5.0, 20.0), (12.0, 33.0), (40.0, 90.0)]
    maps = [lesion.compartments(*size) for size in sizes]
    core = (Compartment.NECROTIC.label, Compartment.ENHANCING.label, Compartment.CAVITY.label)
    for small, large in itertools.pairwise(maps):
        assert not ((small > 0) & (large == 0)).any()
        assert not (np.isin(small, core) & ~np.isin(large, core)).any()


def test_a_ring_encloses_necrosis(head: Head) -> None:
    labels = grown(head, LesionPlan(Growth.RING, 3.0, 0.0, 0.0)).compartments(30.0, 60.0)
    necrosis = labels == Compartment.NECROTIC.label
    assert necrosis.any()
    beside = ndi.binary_dilation(necrosis) & ~necrosis
    assert set(np.unique(labels[beside])) == {Compartment.ENHANCING.label}


def test_solid_lesions_enhance_throughout_and_diffuse_ones_do_not(head: Head) -> None:
    solid = grown(head, LesionPlan(Growth.SOLID, 3.0, 0.0, 0.0)).compartments(4.0, 12.0)
    assert not (solid == Compartment.NECROTIC.label).any()
    diffuse = grown(head, LesionPlan(Growth.DIFFUSE, 3.0, 0.0, 0.0)).compartments(20.0, 40.0)
    assert not (diffuse == Compartment.ENHANCING.label).any()


def test_tumours_stay_within_brain_and_out_of_ventricles(head: Head) -> None:
    for seed in range(4):
        lesion = grown(head, LesionPlan(Growth.RING, 3.0, 0.0, 0.0), seed)
        tumour = lesion.compartments(60.0, 150.0) > 0
        assert head.brain[lesion.box][tumour].all()
        ventricles = ndi.binary_erosion(head.csf[lesion.box] > 0.8, iterations=2)
        assert not (tumour & ventricles).any()


def test_the_cavity_lies_within_the_core_and_counts_to_no_region(head: Head) -> None:
    labels = grown(head, LesionPlan(Growth.RING, 3.0, 0.0, 6.0)).compartments(14.0, 40.0)
    cavity = labels == Compartment.CAVITY.label
    assert cavity.sum() * head.voxel_ml == pytest.approx(6.0, abs=0.1)
    assert region_volumes_ml(labels, head.voxel_ml)[Region.CORE] == pytest.approx(8.0, abs=0.1)

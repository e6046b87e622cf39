"""The simulated head: a plausible brain inside CSF, skull and scalp, another one for each patient."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from training.simulate.anatomy import Head, Tissue, simulate_head
from training.simulate.random_fields import smooth_field


@pytest.fixture(scope="module")
def head() -> Head:
    return simulate_head(11, spacing_mm=2.0)


def test_the_same_seed_gives_the_same_head(head: Head) -> None:
    again = simulate_head(11, spacing_mm=2.0)
    assert np.array_equal(again.tissue, head.tissue)
    assert np.array_equal(again.gm, head.gm)


def test_patients_differ(head: Head) -> None:
    other = simulate_head(12, spacing_mm=2.0)
    overlap = 2 * (head.brain & other.brain).sum() / (head.brain.sum() + other.brain.sum())
    assert 0.8 < overlap < 0.985
    assert (head.tissue != other.tissue).mean() > 0.05


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_brain_and_tissue_volumes_are_those_of_adults(seed: int) -> None:
    head = simulate_head(seed, spacing_mm=2.0)
    litres = head.voxel_ml / 1000
    assert 1.1 < head.brain.sum() * litres < 2.1
    assert 0.5 < head.gm.sum() * litres < 1.2
    assert 0.3 < head.wm.sum() * litres < 0.8


def test_fractions_are_shares_of_the_intracranial_space(head: Head) -> None:
    intracranial = (head.tissue >= Tissue.CSF) & (head.tissue <= Tissue.WM)
    total = head.csf + head.gm + head.wm
    assert np.allclose(total[intracranial & head.brain], 1.0, atol=0.05)
    outside = head.tissue >= Tissue.BONE
    assert (head.gm[outside] == 0).all()
    assert (head.wm[outside] == 0).all()


def test_the_skull_closes_around_the_brain(head: Head) -> None:
    soft = np.isin(head.tissue, (Tissue.MUSCLE, Tissue.FAT, Tissue.SKIN, Tissue.AIR, Tissue.EYE))
    near_brain = ndi.binary_dilation((head.tissue >= Tissue.CSF) & (head.tissue <= Tissue.WM), iterations=1)
    assert (soft & near_brain).mean() < 1e-3
    assert (head.tissue[:, :, 0] == Tissue.AIR).mean() > 0.8


def test_left_lies_at_higher_column_index_and_the_eyes_in_front(head: Head) -> None:
    eyes = np.argwhere(head.tissue == Tissue.EYE).mean(axis=0)
    brain = np.argwhere(head.brain).mean(axis=0)
    assert eyes[1] < brain[1], "rows grow towards the back"
    assert eyes[0] < brain[0], "slices grow towards the head's top"
    centre = head.index_of(np.zeros((3, 1)))[:, 0]
    assert abs(centre[2] - brain[2]) * head.spacing_mm < 6


def test_smooth_fields_have_unit_variance_and_the_asked_wavelength() -> None:
    field = smooth_field(np.random.default_rng(1), (60, 60, 60), 2.0, 24.0)
    assert abs(float(field.std()) - 1) < 0.15
    shifted = [float(np.corrcoef(field[:, :, :-n].ravel(), field[:, :, n:].ravel())[0, 1]) for n in (1, 12)]
    assert shifted[0] > 0.9
    assert shifted[1] < 0.2

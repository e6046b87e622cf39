"""Acquisition: geometry is right to the voxel, contrasts rank as on a scanner, slices average, noise is Rician."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from longitudinal.types import Compartment, Contrast
from training.simulate.anatomy import Head, simulate_head
from training.simulate.mr import Pose, SliceStack, render, sample, scanner_noise
from training.simulate.protocol import StudySize, plan_stack
from training.simulate.tumour import Growth, Lesion, LesionPlan, seed_lesion


@pytest.fixture(scope="module")
def head() -> Head:
    return simulate_head(21, spacing_mm=2.0)


@pytest.fixture(scope="module")
def lesion(head: Head) -> Lesion:
    return seed_lesion(np.random.default_rng(2), head, LesionPlan(Growth.RING, 4.0, 0.0, 0.0))


def tilted_stack(thickness_mm: float = 2.0) -> SliceStack:
    turn = Rotation.from_euler("xyz", (8, -5, 12), degrees=True).as_matrix()
    return SliceStack(60, 100, 90, 2.0, thickness_mm, 3.0, np.asarray(turn), np.array([4.0, 12.0, 3.0]))


def test_a_landmark_appears_where_geometry_and_pose_say(head: Head) -> None:
    landmark = np.array([22.0, -14.0, 30.0])
    image = np.zeros(head.shape, dtype=np.float32)
    at = np.round(head.index_of(landmark[:, None])[:, 0]).astype(int)
    image[tuple(slice(i - 2, i + 3) for i in at)] = 1.0
    pose = Pose(Rotation.from_euler("xyz", (3, 6, -9), degrees=True).as_matrix(), np.array([5.0, -8.0, 11.0]))
    stack = tilted_stack()
    found = sample(image, head, stack, pose)
    centre = np.argwhere(found > 0).T @ found[found > 0] / found.sum()
    in_scanner = stack.affine[:3, :3] @ centre + stack.affine[:3, 3]
    expected = pose.rotation @ landmark + pose.shift_mm
    assert in_scanner == pytest.approx(expected, abs=0.6)


def test_thick_slices_average_what_they_cover(head: Head) -> None:
    plane = np.zeros(head.shape, dtype=np.float32)
    plane[50] = 1.0
    still = Pose(np.eye(3), np.zeros(3))

    def brightest(thickness_mm: float) -> float:
        stack = SliceStack(121, 20, 20, 2.0, thickness_mm, 1.0, np.eye(3), np.zeros(3))
        return float(sample(plane, head, stack, still).max())

    assert brightest(2.0) == pytest.approx(1.0, abs=0.15)
    assert brightest(8.0) == pytest.approx(0.25, abs=0.05)


def mean_signal(head: Head, lesion: Lesion, contrast: Contrast) -> dict[str, float]:
    labels = lesion.compartments(25.0, 70.0)
    image = render(np.random.default_rng(4), head, [(lesion, labels)], contrast)
    full = np.zeros(head.shape, dtype=np.uint8)
    full[lesion.box] = labels
    healthy = full == 0
    out = {c.value: float(np.median(image[full == c.label])) for c in Compartment if (full == c.label).any()}
    for name, part in (("csf", head.csf), ("gm", head.gm), ("wm", head.wm)):
        out[name] = float(np.median(image[healthy & (part > 0.9) & head.brain]))
    return out


def test_contrasts_rank_as_on_a_scanner(head: Head, lesion: Lesion) -> None:
    t1, t1c, t2, flair = (
        mean_signal(head, lesion, c) for c in (Contrast.T1, Contrast.T1C, Contrast.T2, Contrast.FLAIR)
    )
    assert t1["wm"] > t1["gm"] > t1["csf"]
    assert t1c["enhancing"] > 1.25 * t1c["wm"] > t1["enhancing"]
    assert t1c["necrotic"] < t1c["wm"]
    assert t2["csf"] > t2["gm"] > t2["wm"]
    assert t2["oedema"] > 1.4 * t2["wm"]
    assert flair["oedema"] > 1.3 * flair["gm"] > flair["gm"] > flair["csf"]


def test_noise_in_air_is_rayleigh_and_bias_is_smooth() -> None:
    stack = SliceStack(20, 64, 64, 2.0, 4.0, 4.0, np.eye(3), np.zeros(3))
    air = scanner_noise(np.random.default_rng(1), np.zeros(stack.shape, dtype=np.float32), stack, 0.02, 0.1)
    assert float(air.mean()) == pytest.approx(0.02 * np.sqrt(np.pi / 2), rel=0.02)
    flat = scanner_noise(np.random.default_rng(1), np.ones(stack.shape, dtype=np.float32), stack, 1e-4, 0.15)
    assert 0.02 < float(np.log(flat).std()) < 0.4
    assert float(np.abs(np.diff(flat, axis=2)).max()) < 0.05


def test_series_of_a_study_lie_on_different_grids() -> None:
    rng = np.random.default_rng(8)
    pose = Pose(np.eye(3), np.zeros(3))
    stacks = [plan_stack(rng, contrast, pose, StudySize.FULL) for contrast in Contrast]
    assert len({(s.shape, s.pixel_mm, s.spacing_mm) for s in stacks}) == 4
    for stack in stacks:
        assert np.allclose(stack.orientation.T @ stack.orientation, np.eye(3), atol=1e-9)
        assert np.linalg.det(stack.orientation) == pytest.approx(1.0)
        assert 25 <= stack.slices <= 60
        assert 160 <= stack.rows <= 192

"""Volumes, surface, sphericity, centroid and the error model, against shapes whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from imaging.mr_series import ORIENTATIONS, grid, rigid, voxel_places, with_array

from inference.lesions import find_lesions
from inference.measurement import measure_lesions
from inference.repeatability import log_sd, volume_sd_ml
from longitudinal.types import Compartment, LesionMeasurement, Region

CENTRE = (4.0, -3.0, 5.0)


def measured(
    radius: float,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    orientation: str = "axial",
    turned: np.ndarray | None = None,
) -> tuple[LesionMeasurement, np.ndarray]:
    """A ball of oedema with an enhancing ball of 60 % of its radius in it."""
    shape = tuple(int(70 / s) for s in spacing)
    volume = grid(shape, spacing, ORIENTATIONS[orientation], turned=turned)  # type: ignore[arg-type]
    distance = np.linalg.norm(voxel_places(volume) - np.array(CENTRE).reshape(3, 1, 1, 1), axis=0)
    labels = np.where(distance < 0.6 * radius, 3, np.where(distance < radius, 2, 0)).astype(np.uint8)
    found = find_lesions(with_array(volume, labels))
    uids = [f"1.2.{k}" for k in range(shape[0])]
    (measurement,) = measure_lesions(found.labels, found.lesions, uids)
    return measurement, volume.affine


def test_volumes_are_voxel_sums_and_regions_are_unions() -> None:
    ball, _ = measured(20)
    assert ball.volumes_ml[Region.WHOLE] == pytest.approx(4 / 3 * math.pi * 8, rel=0.01)
    assert ball.volumes_ml[Region.ENHANCING] == pytest.approx(4 / 3 * math.pi * 1.2**3, rel=0.01)
    assert ball.volumes_ml[Region.CORE] == ball.volumes_ml[Region.ENHANCING]
    total = ball.compartments_ml[Compartment.OEDEMA] + ball.compartments_ml[Compartment.ENHANCING]
    assert ball.volumes_ml[Region.WHOLE] == pytest.approx(total)
    assert ball.compartments_ml[Compartment.CAVITY] == 0


def test_shape_figures_of_a_ball() -> None:
    ball, _ = measured(22)
    assert ball.max_3d_diameter_mm == pytest.approx(44, abs=1.0)
    # the voxel staircase adds about 9 % to the surface of a ball, however fine the grid (IBSI meshes show the same)
    assert ball.surface_area_mm2 == pytest.approx(1.09 * 4 * math.pi * 22**2, rel=0.02)
    assert ball.sphericity == pytest.approx(0.92, abs=0.02)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_places_are_lps_whatever_the_orientation(orientation: str) -> None:
    ball, affine = measured(18, (3.0, 0.9, 0.9), orientation, rigid((8, -11, 17), (0, 0, 0)))
    np.testing.assert_allclose(ball.centroid, CENTRE, atol=0.1)
    assert ball.longest is not None
    assert ball.perpendicular is not None
    start, end = np.array(ball.longest.start), np.array(ball.longest.end)
    assert np.linalg.norm(end - start) == pytest.approx(ball.longest.length_mm)
    assert ball.longest.length_mm == pytest.approx(2 * 0.6 * 18, abs=1.5)  # half a slice
    # both lines lie in one slice, the one whose image is named
    index = np.linalg.inv(affine) @ np.c_[np.array([start, end, ball.perpendicular.start, ball.perpendicular.end]),
                                          np.ones(4)].T  # fmt: skip
    np.testing.assert_allclose(index[0], index[0, 0], atol=1e-6)
    assert ball.diameter_sop_instance_uid == f"1.2.{round(index[0, 0])}"
    np.testing.assert_allclose((start + end) / 2, CENTRE, atol=2.1)


def test_a_lesion_without_core_has_no_diameters_and_no_image_named() -> None:
    volume = grid((20, 30, 30), (2.0, 1.0, 1.0))
    labels = np.zeros(volume.spatial_shape, np.uint8)
    labels[5:12, 8:20, 9:21] = 2
    found = find_lesions(with_array(volume, labels))
    (only,) = measure_lesions(found.labels, found.lesions, ["1.2"] * 20)
    assert (only.longest, only.perpendicular, only.diameter_sop_instance_uid) == (None, None, None)
    assert only.volumes_ml[Region.WHOLE] == pytest.approx(7 * 12 * 12 * 2 / 1000)


def test_one_voxel_thick_lesion_is_measured() -> None:
    volume = grid((8, 30, 30), (5.0, 1.0, 1.0))
    labels = np.zeros(volume.spatial_shape, np.uint8)
    labels[3, 4:10, 4:20] = 3
    found = find_lesions(with_array(volume, labels))
    (only,) = measure_lesions(found.labels, found.lesions)
    assert only.longest is not None
    assert only.longest.length_mm == pytest.approx(math.hypot(16, 5))
    assert 0 < only.sphericity < 1


@pytest.mark.parametrize(("volume_ml", "sd"), [(2.5, 0.14), (8.7, 0.13), (24.5, 0.065), (60, 0.054), (300, 0.054)])
def test_error_model_reproduces_the_published_repeatability(volume_ml: float, sd: float) -> None:
    assert log_sd(Region.WHOLE, volume_ml) == pytest.approx(sd)
    assert volume_sd_ml(Region.WHOLE, volume_ml) == pytest.approx(sd * volume_ml, rel=0.01)


def test_error_model_never_promises_more_than_half_of_the_smallest_lesion() -> None:
    for region in Region:
        assert volume_sd_ml(region, 0.0) == pytest.approx(0.025)
    assert log_sd(Region.ENHANCING, 2.3) == pytest.approx(0.39)
    volumes = np.geomspace(0.01, 300, 200)
    for region in Region:
        assert (np.diff([log_sd(region, v) for v in volumes]) <= 1e-12).all()
        assert (np.diff([volume_sd_ml(region, v) for v in volumes]) > -0.1).all()

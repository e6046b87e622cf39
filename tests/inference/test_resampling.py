"""Volumes onto other grids, linear, without aliasing."""

from __future__ import annotations

import numpy as np
import pytest
from imaging.mr_series import ORIENTATIONS, grid, moved, rigid, voxel_places, with_array

from inference.resampling import resample

WORKING = ([0, 0, 1], [0, 1, 0], [1, 0, 0])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_linear_function_of_the_place_is_reproduced_exactly(orientation: str) -> None:
    source = grid((20, 24, 28), (3.0, 2.0, 2.5), ORIENTATIONS[orientation], turned=rigid((5, 9, -14), (0, 0, 0)))
    x, y, z = voxel_places(source)
    source = with_array(source, (2 * x - y + 3 * z).astype(np.float32))
    target = grid((9, 9, 9), (1.0, 1.0, 1.0), WORKING)
    pose = rigid((3, -4, 5), (2, 1, -3))
    x, y, z = voxel_places(moved(target, pose))
    np.testing.assert_allclose(resample(source, target, pose), 2 * x - y + 3 * z, atol=2e-3)


def test_outside_the_field_of_view_is_zero_and_the_edge_reaches_half_a_voxel() -> None:
    source = with_array(grid((4, 4, 4), (5.0, 5.0, 5.0)), np.full((4, 4, 4), 7, np.float32))
    line = resample(source, grid((26, 1, 1), (1.0, 1.0, 1.0)))[:, 0, 0]  # centres at -12.5 ... 12.5 mm
    np.testing.assert_array_equal(line, [0] * 3 + [7] * 20 + [0] * 3)


def test_fine_detail_is_averaged_not_aliased_when_the_target_is_coarse() -> None:
    source = grid((40, 40, 40), (0.5, 0.5, 0.5))
    stripes = with_array(source, np.broadcast_to(np.arange(40) % 2 * 100.0, (40, 40, 40)).astype(np.float32))
    coarse = resample(stripes, grid((8, 8, 8), (2.0, 2.0, 2.0)))
    np.testing.assert_allclose(coarse, 50, atol=5)

"""Label maps back on the grid of the images: every lesion keeps its volume, its place and its compartments."""

from __future__ import annotations

import numpy as np
import pytest
from highdicom import Volume
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.mr_series import ORIENTATIONS, grid, rigid, voxel_places, with_array

from inference.native_labels import labels_onto
from inference.resampling import resample

WORKING = ([0, 0, 1], [0, 1, 0], [1, 0, 0])


def ball(onto: Volume, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return np.linalg.norm(voxel_places(onto) - np.array(centre).reshape(3, 1, 1, 1), axis=0) < radius


def nested_tumour(onto: Volume, centre: tuple[float, float, float], radius: float) -> Volume:
    labels = np.zeros(onto.spatial_shape, dtype=np.uint8)
    for label, share in ((2, 1.0), (3, 0.62), (1, 0.4)):
        labels[ball(onto, centre, radius * share)] = label
    return with_array(onto, labels)


def volumes_mm3(labels: Volume) -> np.ndarray:
    return np.bincount(labels.array.ravel(), minlength=5)[1:] * labels.voxel_volume


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_labels_on_a_turned_grid_of_the_same_voxels_come_back_identical(orientation: str) -> None:
    native = grid((30, 30, 30), (1.0, 1.0, 1.0), ORIENTATIONS[orientation])
    truth = nested_tumour(native, (3.0, -4.0, 2.0), 9.0)
    working = grid((44, 44, 44), (1.0, 1.0, 1.0), WORKING)
    on_working = resample(truth, working, nearest=True).astype(np.uint8)
    np.testing.assert_array_equal(labels_onto(with_array(working, on_working), native), truth.array)


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(*[st.floats(-3, 3) for _ in range(3)]),
    st.floats(7, 16),  # over more than two of the thickest slices: the centre of less is coarse by nature
    st.tuples(*[st.floats(-25, 25) for _ in range(3)]),
    st.sampled_from([(5.5, 0.9, 0.9), (1.2, 0.94, 0.94), (3.0, 0.5, 0.5), (0.7, 0.7, 0.7)]),
)
def test_every_compartment_keeps_its_volume_on_any_grid(
    centre: tuple[float, float, float],
    radius: float,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> None:
    working = grid((44, 44, 44), (1.0, 1.0, 1.0), WORKING)
    labels = nested_tumour(working, centre, radius)
    shape = tuple(int(80 / s) for s in spacing)
    native = grid(shape, spacing, turned=rigid(angles, (0, 0, 0)))  # type: ignore[arg-type]
    back = with_array(native, labels_onto(labels, native))
    np.testing.assert_allclose(volumes_mm3(back), volumes_mm3(labels), atol=3.5 * native.voxel_volume, rtol=0.01)

    def middle(v: Volume) -> np.ndarray:
        return np.asarray(v.affine[:3, :3] @ np.argwhere(v.array > 0).mean(axis=0) + v.affine[:3, 3])

    np.testing.assert_allclose(middle(back), middle(labels), atol=max(0.12 * max(spacing), 0.12))


def test_a_small_lesion_between_two_thick_slices_is_not_lost() -> None:
    working = grid((40, 40, 40), (1.0, 1.0, 1.0), WORKING)
    labels = with_array(working, np.where(ball(working, (0, 0, 0), 2.3), 3, 0).astype(np.uint8))
    native = grid((8, 40, 40), (5.0, 1.0, 1.0))  # slice boundary at z = 0
    back = with_array(native, labels_onto(labels, native))
    assert abs(volumes_mm3(back).sum() - volumes_mm3(labels).sum()) <= 2.5


def test_two_lesions_keep_their_own_volumes() -> None:
    working = grid((60, 60, 60), (1.0, 1.0, 1.0), WORKING)
    big, small = ball(working, (-12, 0, 0), 11), ball(working, (15, 3, 2), 2.6)
    labels = with_array(working, np.where(big | small, 2, 0).astype(np.uint8))
    native = grid((13, 70, 70), (4.8, 0.9, 0.9))
    back = labels_onto(labels, native)
    left = voxel_places(native)[0] < 3
    voxel = native.voxel_volume
    assert abs((back[left] > 0).sum() * voxel - big.sum()) <= voxel
    assert abs((back[~left] > 0).sum() * voxel - small.sum()) <= voxel


def test_labels_outside_the_native_field_of_view_vanish() -> None:
    working = grid((20, 20, 20), (1.0, 1.0, 1.0), WORKING)
    labels = with_array(working, np.full((20, 20, 20), 2, np.uint8))
    far = grid((5, 5, 5), (1.0, 1.0, 1.0), centre=(200.0, 0.0, 0.0))
    assert not labels_onto(labels, far).any()
    empty = with_array(working, np.zeros((20, 20, 20), np.uint8))
    assert not labels_onto(empty, working).any()

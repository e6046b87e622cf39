"""Slices in space: order, spacing, gaps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.slice_stack import BrokenStack, find_slice_gaps, slice_normal, stack_slices

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def axial(*heights: float) -> list[list[float]]:
    return [[-100.0, -120.0, z] for z in heights]


def test_normal_is_row_direction_cross_column_direction() -> None:
    np.testing.assert_allclose(slice_normal(AXIAL), [0, 0, 1])
    np.testing.assert_allclose(slice_normal(SAGITTAL), [-1, 0, 0])


def test_a_complete_stack_has_no_gap_and_a_missing_slice_is_counted() -> None:
    assert find_slice_gaps(axial(0, 5, 10, 15), AXIAL) == ()
    gaps = find_slice_gaps(axial(20, 0, 5, 30), AXIAL)
    assert [(g.after_mm, g.before_mm, g.missing) for g in gaps] == [(5, 20, 2), (20, 30, 1)]


def test_interleaved_series_half_arrived_shows_its_gaps() -> None:
    # even slices first, then two odd ones: most neighbours are two slices apart
    assert sum(g.missing for g in find_slice_gaps(axial(0, 2, 4, 6, 8, 10, 1, 3), AXIAL)) == 3


def test_duplicates_are_no_gap_but_no_stack_either() -> None:
    assert find_slice_gaps(axial(0, 5, 5, 10), AXIAL) == ()
    with pytest.raises(BrokenStack, match="share a slice position"):
        stack_slices(axial(0, 5, 5, 10), [AXIAL] * 4)


@settings(deadline=None)
@given(
    st.permutations(list(range(12))),
    st.tuples(*[st.floats(-180, 180) for _ in range(3)]),
    st.floats(0.5, 7.0),
)
def test_any_orientation_any_order_is_put_in_order(
    order: list[int], angles: tuple[float, float, float], spacing: float
) -> None:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    cosines = [*turn[:, 0], *turn[:, 1]]
    places = [list(np.array([7.0, -3.0, 11.0]) + turn[:, 2] * k * spacing) for k in order]
    stack = stack_slices(places, [cosines] * len(order))
    assert [order[i] for i in stack.order] == list(range(12))
    assert stack.spacing_mm == pytest.approx(spacing)
    np.testing.assert_allclose(stack.normal, turn[:, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("places", "cosines", "words"),
    [
        (axial(0), [AXIAL], "only one slice"),
        (axial(0, 5), [AXIAL, SAGITTAL], "different orientations"),
        (axial(0, 5, 10, 20, 25), [AXIAL] * 5, "1 slice\\(s\\) are missing"),
        (axial(0, 5, 10, 16, 21), [AXIAL] * 5, "uneven"),
        ([[0, 0, 0], [0, 2, 5], [0, 4, 10]], [AXIAL] * 3, "sideways"),
        (axial(0, 5), [[1, 0, 0, 1, 0, 0]] * 2, "perpendicular"),
        (axial(0, 5), [[1, 0, 0]] * 2, "six numbers"),
        ([[0, 0], [0, 5]], [AXIAL] * 2, "three numbers"),
        (axial(0, float("nan")), [AXIAL] * 2, "three numbers"),
    ],
)
def test_what_is_no_regular_stack_is_refused_in_words(
    places: list[list[float]], cosines: list[list[float]], words: str
) -> None:
    with pytest.raises(BrokenStack, match=words):
        stack_slices(places, cosines)


def test_rounded_positions_still_make_a_stack() -> None:
    heights = [round(k * 1.2345678, 2) for k in range(100)]
    assert stack_slices(axial(*heights), [AXIAL] * 100).spacing_mm == pytest.approx(1.2345678, abs=1e-3)

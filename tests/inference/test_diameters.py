"""RANO diameters are exact on the outline: compared with brute force over every pair and every line."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import find_contours

from inference.diameters import longest_line, longest_perpendicular, plane_diameters


def blob(seed: int, shape: tuple[int, int, int] = (6, 30, 34)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (1, 3, 3))
    return noise > np.quantile(noise, 0.8)


def brute_longest(mask: np.ndarray, spacing: tuple[float, float]) -> float:
    """Every pair of outline points of every 8-connected area of every slice."""
    best = 0.0
    for plane in mask:
        areas, count = ndimage.label(plane, structure=np.ones((3, 3)))
        for i in range(1, count + 1):
            contours = find_contours(np.pad(areas == i, 1).astype(float), 0.5, fully_connected="high")
            points = np.concatenate(contours) * spacing
            best = max(best, float(np.linalg.norm(points[:, None] - points[None], axis=-1).max()))
    return best


def brute_perpendicular(outlines: list[np.ndarray], along: np.ndarray) -> float:
    """Width along many parallel lines, by intersecting each edge with each line."""
    u = along / np.linalg.norm(along)
    w = np.array([-u[1], u[0]])
    best = 0.0
    places = np.concatenate([o @ u for o in outlines])
    for place in np.linspace(places.min() + 1e-6, places.max() - 1e-6, 4001):
        heights = []
        for outline in outlines:
            for a, b in itertools.pairwise(outline):
                if min(a @ u, b @ u) <= place <= max(a @ u, b @ u) and abs(b @ u - a @ u) > 1e-12:
                    t = (place - a @ u) / (b @ u - a @ u)
                    heights.append((a + t * (b - a)) @ w)
        if heights:
            best = max(best, max(heights) - min(heights))
    return best


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.9, 0.45)])
def test_longest_line_equals_brute_force(seed: int, spacing: tuple[float, float]) -> None:
    mask = blob(seed)
    found = plane_diameters(mask, spacing)
    assert found is not None
    assert found.longest_mm == pytest.approx(brute_longest(mask, spacing), abs=1e-9)
    ends = (found.longest[1] - found.longest[0]) * spacing
    assert np.linalg.norm(ends) == pytest.approx(found.longest_mm)


@pytest.mark.parametrize("seed", range(6))
def test_perpendicular_equals_brute_force_and_is_perpendicular(seed: int) -> None:
    spacing = (1.0, 0.8)
    mask = blob(seed, (1, 26, 30))
    found = plane_diameters(mask, spacing)
    assert found is not None
    along = (found.longest[1] - found.longest[0]) * spacing
    across = (found.perpendicular[1] - found.perpendicular[0]) * spacing
    assert along @ across == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(across) == pytest.approx(found.perpendicular_mm)
    areas, count = ndimage.label(mask[0], structure=np.ones((3, 3)))
    lengths = []
    for i in range(1, count + 1):
        outlines = [c * spacing for c in find_contours(np.pad(areas == i, 1) * 1.0, 0.5, fully_connected="high")]
        if math.isclose(longest_line(np.concatenate(outlines))[0], found.longest_mm):
            lengths.append(brute_perpendicular(outlines, along))
    assert found.perpendicular_mm == pytest.approx(lengths[0], abs=0.01)
    assert found.perpendicular_mm >= lengths[0] - 1e-9


@settings(deadline=None, max_examples=60)
@given(arrays(bool, (3, 7, 8)), st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)))
def test_any_mask_has_finite_exact_diameters(mask: np.ndarray, spacing: tuple[float, float]) -> None:
    found = plane_diameters(mask, spacing)
    if not mask.any():
        assert found is None
        return
    assert found is not None
    assert found.longest_mm == pytest.approx(brute_longest(mask, spacing), abs=1e-9)
    assert 0 < found.perpendicular_mm <= found.longest_mm + 1e-9
    assert mask[found.slice_index].any()


def test_a_drawn_ellipse_has_the_axes_it_was_drawn_with() -> None:
    y, x = np.mgrid[:200, :200] - 99.5
    angle = 0.5
    along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    mask = ((along / 30) ** 2 + (across / 17) ** 2 < 1)[None]
    found = plane_diameters(mask, (1.0, 1.0))
    assert found is not None
    assert found.longest_mm == pytest.approx(60, abs=0.8)
    assert found.perpendicular_mm == pytest.approx(34, abs=0.8)


def test_line_does_not_bridge_two_separate_areas() -> None:
    mask = np.zeros((1, 40, 40), bool)
    mask[0, 5:10, 5:8] = True
    mask[0, 30:32, 30:36] = True
    found = plane_diameters(mask, (1.0, 1.0))
    assert found is not None
    assert found.longest_mm < 8


def test_rectangle_in_anisotropic_pixels() -> None:
    mask = np.zeros((4, 20, 30), bool)
    mask[2, 4:6, 3:27] = True  # 2 rows of 3 mm, 24 columns of 0.5 mm
    found = plane_diameters(mask, (3.0, 0.5))
    assert found is not None
    assert found.slice_index == 2
    # 12 mm by 6 mm, whose corners the outline cuts: the full height, and half a column less at each end
    assert found.longest_mm == pytest.approx(math.hypot(11.5, 6.0))


def test_perpendicular_of_a_square_with_a_hole_spans_the_hole() -> None:
    outer = np.array([[0.0, 0], [0, 10], [10, 10], [10, 0], [0, 0]])
    hole = np.array([[4.0, 4], [4, 6], [6, 6], [6, 4], [4, 4]])
    length, start, end = longest_perpendicular([outer, hole], np.array([1.0, 0.0]))
    assert length == pytest.approx(10)
    assert abs(end[1] - start[1]) == pytest.approx(10)

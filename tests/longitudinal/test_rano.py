"""Volumetric response categories: thresholds, order of the rules, small and vanished tumours."""

from __future__ import annotations

import pytest

from longitudinal.rano import Burden, category
from longitudinal.types import Response

CR, PR, SD, PD = Response.COMPLETE, Response.PARTIAL, Response.STABLE, Response.PROGRESSIVE


@pytest.mark.parametrize(
    ("volume", "baseline", "nadir", "expected"),
    [
        (3.5, 10.0, 10.0, PR),  # exactly -65 %
        (3.6, 10.0, 10.0, SD),
        (14.0, 10.0, 10.0, PD),  # exactly +40 %
        (13.9, 10.0, 10.0, SD),
        (3.0, 10.0, 2.0, PD),  # still a response against baseline, but +50 % and 1 ml against the nadir
        (1.3, 10.0, 0.8, PR),  # +62 % of very little: no progression
        (0.05, 10.0, 10.0, CR),
        (0.0, 0.0, 0.0, SD),  # nothing to respond
        (0.6, 10.0, 0.0, PD),  # measurable again after it had vanished
        (0.3, 10.0, 0.0, PR),  # there again, not yet measurable
        (1.2, 0.0, 0.0, PD),
    ],
)
def test_category(volume: float, baseline: float, nadir: float, expected: Response) -> None:
    assert category(Burden(volume, baseline, nadir)) is expected


def test_a_new_measurable_lesion_is_progression_whatever_the_sum_does() -> None:
    assert category(Burden(3.0, 10.0, 10.0), new_measurable_lesion=True) is PD

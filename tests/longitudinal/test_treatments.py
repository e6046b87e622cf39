"""What was running, given or known on a day."""

from __future__ import annotations

import numpy as np

from longitudinal.histories import Treatment
from longitudinal.treatments import treatment_flags, treatment_table

RT = Treatment(kind="rt", decided=0, start=10, stop=40)
SALVAGE = Treatment(kind="chemo", decided=100, start=120, stop=None)
SURGERY = Treatment(kind="surgery", decided=-5, start=3, stop=3)
SRS = Treatment(kind="srs", decided=0, start=50, stop=50)


def test_exposure_counts_only_what_was_decided_by_the_day_it_is_known() -> None:
    table = treatment_table([[RT, SALVAGE, SURGERY]])
    rows = np.zeros(3, dtype=np.int64)
    begin, until = np.array([0.0, 90.0, 101.0]), np.array([60.0, 180.0, 180.0])
    given = table.exposure(rows, begin, until, None)
    np.testing.assert_allclose(given[0], [31 / 30.4375, 0, 0, 1])
    np.testing.assert_allclose(given[1:, 1], 60 / 30.4375)
    known = table.exposure(rows, begin, until, known_by=begin)
    assert known[1, 1] == 0
    assert known[2, 1] == given[2, 1]


def test_flags_of_scans() -> None:
    days = np.array([[0.0, 10.0, 40.0, 41.0, 130.0]])
    flags = treatment_flags(treatment_table([[RT, SALVAGE]]), days)
    assert flags["had_rt"].tolist() == [[False, True, True, True, True]]
    assert flags["rt_now"].tolist() == [[False, True, True, False, False]]
    assert flags["chemo_now"].tolist() == [[False, False, False, False, True]]
    since = flags["days_since_rt"][0]
    assert np.isnan(since[0])
    assert since[1:].tolist() == [0, 0, 0, 89]


def test_radiosurgery_acts_for_three_weeks() -> None:
    table = treatment_table([[SRS], []])
    exposure = table.exposure(np.array([0, 1]), np.zeros(2), np.full(2, 365.0), None)
    np.testing.assert_allclose(exposure[:, 0], [21 / 30.4375, 0])

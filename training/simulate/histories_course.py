"""The course of one block of simulated patients, week by week: growth, treatment, visits, death and drop-out."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from longitudinal.rano import PROGRESSIVE_INCREASE, PROGRESSIVE_INCREASE_ML
from training.simulate import histories_growth as growth
from training.simulate.histories_parameters import (
    DEATH_PER_MONTH_AT_60_ML,
    DROP_OUT_PER_VISIT,
    STEROID_SHARE,
    Bools,
    Floats,
    Ints,
    Latent,
    draw_latent,
)
from training.simulate.histories_treatment import SURGERY, Plans, first_line, salvage, steroids
from training.simulate.histories_visits import (
    Habits,
    Measured,
    draw_habits,
    measure,
    next_gap_days,
    symptomatic,
)

MINIMUM_SCANS = 6
MAXIMUM_SCANS = 15
LARGEST_ML = 150.0
"""A patient with a larger tumour is no longer followed."""

_WEEKS = 340
_MID_COURSE_SHARE = 0.4
_MID_COURSE_SCANS = 4
_MEASURED_FIELDS = tuple(f.name for f in fields(Measured))


@dataclass(frozen=True)
class Block:
    """The finished courses. `day` and every array of `measured` and `truth_ml` are (patients, scans); the scans
    `first[i]` to `first[i] + count[i] - 1` of patient i are those that the clinic has seen."""

    latent: Latent
    plans: Plans
    day: Floats
    measured: Measured
    truth_ml: Floats
    first: Ints
    count: Ints


class Course:
    """The simulation of one block; `run` it once, then take the `block`."""

    def __init__(self, rng: np.random.Generator, tumour: Ints, size_scale: float = 1.0) -> None:
        n, most = len(tumour), MAXIMUM_SCANS + _MID_COURSE_SCANS
        self.rng, self.tumour = rng, tumour
        self.latent: Latent = draw_latent(rng, tumour, size_scale)
        self.plans: Plans = first_line(rng, tumour)
        self.habits: Habits = draw_habits(rng, tumour)
        self.tumours = growth.presenting(self.latent, rng)
        late = rng.random(n) < _MID_COURSE_SHARE
        self.skipped = np.where(late, rng.integers(1, _MID_COURSE_SCANS + 1, n), 0)
        self.wanted = rng.integers(MINIMUM_SCANS, MAXIMUM_SCANS + 1, n) + self.skipped
        self.day = np.zeros((n, most))
        self.truth_ml = np.zeros((n, most))
        self.stored = {name: np.zeros((n, most)) for name in _MEASURED_FIELDS}
        self.count = np.zeros(n, dtype=np.int64)
        self.followed = np.ones(n, dtype=bool)
        self.due_day = np.zeros(n)
        self.nadir_ml = np.full(n, np.inf)
        self.last_seen_ml = np.zeros(n)

    def run(self) -> None:
        """Simulate until every patient has the wanted scans, has died or is lost."""
        for week in range(_WEEKS):
            active = self.followed & (self.count < self.wanted)
            if not active.any():
                return
            day = 7.0 * week
            given = self.plans.given(day)
            growth.resect(self.tumours, self.latent, given.surgery)
            month = day / 30.4375
            seen = growth.visible_ml(self.tumours, self.latent, month)
            # Scans lie a day after the start of the week, treatment on the start: never on the same day.
            felt = self._symptomatic(seen, day + 1)
            due = active & ((self.due_day <= day + 1) | felt)
            if due.any():
                self._visit(due, seen, day + 1, month)
                eased = due & felt & (self.rng.random(len(due)) < STEROID_SHARE)
                steroids(self.plans, self.rng, eased, day + 1)
            self._lose(seen)
            growth.grow(self.tumours, self.latent, given, month, self.rng)

    def block(self) -> Block:
        """The courses, the first scans of those seen in mid-course left out."""
        measured = Measured(**self.stored)  # type: ignore[arg-type]  # scanner numbers are stored as floats
        count = np.maximum(self.count - self.skipped, 0)
        return Block(self.latent, self.plans, self.day, measured, self.truth_ml, self.skipped, count)

    def _symptomatic(self, seen: Floats, day: float) -> Bools:
        rows = np.arange(len(seen))
        since = np.where(self.count > 0, day - self.day[rows, self.count - 1], 0.0)
        return symptomatic(self.rng, seen, self.last_seen_ml, since)

    def _visit(self, due: Bools, seen: Floats, day: float, month: float) -> None:
        transformed = month > self.latent.transforms_at
        found = measure(self.rng, self.latent, self.habits, seen, self.tumours, transformed)
        self.followed &= ~(due & (found.target_ml > LARGEST_ML))
        due = due & self.followed
        rows = np.flatnonzero(due)
        number = self.count[rows]
        change = self._change_per_quarter(found.target_ml, day)
        self.day[rows, number] = day
        self.truth_ml[rows, number] = seen[rows]
        for name, values in self.stored.items():
            values[rows, number] = getattr(found, name)[rows]
        self.count[rows] += 1
        self.last_seen_ml[rows] = seen[rows]
        grown = found.target_ml - self.nadir_ml
        progressed = due & (self.count >= 3)
        progressed &= (grown >= PROGRESSIVE_INCREASE * self.nadir_ml) & (grown >= PROGRESSIVE_INCREASE_ML)
        salvage(self.plans, self.rng, self.tumour, progressed, day, self.habits.salvage_share)
        gap = next_gap_days(self.rng, self.habits, change, self._surgery_in_days(day))
        self.due_day[rows] = day + gap[rows]
        self.nadir_ml[rows] = np.minimum(self.nadir_ml[rows], found.target_ml[rows])
        self.followed &= ~(due & (self.rng.random(len(due)) < DROP_OUT_PER_VISIT))

    def _change_per_quarter(self, target_ml: Floats, day: float) -> Floats:
        rows = np.arange(len(target_ml))
        before = np.maximum(self.stored["target_ml"][rows, self.count - 1], 0.1)
        quarters = np.maximum(day - self.day[rows, self.count - 1], 14.0) / 91.3
        change = np.abs(np.log(np.maximum(target_ml, 0.1) / before)) / quarters
        return np.where(self.count > 0, change, np.nan)

    def _surgery_in_days(self, day: float) -> Floats:
        plans = self.plans
        ahead = (plans.kind == SURGERY) & (plans.start > day) & (plans.decided <= day)
        return np.asarray(np.where(ahead, plans.start - day, np.inf).min(axis=1))

    def _lose(self, seen: Floats) -> None:
        hazard = np.asarray(DEATH_PER_MONTH_AT_60_ML)[self.tumour] * (seen / 60) ** 1.5 * growth.WEEK_MONTHS
        self.followed &= (self.rng.random(len(seen)) >= hazard) & (seen <= LARGEST_ML)

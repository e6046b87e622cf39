"""Split of patients, and all pairs of a scan that a forecast is made at and a later scan that it is held against."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.forecast.arrays import Bools, Floats, Ints, PatientArrays
from inference.forecast.calibration import MAXIMUM_HORIZON_DAYS
from inference.forecast.queries import Queries
from longitudinal.histories import Patient, Truth

MINIMUM_HORIZON_DAYS = 7
_SURGERY = 3


@dataclass(frozen=True)
class Split:
    """Rows of the patients; `stop` ends the training, `calibrate` sets the intervals, `test` is never looked at."""

    train: Ints
    stop: Ints
    calibrate: Ints
    test: Ints


@dataclass(frozen=True)
class Windows:
    """All origin-target pairs: `queries`, index of the `target` scan, what was `measured_ml` there, the `last_ml`
    measured at the origin, and whether `surgery` lies between (no forecast is made across it)."""

    queries: Queries
    target: Ints
    measured_ml: Floats
    last_ml: Floats
    surgery: Bools

    def __len__(self) -> int:
        return len(self.queries)

    def where(self, keep: Bools | Ints) -> Windows:
        """A part of the windows."""
        q = self.queries
        return Windows(
            Queries(q.rows[keep], q.scans[keep], q.horizon_days[keep]),
            self.target[keep],
            self.measured_ml[keep],
            self.last_ml[keep],
            self.surgery[keep],
        )

    def of_patients(self, rows: Ints) -> Windows:
        """The windows of the given patients without surgery in them."""
        return self.where(np.isin(self.queries.rows, rows) & ~self.surgery)


def split_patients(patients: Sequence[Patient], seed: int, validation: float, test: float) -> Split:
    """Split by patient: the `split` that a patient states, else by a keyed hash of its pid.

    The order of the file does not matter, and a patient stays where it is as long as the shares allow.
    """
    stated = {"train": 0, "validation": 1, "test": 2}
    order = sorted(range(len(patients)), key=lambda row: _key(patients[row].pid, seed))
    free = [row for row in order if patients[row].split is None]
    n_test, n_validation = round(test * len(free)), round(validation * len(free))
    part = np.zeros(len(patients), dtype=np.int64)
    for row, patient in enumerate(patients):
        part[row] = stated.get(patient.split or "", 0)
    part[free[:n_test]] = 2
    part[free[n_test : n_test + n_validation]] = 1
    held = np.array([row for row in order if part[row] == 1], dtype=np.int64)
    return Split(np.flatnonzero(part == 0), np.sort(held[::2]), np.sort(held[1::2]), np.flatnonzero(part == 2))


def windows_of(arrays: PatientArrays) -> Windows:
    """All pairs of scans at least a week and at most 13.5 months apart, sorted by patient, origin, target."""
    found = []
    for origin in range(arrays.days.shape[1] - 1):
        for target in range(origin + 1, arrays.days.shape[1]):
            horizon = arrays.days[:, target] - arrays.days[:, origin]
            inside = (horizon >= MINIMUM_HORIZON_DAYS) & (horizon <= MAXIMUM_HORIZON_DAYS) & (arrays.count > target)
            rows = np.flatnonzero(inside)
            found.append(np.stack([rows, np.full(len(rows), origin), np.full(len(rows), target)]))
    pairs = np.concatenate(found, axis=1) if found else np.zeros((3, 0), dtype=np.int64)
    rows, origin, target = pairs[:, np.lexsort(pairs[::-1])]
    begin, until = arrays.days[rows, origin], arrays.days[rows, target]
    surgery = arrays.treatments.exposure(rows, begin, until, None)[:, _SURGERY] > 0
    return Windows(
        Queries(rows, origin, until - begin),
        target,
        arrays.volume_ml[rows, target],
        arrays.volume_ml[rows, origin],
        np.asarray(surgery),
    )


def latent_ml(patients: Sequence[Patient], truth: Mapping[str, Truth], windows: Windows) -> Floats | None:
    """The simulator's latent volume at the target of each window, None where a patient has no truth."""
    if any(p.pid not in truth or len(truth[p.pid].t) != len(p.scans) for p in patients):
        return None
    rows, target = windows.queries.rows, windows.target
    return np.array([truth[patients[r].pid].target_cc[t] for r, t in zip(rows, target, strict=True)])


def _key(pid: str, seed: int) -> bytes:
    return hashlib.blake2b(pid.encode(), key=str(seed).encode(), digest_size=16).digest()

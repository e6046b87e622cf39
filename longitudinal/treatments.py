"""Treatments of many patients as arrays, and what was running, given or known on a day.

Simulation, features and forecasts ask the same questions of the same table, so that none can know more than
another. Days are relative to each patient's first scan; a treatment covers its last day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longitudinal.features import DAYS_PER_MONTH
from longitudinal.histories import Patient, Treatment

KINDS = ("surgery", "rt", "chemo", "antiangiogenic", "srs", "immuno", "steroid")
"""The position is the code of the kind in `TreatmentTable.kind`."""

EXPOSURES = ("rt", "chemo", "antiangiogenic", "surgery")
"""Columns of `TreatmentTable.exposure`: months of the first three, 1 where surgery was done."""

_EXPOSURE_KINDS = ((1, 4), (2,), (3,), (0,))
_RT = (1, 4)
_SRS_DAYS = 21
"""Radiosurgery is given in a day or a few; its cell kill takes the weeks that exposure is counted in."""

_STILL_RUNNING = 1_000_000.0

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TreatmentTable:
    """Arrays of shape (patients, slots); `kind` is -1 in unused slots. `end` is the day after the last."""

    kind: npt.NDArray[np.int64]
    decided: Floats
    start: Floats
    end: Floats

    def running(self, codes: tuple[int, ...], days: Floats) -> Bools:
        """Whether one of the kinds runs on each day; `days` and the result (patients, scans)."""
        day = days[:, :, None]
        active = self._is(codes)[:, None] & (self.start[:, None] <= day) & (day < self.end[:, None])
        return np.asarray(active.any(axis=2))

    def begun(self, codes: tuple[int, ...], days: Floats) -> Bools:
        """Whether one of the kinds has begun by each day; `days` and the result (patients, scans)."""
        return np.asarray((self._is(codes)[:, None] & (self.start[:, None] <= days[:, :, None])).any(axis=2))

    def days_since(self, codes: tuple[int, ...], days: Floats) -> Floats:
        """Days since the last of the kinds ended (0 while it runs), NaN before the first; (patients, scans)."""
        day = days[:, :, None]
        past = self._is(codes)[:, None] & (self.start[:, None] <= day)
        last = np.where(past, np.minimum(self.end[:, None], day), -np.inf).max(axis=2, initial=-np.inf)
        return np.where(np.isfinite(last), days - last, np.nan)

    def exposure(self, rows: npt.NDArray[np.int64], begin: Floats, until: Floats, known_by: Floats | None) -> Floats:
        """What was given in [begin, until) to the patients `rows`: shape (len(rows), 4) as `EXPOSURES` names.

        With `known_by`, only treatments decided on or before that day count: what a forecast may know.
        """
        start, end = self.start[rows], self.end[rows]
        overlap = np.clip(np.minimum(end, until[:, None]) - np.maximum(start, begin[:, None]), 0.0, None)
        if known_by is not None:
            overlap = np.where(self.decided[rows] <= known_by[:, None], overlap, 0.0)
        kind = self.kind[rows]
        columns = [np.where(np.isin(kind, codes), overlap, 0.0).sum(axis=1) for codes in _EXPOSURE_KINDS]
        result = np.stack(columns, axis=1) / DAYS_PER_MONTH
        result[:, 3] = result[:, 3] > 0
        return result

    def _is(self, codes: tuple[int, ...]) -> Bools:
        return np.isin(self.kind, codes)


def treatment_table(patients: Sequence[Sequence[Treatment]]) -> TreatmentTable:
    """The table of the treatments of each patient."""
    slots = max((len(treatments) for treatments in patients), default=0) or 1
    shape = (len(patients), slots)
    kind = np.full(shape, -1, dtype=np.int64)
    decided, start, end = (np.zeros(shape) for _ in range(3))
    for row, treatments in enumerate(patients):
        for slot, treatment in enumerate(treatments):
            kind[row, slot] = KINDS.index(treatment.kind)
            decided[row, slot], start[row, slot] = treatment.decided, treatment.start
            end[row, slot] = _end(treatment)
    return TreatmentTable(kind, decided, start, end)


def table_of(patients: Sequence[Patient]) -> TreatmentTable:
    """The table of the treatments of whole patients."""
    return treatment_table([patient.treatments for patient in patients])


def treatment_flags(table: TreatmentTable, days: Floats) -> dict[str, Floats | Bools]:
    """The treatment inputs of `ScanQuantities` for scans on `days`, each of shape (patients, scans)."""
    return {
        "had_rt": table.begun(_RT, days),
        "rt_now": table.running(_RT, days),
        "chemo_now": table.running((2,), days),
        "antiangiogenic_now": table.running((3,), days),
        "days_since_rt": table.days_since(_RT, days),
    }


def effective_end(kind: npt.NDArray[np.int64], start: Floats, last_day: Floats) -> Floats:
    """The day after the last on which a treatment acts."""
    return np.where(kind == KINDS.index("srs"), np.maximum(last_day + 1, start + _SRS_DAYS), last_day + 1)


def _end(treatment: Treatment) -> float:
    if treatment.stop is None:
        return _STILL_RUNNING
    minimum = treatment.start + _SRS_DAYS if treatment.kind == "srs" else 0
    return float(max(treatment.stop + 1, minimum))

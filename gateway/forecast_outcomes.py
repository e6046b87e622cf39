"""Every new scan scores the forecasts that were made for its day: live coverage, drift, and when to fall back.

Nothing is stored for it: stored forecasts and the record are held against each other when asked, so a corrected
measurement corrects the score. A forecast is held against each later scan up to its longest horizon without surgery
between.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, select

from gateway.records import PatientRecord, read_patient_record
from gateway.tables import ForecastRow, Study
from gateway.values import forecast_from_json
from longitudinal.forecast_reading import FLOOR_ML, read_off
from longitudinal.types import Forecast

WATCHED = 50
LEAST_COVERAGE = 0.80
_CUSUM_SLACK, _CUSUM_ALARM = 0.5, 8.0


@dataclass(frozen=True)
class Outcome:
    """One forecast held against one later scan; `z` is the error of ln volume in units of the stated interval."""

    model: str
    version: str
    weights_sha256: str
    tumour_type: str
    patient_key: str
    scanned: dt.date
    horizon_days: int
    measured_ml: float
    median_ml: float
    lower_ml: float
    upper_ml: float
    last_ml: float

    @property
    def held(self) -> bool:
        """Whether the interval held the measured volume."""
        return self.lower_ml <= self.measured_ml <= self.upper_ml

    @property
    def z(self) -> float:
        """Error of ln volume divided by the interval's half width on its side, times 1.645: about a normal deviate."""
        ln = [np.log(max(v, FLOOR_ML)) for v in (self.measured_ml, self.median_ml, self.lower_ml, self.upper_ml)]
        error = ln[0] - ln[1]
        half = ln[3] - ln[1] if error > 0 else ln[1] - ln[2]
        return float(np.clip(1.645 * error / max(half, 0.01), -4, 4))


def outcomes(session: Session) -> list[Outcome]:
    """All scored forecasts in the order of their scans: of several forecasts for a scan, the latest is scored."""
    found: list[Outcome] = []
    keys = session.exec(select(ForecastRow.patient_key).distinct()).all()
    for key in sorted(keys):
        made = session.exec(
            select(ForecastRow, Study)
            .join(Study, Study.study_key == ForecastRow.study_key)  # type: ignore[arg-type]  # a column expression
            .where(ForecastRow.patient_key == key)
        ).all()
        latest = {study.study_instance_uid: (row.revision, row.value) for row, study in sorted(made, key=_revision)}
        record = read_patient_record(session, key)
        forecasts = {uid: forecast_from_json(value) for uid, (_, value) in latest.items()}
        found += score_patient(record, forecasts)
    return sorted(found, key=lambda o: (o.scanned, o.patient_key))


def watch(scored: Sequence[Outcome]) -> dict[str, Any]:
    """Live figures of the forecaster whose outcomes these are; `alarms` says in words what is wrong."""
    recent = list(scored)[-WATCHED:]
    alarms = []
    coverage = float(np.mean([o.held for o in recent])) if recent else None
    if coverage is not None and len(recent) == WATCHED and coverage < LEAST_COVERAGE:
        alarms.append(
            f"the intervals of the last {WATCHED} outcomes held {coverage:.0%}; {LEAST_COVERAGE:.0%} is the least"
        )
    drift = cusum([o.z for o in scored])
    if drift is not None:
        alarms.append(f"errors have drifted {'up' if drift[0] > 0 else 'down'} since outcome {drift[1] + 1}")
    types = sorted({o.tumour_type for o in scored})
    return {
        "outcomes": len(scored),
        "coverage": coverage,
        "mae_ml": float(np.mean([abs(o.measured_ml - o.median_ml) for o in scored])) if scored else None,
        "mae_last_value_ml": float(np.mean([abs(o.measured_ml - o.last_ml) for o in scored])) if scored else None,
        "types": {t: _held([o for o in scored if o.tumour_type == t]) for t in types},
        "alarms": alarms,
    }


def cusum(deviates: Sequence[float]) -> tuple[int, int] | None:
    """Direction (1, -1) and index of the outcome at which a two-sided CUSUM of normal deviates first alarms.

    With a slack of 0.5 and a threshold of 8 an undisturbed series of independent normal deviates alarms once in about
    nine thousand outcomes (Siegmund's approximation); several scans of one patient are not independent.
    """
    up = down = 0.0
    for index, z in enumerate(deviates):
        up, down = max(0.0, up + z - _CUSUM_SLACK), max(0.0, down - z - _CUSUM_SLACK)
        if max(up, down) > _CUSUM_ALARM:
            return (1 if up > down else -1), index
    return None


def score_patient(record: PatientRecord, forecasts: dict[str, Forecast]) -> list[Outcome]:
    """The outcomes of forecasts by the study (instance UID) that they were made at."""
    points = record.record.time_points
    resets = [t.start for t in record.stated.treatments if t.kind == "surgery"]
    found = []
    for place, point in enumerate(points):
        for origin in reversed(points[:place]):
            forecast = forecasts.get(origin.study_instance_uid)
            days = (point.context.acquired - origin.context.acquired).days
            if forecast is None or not forecast.points or not 7 <= days <= max(p.horizon_days for p in forecast.points):
                continue
            if any(origin.context.acquired < day <= point.context.acquired for day in resets):
                break
            median, lower, upper = read_off(forecast, days)
            found.append(
                Outcome(
                    model=forecast.model.name,
                    version=forecast.model.version,
                    weights_sha256=forecast.model.weights_sha256,
                    tumour_type=str(record.tumour_type),
                    patient_key=record.patient.patient_key,
                    scanned=point.context.acquired,
                    horizon_days=days,
                    measured_ml=point.total_ml,
                    median_ml=median,
                    lower_ml=lower,
                    upper_ml=upper,
                    last_ml=forecast.last_observed_ml,
                )
            )
            break
    return found


def _held(scored: Sequence[Outcome]) -> dict[str, float]:
    return {"outcomes": len(scored), "coverage": float(np.mean([o.held for o in scored]))}


def _revision(pair: tuple[ForecastRow, Study]) -> tuple[str, int]:
    return pair[1].study_key, pair[0].revision

"""Past forecasts beside what was measured afterwards."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from gateway.overview import show_patient
from gateway.values import forecast_from_json
from longitudinal.forecast_reading import read_off


def scored_forecasts(session: Session, patient_key: str) -> list[dict[str, Any]]:
    """Every forecast of a patient, oldest first, each with the later measurements that fall within its horizons.

    `inside` says whether the measured volume lies within the interval (see `longitudinal.forecast_reading`).

    Raises:
        NotFound: when there is no such patient.
    """
    history = show_patient(session, patient_key)
    results = [(s["study_key"], s["result"]) for s in history["studies"] if s["result"]]
    return [_scored(key, made, results[i + 1 :]) for i, (key, made) in enumerate(results) if made["forecast"]]


def observed_ml(result: dict[str, Any], region: str) -> float:
    """All lesions of a result together."""
    measured = [lesion["measurement"] for lesion in result["lesions"] if lesion["measurement"]]
    return float(sum(m["volumes_ml"][region] for m in measured))


def _scored(study_key: str, made: dict[str, Any], later: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    forecast, start = made["forecast"], made["timepoint"]
    scores = []
    for key, result in later:
        days = result["timepoint"]["days_from_baseline"] - start["days_from_baseline"]
        if forecast["points"] and days <= forecast["points"][-1]["horizon_days"]:
            scores.append(_score(key, days, observed_ml(result, forecast["region"]), forecast))
    return {"study_key": study_key, "made": start["acquired"], **forecast, "scores": scores}


def _score(study_key: str, days: int, measured: float, forecast: dict[str, Any]) -> dict[str, Any]:
    median, lower, upper = read_off(forecast_from_json(forecast), days)
    return {
        "study_key": study_key,
        "interval_days": days,
        "observed_ml": measured,
        "median_ml": median,
        "lower_ml": lower,
        "upper_ml": upper,
        "inside": lower <= measured <= upper,
    }

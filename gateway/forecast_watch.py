"""The forecaster in use under watch, and a challenger run beside it on the same patients and days."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from gateway import forecast_models
from gateway.context import Gateway
from gateway.database import read_scope
from gateway.errors import NotFound
from gateway.forecast_outcomes import Outcome, outcomes, score_patient, watch
from gateway.records import PatientRecord, read_patient_record
from gateway.stages.forecasting import SHIPPED_FORECASTER, active_forecaster
from gateway.tables import ForecastRow, Model, Study
from inference.encoding.identity import deterministic_uid
from inference.forecast.forecaster import Forecaster
from longitudinal.patient_history import patient_from_record
from longitudinal.types import Forecast


def status(gateway: Gateway) -> dict[str, Any]:
    """Which forecaster is in use, which are installed, and the live figures of each that has outcomes."""
    with read_scope(gateway.database) as session:
        row = forecast_models.active(session)
        installed = session.exec(select(Model).where(Model.kind == "forecast")).all()
        scored = outcomes(session)
        models = [
            {
                "name": m.name,
                "version": m.version,
                "active": m.active,
                "last_gate": m.card["gates"][-1]["verdict"] if m.card.get("gates") else None,
            }
            for m in installed
        ]
    by_model = sorted({(o.model, o.version) for o in scored})
    return {
        "in_use": row.name if row else gateway.settings.forecast.model or SHIPPED_FORECASTER,
        "installed": models,
        "live": {
            f"{name} {version}": watch([o for o in scored if (o.model, o.version) == (name, version)])
            for name, version in by_model
        },
    }


def demote_if_failing(gateway: Gateway) -> str | None:
    """Fall back to the last value when the forecaster in use has alarms; returns why, None where all is well.

    A forecaster that the settings name was chosen by a person and stays; its alarms show in `models status`.
    """
    if gateway.settings.forecast.model:
        return None
    in_use = active_forecaster(gateway).identity
    if in_use.name == forecast_models.FALLBACK:
        return None
    with read_scope(gateway.database) as session:
        row = forecast_models.active(session)
        since = row.promoted_at.date() if row and row.promoted_at else dt.date.min
        mine = [o for o in outcomes(session) if o.weights_sha256 == in_use.weights_sha256 and o.scanned >= since]
    alarms = watch(mine)["alarms"]
    if not alarms:
        return None
    forecast_models.fall_back(gateway, "; ".join(alarms))
    return str(alarms[0])


def shadow(gateway: Gateway, name: str) -> dict[str, Any]:
    """An installed challenger on every outcome since it was installed, beside what was forecast then.

    Its forecasts are made from the record as it stood at each study, so they are those it would have made.

    Raises:
        NotFound: when it is not installed.
    """
    with read_scope(gateway.database) as session:
        rows = select(Model).where(Model.kind == "forecast", Model.name == name)
        row = session.exec(rows.order_by(col(Model.created_at).desc())).first()
        if row is None:
            raise NotFound(f"model {name}")
        forecaster, since = Forecaster.load(Path(row.folder)), row.created_at.date()
        champion = {_place(o): o for o in outcomes(session) if o.scanned >= since}
        challenger = {_place(o): o for o in _rerun(session, gateway, forecaster, since)}
    both = sorted(champion.keys() & challenger.keys())
    return {
        "model": name,
        "outcomes": len(both),
        "challenger": _figures([challenger[p] for p in both]),
        "champion": _figures([champion[p] for p in both]),
    }


def _rerun(session: Session, gateway: Gateway, forecaster: Forecaster, since: dt.date) -> list[Outcome]:
    found = []
    for key in sorted(session.exec(select(ForecastRow.patient_key).distinct()).all()):
        studies = select(ForecastRow.study_key).where(ForecastRow.patient_key == key)
        forecast_at = set(session.exec(studies).all())
        record = read_patient_record(session, key)
        made = {
            study.study_instance_uid: _forecast(gateway, record, study, forecaster)
            for _, study in record.rows
            if study.study_key in forecast_at
        }
        found += [o for o in score_patient(record, made) if o.scanned >= since]
    return found


def _forecast(gateway: Gateway, record: PatientRecord, study: Study, forecaster: Forecaster) -> Forecast:
    surrogate = record.patient.surrogate
    context = record.history_context(gateway.keys.pseudonym(bytes.fromhex(surrogate)))
    history = patient_from_record(record.until(study.study_instance_uid), context)
    return forecaster.forecast(
        history,
        gateway.settings.forecast.horizons_days,
        tracking_uid=deterministic_uid("burden", surrogate),
        region=record.record.target,
    )


def _place(outcome: Outcome) -> tuple[str, dt.date, int]:
    return outcome.patient_key, outcome.scanned, outcome.horizon_days


def _figures(scored: list[Outcome]) -> dict[str, float | None]:
    if not scored:
        return {"mae_ml": None, "coverage": None}
    return {
        "mae_ml": float(np.mean([abs(o.measured_ml - o.median_ml) for o in scored])),
        "coverage": float(np.mean([o.held for o in scored])),
    }

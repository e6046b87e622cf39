"""Forecast: the patient's history up to this study, and only up to it, goes through the forecaster."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlmodel import select

from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.results import read_study_in_record
from gateway.stages.progress import advance, hold_revision, key_and_revision
from gateway.tables import ForecastRow, Model, StudyState
from gateway.values import forecast_to_json
from inference.encoding.identity import deterministic_uid
from inference.forecast.forecaster import Forecaster
from inference.model_folder import SHIPPED_MODELS
from longitudinal.patient_history import patient_from_record

SHIPPED_FORECASTER = "forecast-1"


@cache
def _load(folder: Path) -> Forecaster:
    return Forecaster.load(folder)


def active_forecaster(gateway: Gateway) -> Forecaster:
    """The forecaster that the settings name, else the promoted one, else the one that ships."""
    named = gateway.settings.forecast.model
    with read_scope(gateway.database) as session:
        wanted = select(Model).where(Model.kind == "forecast")
        rows = session.exec(wanted).all()
    for row in rows:
        if (named and row.name == named) or (not named and row.active):
            return _load(Path(row.folder))
    if named and Path(named).is_dir():
        return _load(Path(named))
    return _load(SHIPPED_MODELS / (named or SHIPPED_FORECASTER))


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Store the forecast made at a study revision."""
    study_key, revision = key_and_revision(arguments)
    options = gateway.settings.forecast
    with read_scope(gateway.database) as session:
        at = read_study_in_record(session, study_key)
    surrogate = at.patient.patient.surrogate
    pid = gateway.keys.pseudonym(bytes.fromhex(surrogate))
    history = patient_from_record(at.patient.until(at.study.study_instance_uid), at.patient.history_context(pid))
    forecast = active_forecaster(gateway).forecast(
        history,
        options.horizons_days,
        tracking_uid=deterministic_uid("burden", surrogate),
        region=at.patient.record.target,
    )
    with session_scope(gateway.database) as session:
        hold_revision(session, study_key, revision)
        done = select(ForecastRow).where(ForecastRow.study_key == study_key, ForecastRow.revision == revision)
        if session.exec(done).first() is None:
            session.add(
                ForecastRow(
                    patient_key=at.patient.patient.patient_key,
                    study_key=study_key,
                    revision=revision,
                    value=forecast_to_json(forecast),
                )
            )
    advance(gateway, study_key, revision, StudyState.FORECAST)

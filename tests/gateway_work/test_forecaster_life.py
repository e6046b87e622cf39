"""The forecaster in service: gate before use, one way back, live coverage, and the fallback when it fails."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlmodel import select

from gateway import forecast_models, forecast_watch
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.forecast_outcomes import WATCHED, Outcome, cusum, outcomes, watch
from gateway.settings import Settings
from gateway.stages.forecasting import active_forecaster
from gateway.tables import Audit, ForecastRow, Lesion, Measurement, Patient, Study, StudyState, TimePoint
from gateway.values import forecast_to_json, measurement_to_json
from inference.forecast.model import DEFAULT_MODEL
from inference.model_folder import SHIPPED_MODELS
from longitudinal.types import AlgorithmIdentity, Compartment, Forecast, ForecastPoint, LesionMeasurement, Region

DAY0 = dt.date(2030, 1, 1)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return open_gateway(Settings(data_dir=tmp_path / "data"))


def gate(verdict: str, weights_sha256: str) -> dict[str, Any]:
    return {"verdict": verdict, "reasons": [], "challenger": {"weights_sha256": weights_sha256}}


def installed(gateway: Gateway, folder: Path = DEFAULT_MODEL) -> Any:
    return forecast_models.install(gateway, folder, "nurse")


def test_no_promotion_without_gate_and_shadow_run(gateway: Gateway) -> None:
    row = installed(gateway)
    with pytest.raises(NotAllowed, match="no gate was held"):
        forecast_models.promote(gateway, row.name, "nurse", 99)
    forecast_models.record_gate(gateway, row.name, gate("keep champion", row.weights_sha256), "nurse")
    with pytest.raises(NotAllowed, match="last gate says 'keep champion'"):
        forecast_models.promote(gateway, row.name, "nurse", 99)
    forecast_models.record_gate(gateway, row.name, gate("promote", row.weights_sha256), "nurse")
    with pytest.raises(NotAllowed, match="29 outcomes, 30 are needed"):
        forecast_models.promote(gateway, row.name, "nurse", 29)
    assert forecast_models.promote(gateway, row.name, "nurse", 30).active
    with read_scope(gateway.database) as session:
        assert forecast_models.tests_so_far(session) == 2
    with pytest.raises(NotAllowed, match="other weights"):
        forecast_models.record_gate(gateway, row.name, gate("promote", "0" * 64), "nurse")
    with pytest.raises(NotFound):
        forecast_models.promote(gateway, "nobody", "nurse", 99)


def test_the_switch_is_one_model_and_goes_back_step_by_step(gateway: Gateway) -> None:
    assert active_forecaster(gateway).identity.name == "forecast-1"
    for folder in (SHIPPED_MODELS / "forecast-fallback", DEFAULT_MODEL):
        row = installed(gateway, folder)
        forecast_models.record_gate(gateway, row.name, gate("promote", row.weights_sha256), "nurse")
        forecast_models.promote(gateway, row.name, "nurse", 30)
        with read_scope(gateway.database) as session:
            now = forecast_models.active(session)
        assert now is not None and now.name == row.name
        assert str(gateway.settings.data_dir) in now.folder
    assert forecast_models.rollback(gateway, "nurse") == "forecast-fallback"
    assert active_forecaster(gateway).identity.name == "forecast-fallback"
    assert forecast_models.rollback(gateway, "nurse") == "the one that ships"
    assert active_forecaster(gateway).identity.name == "forecast-1"
    with pytest.raises(NotAllowed, match="nothing to go back to"):
        forecast_models.rollback(gateway, "nurse")
    with read_scope(gateway.database) as session:
        actions = [a.action for a in session.exec(select(Audit)).all()]
    assert actions.count("model.promote") == 2
    assert actions.count("model.rollback") == 2


def test_other_weights_under_the_same_name_are_refused(gateway: Gateway, tmp_path: Path) -> None:
    installed(gateway)
    copy = tmp_path / "other"
    shutil.copytree(SHIPPED_MODELS / "forecast-fallback", copy)
    card = (copy / "model.json").read_text().replace('"forecast-fallback"', '"forecast-1"').replace('"1.0"', '"1.1"')
    (copy / "model.json").write_text(card)
    with pytest.raises(NotAllowed, match="other weights"):
        installed(gateway, copy)


def outcome(number: int, held: bool, z: float = 0.0) -> Outcome:
    measured = float(np.exp(np.log(10) + z * np.log(1.5) / 1.645)) if held else 40.0
    return Outcome("m", "1", "0", "GBM", f"p{number}", DAY0, 90, measured, 10.0, 10 / 1.5, 15.0, 10.0)


def test_coverage_of_the_last_fifty_is_watched() -> None:
    good = [outcome(k, k % 10 != 0, z=(-1) ** k) for k in range(60)]
    assert watch(good)["alarms"] == []
    bad = [outcome(k, k % 4 != 0, z=-0.9) for k in range(60)]
    assert "the intervals of the last 50 outcomes held 76%; 80% is the least" in watch(bad)["alarms"]
    assert watch(bad[: WATCHED - 1])["alarms"] == [] or "drifted" in watch(bad[: WATCHED - 1])["alarms"][0]


def test_a_shift_of_a_scanner_is_found_within_sixty_scans_and_calm_is_left_alone() -> None:
    rng = np.random.default_rng(8)
    # 15 % more volume in intervals of about +-20 %: 0.14 / 0.12 = 1.15 standard deviations.
    found = [cusum([*rng.normal(0, 1, 100), *rng.normal(1.15, 1, 60)]) for _ in range(200)]
    late = [f for f in found if f is None or f[1] >= 160]
    assert not late
    assert np.mean([f[0] == 1 for f in found if f is not None]) > 0.9
    calm = [cusum(rng.normal(0, 1, 200)) for _ in range(200)]
    assert np.mean([c is not None for c in calm]) < 0.05


def measured(volume: float) -> LesionMeasurement:
    return LesionMeasurement(
        index=1,
        volumes_ml=dict.fromkeys(Region, volume),
        volume_sd_ml=dict.fromkeys(Region, 0.05 * volume),
        compartments_ml={c: volume if c is Compartment.ENHANCING else 0.0 for c in Compartment},
        centroid=(0.0, 0.0, 0.0),
        longest=None,
        perpendicular=None,
        diameter_sop_instance_uid=None,
        max_3d_diameter_mm=20.0,
        surface_area_mm2=500.0,
        sphericity=0.8,
    )


def forecast_at(gateway: Gateway, volume: float) -> Forecast:
    identity: AlgorithmIdentity = active_forecaster(gateway).identity
    points = tuple(
        ForecastPoint(days, volume, volume * (1 - width), volume * (1 + width), 0.9)
        for days, width in ((90, 0.1), (180, 0.2))
    )
    return Forecast("1.2.3", Region.WHOLE, volume, points, identity, "c")


def follow(gateway: Gateway, number: int, volumes: list[float]) -> None:
    """A patient with a scan every 90 days and the forecast made at each."""
    with session_scope(gateway.database) as session:
        patient = Patient(surrogate=f"{number:032x}")
        session.add(patient)
        session.flush()
        uid = f"2.25.{number + 1}"
        for place, volume in enumerate(volumes):
            day = DAY0 + dt.timedelta(days=90 * place)
            study = Study(
                study_instance_uid=f"{uid}.{place}",
                patient_key=patient.patient_key,
                state=StudyState.FORECAST,
                revision=1,
                acquired=day,
            )
            session.add(study)
            session.flush()
            key = study.study_key
            if place == 0:
                session.add(
                    Lesion(
                        tracking_uid=uid,
                        patient_key=patient.patient_key,
                        number=1,
                        tracking_id="L1",
                        first_study_key=key,
                    )
                )
            session.add(TimePoint(patient_key=patient.patient_key, study_key=key, revision=1, acquired=day))
            session.flush()
            session.add(
                Measurement(study_key=key, revision=1, tracking_uid=uid, value=measurement_to_json(measured(volume)))
            )
            made = forecast_to_json(forecast_at(gateway, volume))
            session.add(ForecastRow(patient_key=patient.patient_key, study_key=key, revision=1, value=made))


def test_each_scan_scores_the_last_forecast_made_for_its_day(gateway: Gateway) -> None:
    follow(gateway, 1, [10.0, 10.5, 20.0])
    with read_scope(gateway.database) as session:
        found = outcomes(session)
    assert [(o.measured_ml, o.median_ml, o.held) for o in found] == [
        (10.5, pytest.approx(10.0), True),
        (20.0, pytest.approx(10.5), False),
    ]
    assert [o.horizon_days for o in found] == [90, 90]
    live = forecast_watch.status(gateway)["live"]["forecast-1 1.1"]
    assert (live["outcomes"], live["coverage"], live["alarms"]) == (2, 0.5, [])


def test_a_forecaster_that_fails_falls_back_to_the_last_value(gateway: Gateway) -> None:
    for number in range(30):
        follow(gateway, number, [10.0, 10.2, 10.1])
    assert forecast_watch.demote_if_failing(gateway) is None
    for number in range(30, 60):
        follow(gateway, number, [10.0, 20.0, 10.0])
    reason = forecast_watch.demote_if_failing(gateway)
    assert reason is not None
    assert active_forecaster(gateway).identity.name == "forecast-fallback"
    assert forecast_watch.demote_if_failing(gateway) is None, "the fallback is not demoted"
    assert forecast_models.rollback(gateway, "nurse") == "the one that ships"


def test_a_shadow_run_makes_the_forecasts_that_would_have_been_made(gateway: Gateway) -> None:
    row = installed(gateway, SHIPPED_MODELS / "forecast-fallback")
    for number in range(3):
        follow(gateway, number, [10.0, 11.0, 12.0, 40.0])
    found = forecast_watch.shadow(gateway, row.name)
    assert found["outcomes"] == 9
    assert found["challenger"]["mae_ml"] == pytest.approx(10.0)
    assert found["champion"]["mae_ml"] == pytest.approx(10.0)
    assert found["challenger"]["coverage"] >= 2 / 3

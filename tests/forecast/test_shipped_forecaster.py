"""The forecaster that comes with the distribution: size, honesty of its card, skill on patients it has never seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.forecast import DEFAULT_MODEL, Forecaster
from longitudinal.types import Forecast
from training.forecast.evaluate import evaluate
from training.simulate.histories import SimulatedHistories, simulate_histories


@pytest.fixture(scope="module")
def unseen() -> SimulatedHistories:
    return simulate_histories(500, seed=31_337)


@pytest.fixture(scope="module")
def report(unseen: SimulatedHistories) -> dict[str, Any]:
    return evaluate(DEFAULT_MODEL, unseen.histories, unseen.truth.truth)


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEFAULT_MODEL / "model.json").read_text(encoding="utf-8"))
    return found


def test_it_is_small_and_was_trained_on_ten_thousand_patients(card: dict[str, Any]) -> None:
    assert sum(file.stat().st_size for file in DEFAULT_MODEL.iterdir()) < 2_000_000
    assert card["training"]["patients"]["train"] >= 10_000
    config = card["training"]["config"]
    assert (config["hidden"], config["layers"], config["dropout"]) == (128, 3, 0.3)


def test_it_beats_the_last_value_in_mae_and_crps_at_every_horizon(report: dict[str, Any]) -> None:
    for name in ("all", "3mo", "6mo", "12mo"):
        against = report["horizons"][name]["against"]["last_value"]
        for score in ("mae_ml", "crps_ml"):
            assert against[score]["relative"][2] < 0, f"{score} at {name}: {against[score]}"


def test_it_beats_the_prior_it_corrects(report: dict[str, Any]) -> None:
    assert report["horizons"]["all"]["against"]["population_prior"]["crps_ml"]["relative"][2] < 0


def test_its_intervals_hold_what_they_state(report: dict[str, Any]) -> None:
    value, low, high = report["calibration"]["coverage"]
    assert 0.88 <= value <= 0.92, (value, low, high)
    assert report["calibration"]["width_never_falls"] == 1.0
    assert 0.85 <= report["unknown_type"]["coverage"] <= 0.95


def test_no_tumour_type_is_worse_off_than_with_the_last_value(report: dict[str, Any]) -> None:
    for kind, horizons in report["types"].items():
        assert horizons["all"]["mae_against_last_value"][1] < 0.05, kind


def test_the_card_states_what_fresh_patients_show(report: dict[str, Any], card: dict[str, Any]) -> None:
    for name in ("3mo", "6mo", "12mo"):
        stated = card["metrics"][name]
        shown = report["summary"][name]
        skill = stated["mae_ml"] / stated["mae_last_value_ml"]
        assert shown["mae_ml"] / shown["mae_last_value_ml"] == pytest.approx(skill, abs=0.08)


def test_forecasts_sharpen_with_history(report: dict[str, Any]) -> None:
    known = report["scans_known"]
    gain = [known[n]["mae_ml"]["model"] / known[n]["mae_ml"]["last_value"] for n in ("1", "3-5", "6+")]
    assert gain[0] > gain[2]


def test_a_forecast_of_a_growing_glioblastoma(unseen: SimulatedHistories) -> None:
    forecaster = Forecaster.load()
    growing = [
        p
        for p in unseen.histories.patients
        if p.tumour_type == "GBM"
        and 3 < p.scans[-1].target_cc < 60
        and p.scans[-1].target_cc > 2 * p.scans[-2].target_cc
        # Treatment that begins now may well halve it again.
        and not any(t.start > p.scans[-1].t and t.kind != "steroid" for t in p.treatments)
    ]
    found: list[Forecast] = [forecaster.forecast(p, (91,), tracking_uid="1.2.3") for p in growing]
    larger = [f.points[0].upper_ml > 1.3 * f.last_observed_ml for f in found if f.points]
    assert len(larger) >= 5
    assert all(larger)

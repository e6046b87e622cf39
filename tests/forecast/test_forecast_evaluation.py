"""Evaluation: scores against known answers, baselines beside the model, held-out patients only, a page that says it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from inference.forecast.arrays import arrays_of
from inference.forecast.network import QUANTILES
from longitudinal.histories import Histories
from training.forecast.baselines import point_forecast
from training.forecast.compare import compare
from training.forecast.evaluate import EvaluationError, evaluate
from training.forecast.metrics import crps, mean_interval, paired, scores
from training.forecast.report_html import render
from training.forecast.train import TrainedModel
from training.forecast.windows import windows_of
from training.simulate.histories import SimulatedHistories, simulate_histories


@pytest.fixture(scope="module")
def report(small_folder: Path, fresh: SimulatedHistories) -> dict[str, Any]:
    return evaluate(small_folder, fresh.histories, fresh.truth.truth)


def test_crps_of_a_gaussian_is_near_its_closed_form() -> None:
    measured = np.random.default_rng(0).normal(size=20_000)
    quantiles = np.tile(norm.ppf(QUANTILES), (20_000, 1))
    # The CRPS of a standard normal forecast of a standard normal value is 1 / sqrt(pi).
    assert crps(measured, quantiles).mean() == pytest.approx(1 / np.sqrt(np.pi), rel=0.03)
    assert crps(measured, quantiles * 3).mean() > crps(measured, quantiles).mean()
    assert crps(measured, quantiles + 1).mean() > crps(measured, quantiles).mean()


def test_scores_of_a_known_case() -> None:
    measured, last = np.array([10.0, 20.0]), np.array([10.0, 10.0])
    quantiles = np.array([[8, 8.5, 9, 10, 11, 12, 13], [8, 9, 10, 16, 17, 18, 19]], dtype=float)
    found = scores(measured, quantiles, last)
    assert (found["mae_ml"], found["coverage"], found["r2_of_change"]) == (2.0, 0.5, 0.84)


def test_intervals_are_over_patients_not_windows() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(40), 25)
    values = np.repeat(rng.normal(size=40), 25)
    clustered = mean_interval(values, patients)
    naive = mean_interval(values, np.arange(1000))
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)
    assert paired(values, values, patients)["difference"] == [0.0, 0.0, 0.0]


def test_lines_meet_the_points_they_go_through(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:20])
    windows = windows_of(arrays)
    months = arrays.days / 30.4375
    arrays.volume_ml[:] = 10 + 2 * months
    linear = point_forecast("linear_all", arrays, windows)
    target = 10 + 2 * months[windows.queries.rows, windows.target]
    several = windows.queries.scans > 0
    np.testing.assert_allclose(linear[several], target[several], rtol=1e-6)
    first = 10 + 2 * months[windows.queries.rows, 0]
    np.testing.assert_allclose(linear[~several], first[~several])


def test_the_report_holds_the_model_against_everything(report: dict[str, Any]) -> None:
    whole = report["horizons"]["all"]
    assert set(whole["methods"]) == {
        "model",
        "population_prior",
        "last_value",
        "linear_all",
        "linear_last3",
        "log_linear_last3",
    }
    assert whole["floor_mae_ml"] < whole["methods"]["model"]["mae_ml"] < whole["methods"]["linear_all"]["mae_ml"]
    assert set(report["types"]) == {"GBM", "ASTRO", "OLIGO", "MENING", "BM", "VS"}
    assert report["calibration"]["width_never_falls"] == 1.0
    assert report["data"]["subset"].startswith("all patients")
    assert report["latency_ms"]["p50"] > 0
    assert sum(report["horizons"][n]["windows"] for n in ("1mo", "3mo", "6mo", "12mo")) == whole["windows"]


def test_on_its_own_data_a_model_is_measured_on_test_patients_only(small_trained: TrainedModel) -> None:
    own = simulate_histories(400, seed=11)
    found = evaluate(small_trained.folder, own.histories, own.truth.truth)
    assert found["data"]["subset"].startswith("the test patients")
    assert found["data"]["patients"] == 60
    assert found["summary"] == small_trained.report["summary"]


def test_without_truth_there_is_no_floor(small_folder: Path, fresh: SimulatedHistories) -> None:
    part = fresh.histories.model_copy(update={"patients": fresh.histories.patients[:30]})
    found = evaluate(small_folder, part)
    assert "floor_mae_ml" not in found["horizons"]["all"]
    assert "mae_latent_ml" not in found["horizons"]["all"]["methods"]["model"]
    assert "<svg" in render(found)


def test_nothing_to_evaluate_on_is_said(small_folder: Path, fresh: SimulatedHistories) -> None:
    single = tuple(p.model_copy(update={"scans": p.scans[:1]}) for p in fresh.histories.patients[:3])
    with pytest.raises(EvaluationError, match="no pair of scans"):
        evaluate(small_folder, Histories(source=fresh.histories.source, patients=single))


def test_comparison_knows_better_worse_and_too_little(
    small_trained: TrainedModel, fresh: SimulatedHistories, tmp_path: Path
) -> None:
    import dataclasses

    from inference.forecast.model import ForecastModel

    good = ForecastModel.load(small_trained.folder)
    spoilt = dataclasses.replace(good, prior=dataclasses.replace(good.prior, theta=good.prior.theta + 0.4))
    assert compare(spoilt, good, fresh.histories)["verdict"] == "b is better"
    assert compare(good, spoilt, fresh.histories, fresh.truth.truth)["verdict"] == "a is better"
    assert compare(good, good, fresh.histories)["verdict"] == "no difference shown"
    few = fresh.histories.model_copy(update={"patients": fresh.histories.patients[:10]})
    assert compare(spoilt, good, few)["verdict"] == "insufficient evidence"


def test_the_page_stands_alone_and_says_the_verdict(report: dict[str, Any]) -> None:
    page = render(report)
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    assert page.count("<svg") == 3
    assert "of the last value" in page
    assert "floor" in page
    assert f"{100 * report['calibration']['coverage'][0]:.1f} %" in page

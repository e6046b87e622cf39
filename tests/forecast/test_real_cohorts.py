"""Experts on few patients, the stack that does no harm, and the cross-validation that nothing leaks into."""

from __future__ import annotations

import numpy as np
import pytest

from inference.forecast.arrays import arrays_of
from inference.forecast.model import ForecastModel
from training.forecast import cross_validation
from training.forecast.baselines import Baselines
from training.forecast.cross_validation import cohort_of, cross_validate
from training.forecast.gompertz import GompertzShrinkage
from training.forecast.metrics import crps
from training.forecast.scaled_persistence import ScaledPersistence
from training.forecast.stacking import Stack
from training.forecast.windows import Windows, windows_of
from training.simulate.histories import SimulatedHistories, simulate_histories


@pytest.fixture(scope="module")
def small_cohort() -> SimulatedHistories:
    return simulate_histories(40, seed=99)


def clean(windows: Windows) -> Windows:
    return windows.where(~windows.surgery)


def test_scaled_persistence_beats_the_last_value_on_patients_it_has_not_seen(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients)
    windows = clean(windows_of(arrays))
    first = windows.queries.rows < 90
    train, test = windows.where(first), windows.where(~first)
    last = Baselines.fit(arrays, train).quantiles_ml("last_value", arrays, test)
    found = ScaledPersistence.fit(arrays, train).quantiles_ml(arrays, test)
    assert (np.diff(found, axis=1) >= 0).all()
    assert crps(test.measured_ml, found).mean() < crps(test.measured_ml, last).mean()


def test_gompertz_finds_the_goals_that_tumours_head_for(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:80])
    rng = np.random.default_rng(2)
    goal, months = rng.normal(2.5, 0.7, 80), arrays.days / 30.4375
    start = rng.normal(1.0, 0.5, 80)
    arrays.volume_ml[:] = np.exp(goal[:, None] + (start - goal)[:, None] * np.exp(-0.15 * months))
    windows = clean(windows_of(arrays))
    train, test = windows.where(windows.queries.rows < 50), windows.where(windows.queries.rows >= 50)
    fitted = GompertzShrinkage.fit(arrays, train)
    found = fitted.quantiles_ml(arrays, test)
    assert (np.diff(found, axis=1) >= 0).all()
    late = test.queries.scans >= 3
    error = np.abs(test.measured_ml - found[:, 3])[late].mean()
    assert error < 0.3 * np.abs(test.measured_ml - test.last_ml)[late].mean()
    assert np.exp(fitted.theta[0]) == pytest.approx(0.15, rel=0.5)


def test_scaled_persistence_is_stored_as_it_is(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:60])
    windows = clean(windows_of(arrays))
    fitted = ScaledPersistence.fit(arrays, windows)
    again = ScaledPersistence.from_json(fitted.to_json())
    np.testing.assert_allclose(again.quantiles_ml(arrays, windows), fitted.quantiles_ml(arrays, windows), rtol=1e-3)


def test_a_stack_gives_a_bad_expert_nothing_and_a_good_one_most() -> None:
    rng = np.random.default_rng(3)
    truth = np.exp(rng.normal(2.5, 0.8, 1500))
    patients = np.repeat(np.arange(150), 10)
    shape = 0.15 * np.array([-1.64, -1.28, -0.67, 0, 0.67, 1.28, 1.64])

    def expert(sd: float, bias: float) -> np.ndarray:
        return np.exp((np.log(truth) + bias + rng.normal(0, sd, len(truth)))[:, None] + shape * sd / 0.15)

    experts = {"last_value": expert(0.4, 0.0), "good": expert(0.15, 0.0), "bad": expert(0.4, 1.0)}
    stack = Stack.fit(experts, truth, patients)
    weights = dict(zip(stack.names, stack.weights, strict=True))
    assert weights["good"] > 0.7
    assert weights["bad"] == 0
    worse = Stack.fit({k: experts[k] for k in ("last_value", "bad")}, truth, patients)
    assert worse.weights.tolist() == [1.0, 0.0]
    quantiles = stack.quantiles_ml(experts)
    assert np.mean((truth >= quantiles[:, 0]) & (truth <= quantiles[:, -1])) == pytest.approx(0.9, abs=0.03)


@pytest.mark.slow
def test_cross_validation_tests_each_patient_with_a_fit_that_has_not_seen_it(
    small_model: ForecastModel, small_cohort: SimulatedHistories, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_cohort.histories
    taught = data.model_copy(update={"patients": data.patients[:30]})
    seen: list[tuple[set[int], set[int]]] = []
    original = cross_validation._one_fold

    def spy(cohort, model, rehearsal, train, test, seed):  # type: ignore[no-untyped-def]
        seen.append((set(train.tolist()), set(test.tolist())))
        return original(cohort, model, rehearsal, train, test, seed)

    monkeypatch.setattr(cross_validation, "_one_fold", spy)
    monkeypatch.setattr(cross_validation, "INNER_FOLDS", 2)
    monkeypatch.setattr(cross_validation, "_REHEARSAL_PATIENTS", 20)
    found = cross_validate(taught, small_model, data)
    assert all(not train & test for train, test in seen)
    assert sorted(row for _, test in seen for row in test) == list(range(30))
    assert found["methods"]["last_value"]["mae_relative"] == [0.0, 0.0, 0.0]
    assert set(found["methods"]) >= {
        "prior_refitted",
        "boosting",
        "gompertz",
        "lstm_zero_shot",
        "lstm_finetuned",
        "stack",
    }
    assert found["patients"] <= 30


def test_patients_that_only_teach_are_not_those_that_are_tested(small_cohort: SimulatedHistories) -> None:
    data = small_cohort.histories
    cohort = cohort_of(data.model_copy(update={"patients": data.patients[:10]}), data)
    assert len(cohort.arrays.pids) == len(set(cohort.arrays.pids)) == 40
    assert cohort.tested.sum() == 10

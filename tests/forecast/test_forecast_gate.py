"""A site's own model and the gate it has to pass: who may teach, who may judge, and what rules a challenger out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from inference.forecast.arrays import TUMOUR_TYPES, arrays_of
from inference.forecast.calibration import Calibration
from inference.forecast.model import DEFAULT_MODEL, ForecastModel
from inference.forecast.persistence import Persistence
from inference.forecast.queries import Queries
from inference.model_folder import SHIPPED_MODELS
from training.forecast.gate import INSUFFICIENT, KEEP, PROMOTE, judge
from training.forecast.site_model import finetune
from training.forecast.train import DataError
from training.forecast.windows import split_patients
from training.simulate.histories import SimulatedHistories, simulate_histories


@pytest.fixture(scope="module")
def spoilt(small_model: ForecastModel) -> ForecastModel:
    prior = dataclasses.replace(small_model.prior, theta=small_model.prior.theta + 0.4)
    return dataclasses.replace(small_model, prior=prior)


def test_the_better_model_is_promoted_and_the_worse_is_not(
    small_model: ForecastModel, spoilt: ForecastModel, fresh: SimulatedHistories
) -> None:
    # The small model's intervals are a little wide on these patients, which the gate would say.
    fitting = dataclasses.replace(small_model, calibration=Calibration(small_model.calibration.factors * 0.85))
    found = judge(spoilt, fitting, fresh.histories)
    assert found["verdict"] == PROMOTE, found["reasons"]
    assert found["local"]["crps_relative"][2] < 0
    assert set(found["local"]["entrants"]) == {"champion", "challenger", "last_value", "population_prior"}
    back = judge(small_model, spoilt, fresh.histories)
    assert back["verdict"] == KEEP
    assert any("CRPS is not below" in reason for reason in back["reasons"])


def test_the_same_model_does_not_replace_itself(small_model: ForecastModel, fresh: SimulatedHistories) -> None:
    assert judge(small_model, small_model, fresh.histories)["verdict"] == KEEP


def test_too_narrow_intervals_rule_a_challenger_out(
    small_model: ForecastModel, spoilt: ForecastModel, fresh: SimulatedHistories
) -> None:
    narrow = dataclasses.replace(small_model, calibration=Calibration(small_model.calibration.factors * 0.6))
    found = judge(spoilt, narrow, fresh.histories)
    assert found["verdict"] == KEEP
    assert any("85 to 95 %" in reason for reason in found["reasons"])


def test_few_patients_decide_nothing(
    small_model: ForecastModel, spoilt: ForecastModel, fresh: SimulatedHistories
) -> None:
    few = fresh.histories.model_copy(update={"patients": fresh.histories.patients[:10]})
    found = judge(spoilt, small_model, few)
    assert found["verdict"] == INSUFFICIENT
    assert "10 patients" in found["reasons"][0]


def test_each_test_makes_the_next_one_stricter(
    small_model: ForecastModel, spoilt: ForecastModel, fresh: SimulatedHistories
) -> None:
    first, tenth = (judge(spoilt, small_model, fresh.histories, tests_before=k) for k in (0, 9))
    assert (first["confidence"], tenth["confidence"]) == (0.95, 0.995)
    width = [f["local"]["crps_relative"][2] - f["local"]["crps_relative"][1] for f in (first, tenth)]
    assert width[1] > width[0]


def test_a_site_model_is_better_at_its_site_and_no_patient_judges_what_it_taught(
    small_model: ForecastModel, spoilt: ForecastModel, tmp_path: Path
) -> None:
    site = simulate_histories(160, seed=606).histories
    made = finetune(spoilt, site, tmp_path / "site")
    assert made.steps["head_trained"]
    assert made.steps["calibrated_locally"]
    tuned = ForecastModel.load(tmp_path / "site")
    fresh = simulate_histories(160, seed=607).histories
    found = judge(spoilt, tuned, fresh)
    assert found["local"]["crps_relative"][2] < 0
    coverage = found["local"]["entrants"]["challenger"]["coverage"]
    assert 0.83 < coverage < 0.97
    split = split_patients(site.patients, 0, 0.3, 0.2)
    parts = [set(p.tolist()) for p in (split.train, split.stop, split.calibrate, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 160
    own = judge(spoilt, tuned, site)
    assert own["local"]["patients"] <= len(split.test)


def test_thirty_patients_are_the_least(small_model: ForecastModel, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="30 are the least"):
        finetune(small_model, simulate_histories(20, seed=1).histories, tmp_path / "x")


def test_a_share_of_nothing_is_the_last_value(small_model: ForecastModel, fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:20])
    queries = Queries(np.arange(20), np.ones(20, dtype=np.int64), np.full(20, 90.0))
    shape = np.array([-0.5, -0.4, -0.2, 0, 0.2, 0.4, 0.6])
    table = np.tile(shape, (len(TUMOUR_TYPES), 4, 1))
    still = dataclasses.replace(small_model, persistence=Persistence(np.zeros(len(TUMOUR_TYPES)), table))
    last = np.maximum(arrays.volume_ml[queries.index], 0.1)
    found = still.quantiles_ml(arrays, queries)
    seen = found > 0
    np.testing.assert_allclose(found[seen], (last[:, None] * np.exp(shape))[seen], rtol=1e-6)
    half = dataclasses.replace(still, persistence=Persistence(np.full(len(TUMOUR_TYPES), 0.5), table))
    middle = half.quantiles_ml(arrays, queries)[:, 3]
    alone = small_model.quantiles_ml(arrays, queries)[:, 3]
    np.testing.assert_allclose(middle, (last + alone) / 2, rtol=0.02, atol=0.06)


def test_mixing_is_stored_with_the_model(small_model: ForecastModel, tmp_path: Path) -> None:
    table = np.tile(np.linspace(-0.6, 0.6, 7), (len(TUMOUR_TYPES), 4, 1))
    mixed = dataclasses.replace(small_model, persistence=Persistence(np.full(len(TUMOUR_TYPES), 0.25), table))
    mixed.save(tmp_path / "m", "readme\n")
    again = ForecastModel.load(tmp_path / "m").persistence
    np.testing.assert_allclose(again.weights, 0.25)
    np.testing.assert_allclose(again.residuals, table, atol=1e-5)


def test_the_fallback_ships_and_keeps_the_last_value(fresh: SimulatedHistories) -> None:
    fallback = ForecastModel.load(SHIPPED_MODELS / "forecast-fallback")
    arrays = arrays_of(fresh.histories.patients[:30])
    queries = Queries(np.arange(30), np.full(30, 2), np.full(30, 120.0))
    last = arrays.volume_ml[queries.index]
    np.testing.assert_allclose(fallback.quantiles_ml(arrays, queries)[:, 3][last > 0.1], last[last > 0.1], rtol=1e-6)
    assert ForecastModel.load(DEFAULT_MODEL).persistence.to_json() is None

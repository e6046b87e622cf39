"""Frozen cohorts stay what they are, claims are told as they fall, and forecasts know nothing of the future."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from inference.forecast.arrays import arrays_of
from inference.forecast.model import ForecastModel
from inference.forecast.queries import Queries
from training.forecast.acceptance import accept, auc, claim, new_progression, progression_score
from training.forecast.cohorts import MIX_REF_1, REFERENCE_COHORTS, SURV_REF_1, CohortChanged
from training.forecast.prior_fit import fit_prior
from training.forecast.windows import windows_of
from training.simulate.histories import SimulatedHistories


@pytest.mark.parametrize("name", sorted(REFERENCE_COHORTS))
def test_frozen_cohorts_draw_the_same_patients(name: str) -> None:
    cohort = REFERENCE_COHORTS[name]
    assert cohort.probe_sha256() == cohort.sha256
    with pytest.raises(CohortChanged, match=name):
        dataclasses.replace(cohort, seed=cohort.seed + 1).simulate(1)


def test_the_surveillance_cohort_is_small_and_slow() -> None:
    simulated = SURV_REF_1.simulate(200)
    volumes = np.array([v for t in simulated.truth.truth.values() for v in t.target_cc])
    assert 4 < volumes.mean() < 10
    assert {str(p.tumour_type) for p in simulated.histories.patients} == {"ASTRO", "OLIGO", "MENING"}
    assert MIX_REF_1.seed != SURV_REF_1.seed


def test_claims_say_by_how_much_they_are_missed() -> None:
    assert claim(0.75, "<", 0.70)["missed_by"] == pytest.approx(0.05)
    assert claim(0.65, "<", 0.70)["passed"]
    assert claim(0.60, "<=", 0.60)["passed"]
    assert not claim(0.93, ">", 0.93)["passed"]


def test_auc_and_progression_scores_against_known_answers() -> None:
    assert auc(np.array([False, True, True]), np.array([0.1, 0.9, 0.8])) == 1
    assert auc(np.array([False, True, False, True]), np.array([1.0, 1.0, 0.0, 2.0])) == pytest.approx(0.875)
    quantiles = np.array([[8, 9, 10, 14, 16, 20, 24.0], [1, 2, 3, 4, 5, 6, 7.0]])
    score = progression_score(quantiles, np.array([10.0, 10.0]))
    assert score[0] == pytest.approx(0.5)
    assert 0 <= score[1] < 0.05


def test_new_progression_is_one_that_was_not_there_already(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:1])
    arrays.volume_ml[0, :4] = [10.0, 5.0, 9.0, 14.0]
    windows = windows_of(arrays)
    pair = {(o, t): k for k, (o, t) in enumerate(zip(windows.queries.scans, windows.target, strict=True))}
    may, does, nadir = new_progression(arrays, windows)
    assert may[pair[1, 2]] and does[pair[1, 2]] and nadir[pair[1, 2]] == 5
    assert not may[pair[2, 3]], "at the origin the volume is 80 % over the nadir already"


def test_acceptance_holds_every_claim_against_its_cohort(small_model: ForecastModel) -> None:
    found = accept(small_model, patients=60)
    claims = found["claims"]
    assert {name[:2] for name in claims} == {"T1", "T2", "T3", "T4"}
    assert claims["T1 last value fails"]["limit"] == "> 0.8"
    methods = found["SURV-REF-1"]["3mo"]["methods"]
    assert {"model", "last_value", "population_prior", "linear_all"} <= set(methods)
    assert found["MIX-REF-1"]["3mo"]["floor_mae_ml"] < methods["model"]["mae_ml"] * 3


def test_other_futures_leave_forecasts_as_they_are_to_the_bit(
    small_model: ForecastModel, fresh: SimulatedHistories
) -> None:
    """Scans after the origin are shuffled among patients and blown up; nothing of it may reach a forecast."""
    arrays = arrays_of(fresh.histories.patients[:40])
    known = 3
    queries = Queries(np.arange(40), np.full(40, known - 1), np.full(40, 120.0))
    before = small_model.quantiles_ml(arrays, queries)
    order = np.random.default_rng(4).permutation(40)
    changed = dataclasses.replace(
        arrays,
        volume_ml=_later(arrays.volume_ml, order, known) * 1.0,
        features=_later(arrays.features, order, known),
        sd_ln=_later(arrays.sd_ln, order, known),
        whole_ml=_later(arrays.whole_ml, order, known),
    )
    assert not np.array_equal(changed.volume_ml, arrays.volume_ml)
    assert np.array_equal(small_model.quantiles_ml(changed, queries), before)
    late = Queries(queries.rows, np.full(40, known), queries.horizon_days)
    assert not np.array_equal(small_model.quantiles_ml(changed, late), small_model.quantiles_ml(arrays, late))


def test_the_prior_is_fitted_on_training_patients_only(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:60])
    train = np.arange(40)
    spoilt = dataclasses.replace(arrays, volume_ml=np.where(np.arange(60)[:, None] < 40, arrays.volume_ml, 99.0))
    first, again = fit_prior(arrays, train, 0), fit_prior(spoilt, train, 0)
    assert np.array_equal(first.theta, again.theta)


def _later(values: np.ndarray, order: np.ndarray, known: int) -> np.ndarray:
    found = values.copy()
    found[:, known:] = values[order][:, known:]
    return found

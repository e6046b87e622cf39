"""The population prior: shrinkage, treatment, surgery, and a round trip through JSON."""

from __future__ import annotations

import numpy as np
import pytest

from inference.forecast.arrays import TUMOUR_TYPES, PatientArrays, arrays_of
from inference.forecast.prior import PopulationPrior
from longitudinal.features import DAYS_PER_MONTH, ScanQuantities, feature_vector
from longitudinal.histories import Patient, Scan, Treatment, Volumes
from longitudinal.types import TumourType
from training.forecast.prior_fit import START, fit_prior
from training.simulate.histories import SimulatedHistories


def patient(
    volumes: list[float], days: list[int] | None = None, treatments: tuple[Treatment, ...] = (), pid: str = "p"
) -> Patient:
    days = days or [90 * n for n in range(len(volumes))]
    features = feature_vector(
        ScanQuantities(
            target_ml=np.array(volumes),
            enhancing_ml=np.array(volumes),
            necrotic_ml=0.0,
            oedema_ml=5.0,
            longest_mm=25.0,
            sphericity=0.7,
            days_from_baseline=np.array(days, dtype=float),
            interval_days=np.diff(np.array(days, dtype=float), prepend=0.0),
            had_rt=False,
            rt_now=False,
            chemo_now=False,
            antiangiogenic_now=False,
            days_since_rt=np.nan,
        )
    )
    scans = tuple(
        Scan(
            t=day,
            volume_cc=Volumes(enhancing=ml, necrotic=0.0, oedema=5.0),
            target_cc=ml,
            target_sd_ln=0.08,
            features=tuple(row),
        )
        for day, ml, row in zip(days, volumes, features.tolist(), strict=True)
    )
    return Patient(pid=pid, tumour_type=TumourType.GBM, treatments=treatments, scans=scans)


PRIOR = PopulationPrior(np.tile(START, (len(TUMOUR_TYPES), 1)))


def predict(prior: PopulationPrior, arrays: PatientArrays, days: float) -> tuple[float, float, float]:
    last = int(arrays.count[0]) - 1
    state = prior.filter(arrays).at((np.array([0]), np.array([last])))
    found = prior.predict(state, arrays.tumour, np.array([days]), np.zeros((1, 4)), arrays.sd_ln[:, last])
    return float(found.mean[0]), float(found.sd[0]), float(found.slope[0])


def test_growth_is_learnt_but_shrunk_to_the_population() -> None:
    growing = arrays_of([patient([5.0, 7.0, 9.8])])
    own = np.log(1.4) / (90 / DAYS_PER_MONTH)
    slope = predict(PRIOR, growing, 90)[2]
    assert START[3] < slope < own
    shorter = predict(PRIOR, arrays_of([patient([5.0, 7.0])]), 90)[2]
    assert START[3] < shorter < slope


def test_uncertainty_grows_with_the_horizon_and_falls_with_history() -> None:
    short, long = arrays_of([patient([10.0])]), arrays_of([patient([10.0, 10.0, 10.0, 10.0])])
    assert predict(PRIOR, short, 30)[1] < predict(PRIOR, short, 180)[1] < predict(PRIOR, short, 400)[1]
    assert predict(PRIOR, long, 180)[1] < predict(PRIOR, short, 180)[1]


def test_surgery_starts_the_patient_anew() -> None:
    surgery = Treatment(kind="surgery", decided=100, start=120, stop=120)
    resected = patient([40.0, 60.0, 4.0], treatments=(surgery,))
    mean = predict(PRIOR, arrays_of([resected]), 7)[0]
    assert np.exp(mean) == pytest.approx(4.0, rel=0.1)
    unexplained = predict(PRIOR, arrays_of([patient([40.0, 60.0, 4.0])]), 90)[0]
    assert unexplained < predict(PRIOR, arrays_of([resected]), 90)[0]


def test_predictions_level_off_below_the_size_of_a_head() -> None:
    racing = arrays_of([patient([30.0, 60.0, 120.0])])
    assert np.exp(predict(PRIOR, racing, 400)[0]) < 200


def test_filtering_together_is_filtering_alone() -> None:
    patients = [patient([5.0, 6.0], pid="a"), patient([9.0, 8.0, 12.0, 3.0], pid="b"), patient([7.0], pid="c")]
    together = PRIOR.filter(arrays_of(patients))
    for row, one in enumerate(patients):
        alone = PRIOR.filter(arrays_of([one]))
        n = len(one.scans)
        for a, b in zip(alone.values, together.values, strict=True):
            np.testing.assert_array_equal(a[0], b[row, :n])


def test_fit_is_reproducible_and_finds_that_radiotherapy_shrinks(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients)
    rows = np.flatnonzero(arrays.tumour == TUMOUR_TYPES.index(TumourType.METASTASIS))
    fitted = fit_prior(arrays, rows, seed=1)
    assert np.array_equal(fitted.theta, fit_prior(arrays, rows, seed=1).theta)
    metastasis = fitted.to_json()["BM"]
    assert metastasis["rt_per_month"] < -0.1
    # Types without patients stay at the weakly informative start.
    assert fitted.to_json()["MENING"]["slope_mean"] == pytest.approx(START[3])
    np.testing.assert_allclose(PopulationPrior.from_json(fitted.to_json()).theta, fitted.theta, rtol=1e-6)

"""Scores of quantile forecasts in ml, and their uncertainty by resampling patients (windows of one patient are not
independent)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.forecast.arrays import Floats, Ints
from inference.forecast.network import MEDIAN, QUANTILES

RESAMPLES = 2000
_LEVELS = np.array(QUANTILES)
# Width of the probability that each of the seven levels stands for in the integral of the pinball loss.
CRPS_WEIGHTS = np.array([0.075, 0.10, 0.20, 0.25, 0.20, 0.10, 0.075])
CRPS_WEIGHTS = CRPS_WEIGHTS / CRPS_WEIGHTS.sum()
_CHUNK = 200


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval over patients."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        return [rounded(self.value), rounded(self.low), rounded(self.high)]


def crps(measured_ml: Floats, quantiles_ml: Floats) -> Floats:
    """Continuous ranked probability score of each forecast from its seven quantiles, in ml."""
    error = measured_ml[:, None] - quantiles_ml
    pinball = np.maximum(_LEVELS * error, (_LEVELS - 1) * error)
    return np.asarray(2 * (pinball * CRPS_WEIGHTS).sum(axis=1))


def scores(measured_ml: Floats, quantiles_ml: Floats, last_ml: Floats) -> dict[str, float]:
    """MAE and R2 of the median, R2 of the change since the last scan, CRPS, coverage and median width of the
    outer interval; ml where it has a unit."""
    median = quantiles_ml[:, MEDIAN]
    low, high = quantiles_ml[:, 0], quantiles_ml[:, -1]
    error = measured_ml - median
    return {
        "mae_ml": rounded(np.abs(error).mean()),
        "median_ae_ml": rounded(np.median(np.abs(error))),
        "r2": rounded(_r2(error, measured_ml - measured_ml.mean())),
        "r2_of_change": rounded(_r2(error, measured_ml - last_ml)),
        "crps_ml": rounded(crps(measured_ml, quantiles_ml).mean()),
        "coverage": rounded(((measured_ml >= low) & (measured_ml <= high)).mean()),
        "median_width_ml": rounded(np.median(high - low)),
    }


def observed_levels(measured_ml: Floats, quantiles_ml: Floats) -> list[float]:
    """Share of measured volumes at or below each quantile; calibrated forecasts give `QUANTILES` back."""
    return [rounded(v) for v in (measured_ml[:, None] <= quantiles_ml).mean(axis=0)]


def paired(
    loss: Floats, reference: Floats, patients: Ints, seed: int = 0, level: float = 0.95
) -> dict[str, list[float]]:
    """Mean of `loss`, mean of `loss - reference`, and the latter relative to the reference, each with the interval
    of `level`."""
    total, other, number = _by_patient(patients, loss, reference)
    draws = _resample(len(number), seed)
    mean, base = draws @ total / (draws @ number), draws @ other / (draws @ number)
    whole, whole_base = total.sum() / number.sum(), other.sum() / number.sum()
    return {
        "mean": _interval(whole, mean, level).to_json(),
        "difference": _interval(whole - whole_base, mean - base, level).to_json(),
        "relative": _interval(whole / whole_base - 1, mean / base - 1, level).to_json(),
    }


def mean_interval(values: Floats, patients: Ints, seed: int = 0) -> Interval:
    """Mean over windows with its interval."""
    total, _, number = _by_patient(patients, values, values)
    draws = _resample(len(number), seed)
    return _interval(total.sum() / number.sum(), draws @ total / (draws @ number))


def rounded(value: float) -> float:
    """Four significant digits: more would claim what no test set of this size can show."""
    return float(f"{value:.4g}") if abs(value) > 1e-4 else 0.0


def _r2(error: Floats, spread: Floats) -> float:
    total = float((spread**2).sum())
    return 1 - float((error**2).sum()) / total if total > 0 else float("nan")


def _by_patient(patients: Ints, first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
    _, code = np.unique(patients, return_inverse=True)
    code = code.ravel()
    number = np.bincount(code).astype(np.float64)
    return np.asarray(np.bincount(code, first), float), np.asarray(np.bincount(code, second), float), number


def _resample(patients: int, seed: int) -> Floats:
    """How often each patient is drawn in each resample: (resamples, patients)."""
    rng = np.random.default_rng(seed)
    share = np.full(patients, 1 / patients)
    draws = [rng.multinomial(patients, share, _CHUNK) for _ in range(RESAMPLES // _CHUNK)]
    return np.concatenate(draws).astype(np.float64)


def _interval(value: float, draws: Floats, level: float = 0.95) -> Interval:
    low, high = np.percentile(draws, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(value), float(low), float(high))

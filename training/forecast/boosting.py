"""Quantile boosting on the same inputs as the network's head: a permanent challenger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from inference.forecast.arrays import FLOOR_ML, Floats, PatientArrays
from inference.forecast.network import QUANTILES
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import context_of
from training.forecast.windows import Windows

MOST_WINDOWS = 20_000
_LN_RANGE = (np.log(0.05), np.log(400.0))


@dataclass(frozen=True)
class QuantileBoosting:
    """One regressor for each quantile of ln(volume / last volume)."""

    regressors: tuple[Any, ...]
    prior: PopulationPrior

    @classmethod
    def fit(
        cls, arrays: PatientArrays, windows: Windows, prior: PopulationPrior, rounds: int = 80, seed: int = 0
    ) -> Self:
        """Fit to windows of training patients; more than 20,000 windows are sampled."""
        if len(windows) > MOST_WINDOWS:
            chosen = np.random.default_rng(seed).choice(len(windows), MOST_WINDOWS, replace=False)
            windows = windows.where(np.sort(chosen))
        inputs = _inputs(arrays, windows, prior)
        last = np.log(np.maximum(windows.last_ml, FLOOR_ML))
        target = np.log(np.maximum(windows.measured_ml, FLOOR_ML)) - last
        # Errors count in ml in the end; the square root keeps small tumours from being free.
        weight = np.exp(0.5 * last)
        leaf = max(20, len(windows) // 200)
        regressors = [
            HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                max_iter=rounds,
                learning_rate=0.07,
                max_leaf_nodes=15,
                min_samples_leaf=leaf,
                l2_regularization=1.0,
                random_state=seed,
            ).fit(inputs, target, weight)
            for level in QUANTILES
        ]
        return cls(tuple(regressors), prior)

    def quantiles_ml(self, arrays: PatientArrays, windows: Windows) -> Floats:
        """Quantiles in ml, (windows, 7)."""
        inputs = _inputs(arrays, windows, self.prior)
        last = np.log(np.maximum(windows.last_ml, FLOOR_ML))
        ln = np.stack([last + r.predict(inputs) for r in self.regressors], axis=1)
        return np.asarray(np.exp(np.clip(np.sort(ln, axis=1), *_LN_RANGE)))


def _inputs(arrays: PatientArrays, windows: Windows, prior: PopulationPrior) -> Floats:
    return context_of(arrays, prior.filter(arrays), prior, windows.queries).inputs

"""Gompertz growth with shrinkage: every tumour heads for a size of its own, drawn from a population.

In ln volume the Gompertz law is linear, d ln V / dt = -rate (ln V - goal), so a patient's goal has a closed-form
posterior under a normal population (Vaghi et al., PLOS Comput Biol 2020;16:e1007178, fit such a model by sampling).
Four numbers are fitted by maximum likelihood on training patients; residual quantiles are empirical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize

from inference.forecast.arrays import FLOOR_ML, Floats, PatientArrays
from inference.forecast.calibration import HORIZON_BINS, horizon_bin
from inference.forecast.network import MEDIAN, QUANTILES
from longitudinal.features import DAYS_PER_MONTH
from training.forecast.windows import Windows

_START = np.array([-3.5, 2.0, 0.0, -1.5])
_SPREAD = np.array([1.5, 3.0, 1.0, 1.0])


@dataclass(frozen=True)
class GompertzShrinkage:
    """`theta`: ln rate per month, mean goal (ln ml), ln SD of goals, ln SD of a change over one month; `residuals`
    (horizon bins, 7) are quantiles of ln(measured / forecast)."""

    theta: Floats
    residuals: Floats

    @classmethod
    def fit(cls, arrays: PatientArrays, windows: Windows) -> Self:
        """Fit to windows of training patients."""

        def cost(theta: Floats) -> float:
            mean, sd = _predict(theta, arrays, windows)
            error = np.log(np.maximum(windows.measured_ml, FLOOR_ML)) - mean
            surprise = np.log1p((error / sd) ** 2 / 4) * 2.5
            return float((surprise + np.log(sd)).mean() + 0.01 * (((theta - _START) / _SPREAD) ** 2).sum())

        theta = minimize(cost, _START, method="Nelder-Mead", options={"maxfev": 250}).x
        error = np.log(np.maximum(windows.measured_ml, FLOOR_ML)) - _predict(theta, arrays, windows)[0]
        bins = horizon_bin(windows.queries.horizon_days)
        table = [
            np.quantile(error[bins == b] if (bins == b).any() else error, QUANTILES) for b in range(len(HORIZON_BINS))
        ]
        return cls(theta, np.array(table))

    def quantiles_ml(self, arrays: PatientArrays, windows: Windows) -> Floats:
        """Quantiles in ml, (windows, 7)."""
        mean, _ = _predict(self.theta, arrays, windows)
        offset = self.residuals[horizon_bin(windows.queries.horizon_days)].copy()
        offset[:, MEDIAN] = 0.0
        return np.exp(np.clip(np.sort(mean[:, None] + offset, axis=1), -3, 6))


def _predict(theta: Floats, arrays: PatientArrays, windows: Windows) -> tuple[Floats, Floats]:
    rate, goal_sd, step_sd = np.exp(np.clip(theta[[0, 2, 3]], -8, 3))
    goal = _goals(rate, float(theta[1]), goal_sd, step_sd, arrays)[windows.queries.index]
    months = windows.queries.horizon_days / DAYS_PER_MONTH
    kept = np.exp(-rate * months)
    last = np.log(np.maximum(windows.last_ml, FLOOR_ML))
    return goal + (last - goal) * kept, step_sd * np.sqrt(months) + 0.05


def _goals(rate: float, mean: float, goal_sd: float, step_sd: float, arrays: PatientArrays) -> Floats:
    """Posterior mean of each patient's goal after each scan, (patients, scans)."""
    y, months = arrays.ln_volume, arrays.days / DAYS_PER_MONTH
    gap = np.maximum(np.diff(months, axis=1), 0.03)
    kept = np.exp(-rate * gap)
    told = (y[:, 1:] - kept * y[:, :-1]) * (1 - kept)
    noise = step_sd**2 * gap
    weight = np.cumsum((1 - kept) ** 2 / noise, axis=1)
    weighted = np.cumsum(told / noise, axis=1)
    after = (mean / goal_sd**2 + weighted) / (1 / goal_sd**2 + weight)
    return np.concatenate([np.full((len(y), 1), mean), after], axis=1)

"""Several quantile forecasts as one: weights in quantile space, then one conformal factor on the widths.

Weights are convex, so the stack can be the last value alone and do no harm; they are set on forecasts of patients
that the experts were not fitted on, and drawn towards the last value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize

from inference.forecast.arrays import FLOOR_ML, Floats, Ints
from inference.forecast.network import MEDIAN
from training.forecast.metrics import crps

_CAUTION = 0.03
"""By how much (relative CRPS) the stack must gain for all weight to leave the last value."""
_FACTORS = (0.7, 1.6)
_PATIENTS_FOR_HALF_TRUST = 100
"""A conformal factor of fewer patients is drawn towards 1: of forty it is mostly noise, which CRPS pays for."""


@dataclass(frozen=True)
class Stack:
    """`weights` of the experts named in `names`, and `factor` on the distances from the median in ln volume."""

    names: tuple[str, ...]
    weights: Floats
    factor: float

    @classmethod
    def fit(
        cls,
        experts: Mapping[str, Floats],
        measured_ml: Floats,
        patients: Ints,
        coverage: float = 0.90,
        anchor: str = "last_value",
    ) -> Self:
        """Set weights and factor on out-of-fold quantiles (windows, 7) of each expert, in ml."""
        names = tuple(experts)
        stacked = np.stack([experts[n] for n in names])
        _, code, number = np.unique(patients, return_inverse=True, return_counts=True)
        share = 1 / np.sqrt(number[code.ravel()])
        base = float((share * crps(measured_ml, experts[anchor])).sum())
        away = np.array([n != anchor for n in names], dtype=float)

        def cost(raw: Floats) -> float:
            weights = _softmax(raw)
            mixed = np.einsum("e,ewq->wq", weights, stacked)
            return float((share * crps(measured_ml, mixed)).sum()) / base + _CAUTION * float(weights @ away)

        starts = [np.where(np.arange(len(names)) == k, 2.0, 0.0) for k in range(len(names))]
        found = min(
            (minimize(cost, s, method="L-BFGS-B", options={"maxiter": 60}) for s in starts), key=lambda f: f.fun
        )
        weights = _softmax(found.x)
        weights = np.where(weights < 0.02, 0.0, weights)
        weights /= weights.sum()
        mixed = np.einsum("e,ewq->wq", weights, stacked)
        trust = len(number) / (len(number) + _PATIENTS_FOR_HALF_TRUST)
        return cls(names, weights, _factor(mixed, measured_ml, coverage) ** trust)

    def quantiles_ml(self, experts: Mapping[str, Floats]) -> Floats:
        """The stacked quantiles in ml of the experts' quantiles, (windows, 7)."""
        return widened(sum((w * experts[n] for n, w in zip(self.names, self.weights, strict=True)), 0.0), self.factor)

    def to_json(self) -> dict[str, Any]:
        weights = {n: round(float(w), 4) for n, w in zip(self.names, self.weights, strict=True)}
        return {"weights": weights, "factor": round(self.factor, 4)}


def widened(quantiles_ml: Floats | float, factor: float) -> Floats:
    """Distances from the median of ln volume times `factor`."""
    ln = np.log(np.maximum(quantiles_ml, FLOOR_ML / 2))
    median = ln[:, MEDIAN : MEDIAN + 1]
    return np.asarray(np.exp(median + factor * (ln - median)))


def best_factor(quantiles_ml: Floats, measured_ml: Floats) -> float:
    """The factor on the widths with the least CRPS: one number, which few patients settle."""
    factors = np.geomspace(0.5, 5.0, 24)
    return float(factors[int(np.argmin([crps(measured_ml, widened(quantiles_ml, f)).mean() for f in factors]))])


def covered(measured_ml: Floats, quantiles_ml: Floats) -> Floats:
    """1 where the measured volume lies in the outer interval; a bound too small to be found in a scan is 0."""
    low = np.where(quantiles_ml[:, 0] <= FLOOR_ML, 0.0, quantiles_ml[:, 0])
    high = np.maximum(quantiles_ml[:, -1], FLOOR_ML)
    return ((measured_ml >= low) & (measured_ml <= high)).astype(np.float64)


def _factor(quantiles_ml: Floats, measured_ml: Floats, coverage: float) -> float:
    """The conformal quantile of how many half-widths a measured volume lies from the median."""
    ln = np.log(np.maximum(quantiles_ml, FLOOR_ML / 2))
    error = np.log(np.maximum(measured_ml, FLOOR_ML)) - ln[:, MEDIAN]
    half = np.where(error > 0, ln[:, -1] - ln[:, MEDIAN], ln[:, MEDIAN] - ln[:, 0])
    scores = np.abs(error) / np.maximum(half, 1e-3)
    level = min(np.ceil((len(scores) + 1) * coverage) / len(scores), 1.0)
    return float(np.clip(np.quantile(scores, level, method="higher"), *_FACTORS))


def _softmax(raw: Sequence[float] | Floats) -> Floats:
    value = np.exp(np.asarray(raw) - np.max(raw))
    return np.asarray(value / value.sum())

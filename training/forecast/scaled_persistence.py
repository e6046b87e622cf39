"""The last value with a spread and a drift of its own for each forecast: persistence, but honest about when it errs.

The quantiles of ln(volume / last volume) are `drift + spread * shape`, where drift and ln spread are linear in a few
numbers of the history and the shape is seven ordered numbers. All are fitted to the CRPS in ml, which is what is
reported, and drawn towards plain persistence by a ridge. With twenty-odd numbers it can be fitted to fifty patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from inference.forecast.arrays import FLOOR_ML, Floats, PatientArrays
from inference.forecast.network import MEDIAN, QUANTILES
from inference.forecast.queries import Queries, history_numbers, planned_exposure
from longitudinal.features import DAYS_PER_MONTH
from training.forecast.metrics import CRPS_WEIGHTS
from training.forecast.windows import Windows

NAMES = ("level", "small", "horizon", "rate", "unrest", "single", "below_peak", "treated", "age")
DRIFT = ("level", "horizon", "rate", "below_peak", "treated", "small")
SPREAD = ("level", "small", "horizon", "unrest", "single", "treated", "age")
_STEPS = 60
_LN_RANGE = (np.log(0.05), np.log(400.0))


@dataclass(frozen=True)
class ScaledPersistence:
    """`drift` and `spread` in the order of `DRIFT` and `SPREAD` with the constant last, `shape` (7,)."""

    drift: Floats
    spread: Floats
    shape: Floats
    centre: Floats
    scale: Floats

    @classmethod
    def fit(cls, arrays: PatientArrays, windows: Windows, ridge: float = 0.1, drift_ridge: float = 0.5) -> Self:
        """Fit to the windows of training patients; each patient counts the same however many windows it has."""
        x = covariates(arrays, windows.queries)
        centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-3
        fitted = _minimise((x - centre) / scale, windows, ridge, drift_ridge)
        drift, spread, shape = (p.detach().numpy() for p in fitted)
        return cls(drift, spread, shape, centre, scale)

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Self:
        """As `to_json` wrote it."""
        return cls(*(np.array(card[name]) for name in ("drift", "spread", "shape", "centre", "scale")))

    def to_json(self) -> dict[str, list[float]]:
        return {name: np.round(value, 6).tolist() for name, value in vars(self).items()}

    def quantiles_ml(self, arrays: PatientArrays, windows: Windows) -> Floats:
        """Quantiles in ml, (windows, 7)."""
        x = torch.from_numpy((covariates(arrays, windows.queries) - self.centre) / self.scale)
        parameters = [torch.from_numpy(v) for v in (self.drift, self.spread, self.shape)]
        ln = _ln_quantiles(x, _last_ln(windows), *parameters).numpy()
        return np.asarray(np.exp(np.clip(np.sort(ln, axis=1), *_LN_RANGE)))


def covariates(arrays: PatientArrays, queries: Queries) -> Floats:
    """What drift and spread depend on, (queries, 9) in the order of `NAMES`; read from scans up to the origin."""
    y = arrays.ln_volume[queries.index]
    numbers = history_numbers(arrays)[queries.index]
    months = queries.horizon_days / DAYS_PER_MONTH
    planned = planned_exposure(arrays, queries)
    columns = (
        y,
        np.exp(-np.maximum(arrays.volume_ml[queries.index], FLOOR_ML) / 2),
        np.log(months),
        np.clip(numbers[:, 4], -2, 2) * np.minimum(months / 3, 2),
        np.log(0.1 + _unrest(arrays)[queries.index]),
        queries.scans == 0,
        np.clip(numbers[:, 3], 0, 3),
        np.clip(planned[:, :3].sum(axis=1), 0, 3),
        np.log1p(arrays.days[queries.index] / 90),
    )
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def _unrest(arrays: PatientArrays) -> Floats:
    """Mean |change of ln volume| between scans up to each one; 0.3, a common value, before the second."""
    change = np.abs(np.diff(arrays.ln_volume, axis=1))
    total = np.cumsum(np.minimum(change, 2.0), axis=1)
    number = np.arange(1, change.shape[1] + 1)
    shrunk = (total + 0.3) / (number + 1)
    return np.concatenate([np.full((len(change), 1), 0.3), shrunk], axis=1)


def _last_ln(windows: Windows) -> Tensor:
    return torch.from_numpy(np.log(np.maximum(windows.last_ml, FLOOR_ML)))


def _ln_quantiles(x: Tensor, last: Tensor, drift: Tensor, spread: Tensor, shape: Tensor) -> Tensor:
    places = [NAMES.index(n) for n in DRIFT], [NAMES.index(n) for n in SPREAD]
    moved = x[:, places[0]] @ drift[:-1] + drift[-1]
    width = torch.exp((x[:, places[1]] @ spread[:-1] + spread[-1]).clamp(-4, 2))
    return last[:, None] + moved[:, None] + width[:, None] * shape[None]


def _minimise(x: Floats, windows: Windows, ridge: float, drift_ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    inputs, last = torch.from_numpy(x), _last_ln(windows)
    measured = torch.from_numpy(windows.measured_ml)
    # A large tumour must not rule the fit alone, nor a small one be free: weight between ml and ln ml.
    weight = torch.exp(-0.5 * last) * _patient_weight(windows)
    ratio = np.log(np.maximum(windows.measured_ml, FLOOR_ML)) - last.numpy()
    start = np.quantile(ratio, QUANTILES)
    drift = torch.zeros(len(DRIFT) + 1, dtype=torch.float64, requires_grad=True)
    spread = torch.zeros(len(SPREAD) + 1, dtype=torch.float64, requires_grad=True)
    shape = torch.from_numpy(start - start[MEDIAN]).clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([drift, spread, shape], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        ln = _ln_quantiles(inputs, last, drift, spread, shape).clamp(*_LN_RANGE)
        cost = (weight * _crps(torch.exp(ln), measured)).sum() / weight.sum()
        penalty = drift_ridge * (drift**2).sum() + ridge * (spread[:-1] ** 2).sum()
        total = cost / scale + penalty
        torch.autograd.backward([total])
        return total

    with torch.no_grad():
        at_start = _crps(torch.exp(_ln_quantiles(inputs, last, drift, spread, shape)), measured)
        scale = float((weight * at_start).sum() / weight.sum())
    optimiser.step(loss)  # type: ignore[no-untyped-call]  # torch has no types here
    return drift, spread, torch.sort(shape)[0]


def _crps(quantiles: Tensor, measured: Tensor) -> Tensor:
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    error = measured[:, None] - quantiles
    return 2 * (torch.maximum(levels * error, (levels - 1) * error) * torch.from_numpy(CRPS_WEIGHTS)).sum(dim=1)


def _patient_weight(windows: Windows) -> Tensor:
    _, code, number = np.unique(windows.queries.rows, return_inverse=True, return_counts=True)
    return torch.from_numpy(1 / np.sqrt(number[code.ravel()].astype(np.float64)))

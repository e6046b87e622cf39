"""The forecasts that a model has to beat: last value, straight lines, and the population prior alone.

Point forecasts get the empirical quantiles of their log residuals on the training patients, by horizon and tumour
type: the strongest honest interval for them. They are stored with the model and stand beside it in every report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.stats import norm

from inference.forecast.arrays import FLOOR_ML, OTHER, TUMOUR_TYPES, Bools, Floats, PatientArrays
from inference.forecast.calibration import HORIZON_BINS, horizon_bin
from inference.forecast.network import QUANTILES
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import planned_exposure
from longitudinal.features import DAYS_PER_MONTH
from training.forecast.windows import Windows

POINT_METHODS = ("last_value", "linear_all", "linear_last3", "log_linear_last3")
_FEWEST = 100
_ML_RANGE = (0.1, 300.0)


@dataclass(frozen=True)
class Baselines:
    """Quantiles of ln(measured / point forecast) by method: arrays (types, horizon bins, 7)."""

    residuals: Mapping[str, Floats]

    @classmethod
    def fit(cls, arrays: PatientArrays, windows: Windows) -> Self:
        """Fit the residual quantiles on windows of training patients."""
        bins, kinds = horizon_bin(windows.queries.horizon_days), arrays.tumour[windows.queries.rows]
        residuals = {}
        for method in POINT_METHODS:
            point = point_forecast(method, arrays, windows)
            error = np.log(np.maximum(windows.measured_ml, FLOOR_ML) / point)
            residuals[method] = _table(error, kinds, bins)
        return cls(residuals)

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Self:
        """As `to_json` wrote them."""
        return cls({method: _for_all_types(np.array(table)) for method, table in card.items()})

    def to_json(self) -> dict[str, Any]:
        return {method: np.round(table, 5).tolist() for method, table in self.residuals.items()}

    def quantiles_ml(self, method: str, arrays: PatientArrays, windows: Windows) -> Floats:
        """Quantiles of one method in ml, (windows, 7)."""
        point = point_forecast(method, arrays, windows)
        bins, kinds = horizon_bin(windows.queries.horizon_days), arrays.tumour[windows.queries.rows]
        table = self.residuals[method]
        quantiles = point[:, None] * np.exp(table[kinds, bins])
        # The median stays the method's own forecast: its error in ml is what the method is known for.
        quantiles[:, 3] = point
        return np.clip(np.sort(quantiles, axis=1), *_ML_RANGE)


def _for_all_types(table: Floats) -> Floats:
    """The table of a model that knew fewer types, those it did not know taken as OTHER."""
    missing = len(TUMOUR_TYPES) - len(table)
    return np.concatenate([table, np.repeat(table[OTHER : OTHER + 1], missing, axis=0)]) if missing else table


def prior_quantiles_ml(prior: PopulationPrior, arrays: PatientArrays, windows: Windows) -> Floats:
    """Quantiles of the population prior alone, in ml, (windows, 7)."""
    queries = windows.queries
    states = prior.filter(arrays).at(queries.index)
    planned = planned_exposure(arrays, queries)
    found = prior.predict(
        states, arrays.tumour[queries.rows], queries.horizon_days, planned, arrays.sd_ln[queries.index]
    )
    ln = found.mean[:, None] + found.sd[:, None] * norm.ppf(QUANTILES)
    return np.clip(np.exp(ln), *_ML_RANGE)


def point_forecast(method: str, arrays: PatientArrays, windows: Windows) -> Floats:
    """Point forecasts in ml, one per window."""
    last = np.maximum(windows.last_ml, FLOOR_ML)
    if method == "last_value":
        return last
    origin = windows.queries.scans[:, None]
    number = np.arange(arrays.days.shape[1])[None]
    used = number <= origin
    if method != "linear_all":
        used &= number > origin - 3
    values = arrays.ln_volume if method.startswith("log") else arrays.volume_ml
    line = _line(arrays.days[windows.queries.rows], values[windows.queries.rows], used, windows)
    if method.startswith("log"):
        line = np.exp(np.clip(line, -3.0, 7.0))
    return np.clip(line, *_ML_RANGE)


def _line(days: Floats, values: Floats, used: Bools, windows: Windows) -> Floats:
    """Least squares through the used scans, read off at the target; a single scan gives its own value."""
    months = days / DAYS_PER_MONTH
    weight = used / used.sum(axis=1, keepdims=True)
    centre, level = (months * weight).sum(axis=1), (values * weight).sum(axis=1)
    away = (months - centre[:, None]) * weight
    spread = (away * (months - centre[:, None])).sum(axis=1)
    slope = np.where(spread > 1e-6, (away * values).sum(axis=1) / np.maximum(spread, 1e-6), 0.0)
    rows = np.arange(len(windows))
    target = months[rows, windows.queries.scans] + windows.queries.horizon_days / DAYS_PER_MONTH
    return np.asarray(level + slope * (target - centre))


def _table(error: Floats, kinds: np.ndarray[Any, Any], bins: np.ndarray[Any, Any]) -> Floats:
    table = np.zeros((len(TUMOUR_TYPES), len(HORIZON_BINS), len(QUANTILES)))
    for column in range(len(HORIZON_BINS)):
        here = bins == column
        pooled = np.quantile(error[here], QUANTILES) if here.any() else np.zeros(len(QUANTILES))
        for code in range(len(TUMOUR_TYPES)):
            mine = here & (kinds == code)
            typed = code != OTHER and mine.sum() >= _FEWEST
            table[code, column] = np.quantile(error[mine], QUANTILES) if typed else pooled
    return table

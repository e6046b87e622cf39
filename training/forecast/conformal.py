"""Split conformal calibration on patients that neither the network nor its early stop has seen."""

from __future__ import annotations

import dataclasses

import numpy as np

from inference.forecast.arrays import OTHER, TUMOUR_TYPES, Floats, PatientArrays
from inference.forecast.calibration import HORIZON_BINS, Calibration, at_horizon, horizon_bin
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN
from training.forecast.windows import Windows

FEWEST_WINDOWS = 150
FEWEST_PATIENTS = 30
_SMALLEST_WIDTH = 1e-3
_PASSES = 2


def calibrate(model: ForecastModel, arrays: PatientArrays, windows: Windows, coverage: float) -> Calibration:
    """The calibration that gives `coverage` on these windows, for each type and horizon bin.

    A type with too few windows or patients in a bin takes the factor of all types together. OTHER is calibrated on
    every patient shown without type. Factors are interpolated between bins and widths kept from falling, which
    shifts the coverage a little: a second pass measures what came out and corrects it.
    """
    calibration = Calibration(np.ones((len(TUMOUR_TYPES), len(HORIZON_BINS))), coverage)
    for _ in range(_PASSES):
        now = dataclasses.replace(model, calibration=calibration)
        factors = calibration.factors * _correction(now, arrays, windows, coverage)
        calibration = Calibration(factors, coverage)
    return calibration


def _correction(model: ForecastModel, arrays: PatientArrays, windows: Windows, coverage: float) -> Floats:
    """By how much the widths of the model are to be multiplied, (types, bins)."""
    factors = np.ones((len(TUMOUR_TYPES), len(HORIZON_BINS)))
    scores = _scores(model, arrays, windows)
    unknown = _scores(model, arrays.of_unknown_type(), windows)
    bins, rows = horizon_bin(windows.queries.horizon_days), windows.queries.rows
    kinds = arrays.tumour[rows]
    for column in range(len(HORIZON_BINS)):
        here = bins == column
        pooled = _level(scores[here], coverage)
        for code in range(len(TUMOUR_TYPES)):
            mine = here & (kinds == code)
            enough = mine.sum() >= FEWEST_WINDOWS and len(np.unique(rows[mine])) >= FEWEST_PATIENTS
            factors[code, column] = _level(scores[mine], coverage) if enough else pooled
        factors[OTHER, column] = _level(unknown[here], coverage)
    return factors


def _scores(model: ForecastModel, arrays: PatientArrays, windows: Windows) -> Floats:
    """How many half-widths of the interval each measured volume lies from the median."""
    origins, back = np.unique(np.stack(windows.queries.index), axis=1, return_inverse=True)
    grid = model.grid(arrays, origins[0], origins[1])
    quantiles = at_horizon(grid[back.ravel()], windows.queries.horizon_days)
    error = arrays.ln_volume[windows.queries.rows, windows.target] - quantiles[:, MEDIAN]
    upper, lower = quantiles[:, -1] - quantiles[:, MEDIAN], quantiles[:, MEDIAN] - quantiles[:, 0]
    return np.abs(error) / np.maximum(np.where(error > 0, upper, lower), _SMALLEST_WIDTH)


def _level(scores: Floats, coverage: float) -> float:
    """The conformal quantile with its correction for a finite number of scores."""
    n = len(scores)
    if n == 0:
        return 1.0
    return float(np.quantile(scores, min(np.ceil((n + 1) * coverage) / n, 1.0), method="higher"))

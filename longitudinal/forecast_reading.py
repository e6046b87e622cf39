"""A forecast on a day between its horizons: the one way in which forecasts are held against later scans."""

from __future__ import annotations

import numpy as np

from longitudinal.types import Forecast

FLOOR_ML = 0.1
"""Volumes below count as this in logarithms: a vanished tumour has none."""


def read_off(forecast: Forecast, days: int) -> tuple[float, float, float]:
    """Median, lower and upper bound (ml) so many days after the scan that the forecast was made at.

    Read on straight lines in ln volume that begin at the last observed volume and run through the horizons; beyond
    the last horizon its values stand.
    """
    horizons = [0, *(p.horizon_days for p in forecast.points)]

    def at(values: list[float]) -> float:
        ln = np.log(np.maximum([forecast.last_observed_ml, *values], FLOOR_ML / 2))
        return float(np.exp(np.interp(days, horizons, ln)))

    points = forecast.points
    return at([p.median_ml for p in points]), at([p.lower_ml for p in points]), at([p.upper_ml for p in points])

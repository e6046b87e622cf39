"""From raw quantiles on a grid of horizons to calibrated ones at any horizon, never narrower further out.

Split conformal calibration (Romano et al., NeurIPS 2019, in its scaled form) widens or narrows the distances from
the median by one factor per horizon and tumour type. Factors are interpolated over the horizon, since steps between
bins would let an interval shrink with time, and widths are kept from falling by a running maximum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Floats, Ints
from inference.forecast.network import MEDIAN
from longitudinal.types import TumourType

GRID_DAYS = np.array([7.0, *range(30, 421, 30)])
"""Horizons at which the network is asked; others are interpolated between them."""

MAXIMUM_HORIZON_DAYS = 411
"""13.5 months: the longest horizon that the model is trained for."""

HORIZON_BINS = {"1mo": (7, 45), "3mo": (45, 137), "6mo": (137, 229), "12mo": (229, 412)}
"""Days from (inclusive) and to (exclusive); the names are those of the reports."""

BIN_CENTRES = np.array([30.0, 91.0, 183.0, 320.0])


@dataclass(frozen=True)
class Calibration:
    """`factors`: (types, horizon bins); `coverage` is what the outer quantiles are calibrated to."""

    factors: Floats
    coverage: float = 0.90

    @classmethod
    def none(cls) -> Self:
        """No change of the raw quantiles."""
        return cls(np.ones((len(TUMOUR_TYPES), len(HORIZON_BINS))))

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Self:
        """The calibration as `to_json` wrote it; a type that it does not know has the factors of OTHER.

        Raises:
            KeyError: when OTHER or a bin is missing.
        """
        table = card["factors"]
        rows = [table.get(kind, table[TumourType.OTHER]) for kind in TUMOUR_TYPES]
        return cls(np.array([[row[name] for name in HORIZON_BINS] for row in rows]), float(card["coverage"]))

    def to_json(self) -> dict[str, Any]:
        """By type and horizon bin."""
        table = {
            str(kind): {name: float(f"{value:.6g}") for name, value in zip(HORIZON_BINS, row, strict=True)}
            for kind, row in zip(TUMOUR_TYPES, self.factors, strict=True)
        }
        return {"coverage": self.coverage, "factors": table}

    @property
    def id(self) -> str:
        """Names the table: the first 16 hex digits of its hash."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def apply(self, grid: Floats, tumour: Ints) -> Floats:
        """Calibrate ln quantiles (queries, horizons of `GRID_DAYS`, 7); `tumour` is the type of each query."""
        factor = np.stack([np.interp(GRID_DAYS, BIN_CENTRES, row) for row in self.factors])[tumour]
        median = grid[..., MEDIAN : MEDIAN + 1]
        # Once before the factors, so that they act on widths in order, and once after them.
        offset = never_narrower(grid - median) * factor[..., None]
        return np.asarray(median + never_narrower(offset))


def never_narrower(offset: Floats) -> Floats:
    """Distances from the median (queries, horizons, 7) with each one's size not falling over the horizons."""
    return np.asarray(np.sign(offset) * np.maximum.accumulate(np.abs(offset), axis=1))


def at_horizon(grid: Floats, horizon_days: Floats) -> Floats:
    """Interpolate (queries, horizons, 7) at one horizon per query: (queries, 7)."""
    days = np.clip(horizon_days, GRID_DAYS[0], GRID_DAYS[-1])
    right = np.clip(np.searchsorted(GRID_DAYS, days), 1, len(GRID_DAYS) - 1)
    left = right - 1
    weight = ((days - GRID_DAYS[left]) / (GRID_DAYS[right] - GRID_DAYS[left]))[:, None]
    query = np.arange(len(days))
    return np.asarray((1 - weight) * grid[query, left] + weight * grid[query, right])


def horizon_bin(horizon_days: Floats) -> Ints:
    """Index into `HORIZON_BINS` of each horizon."""
    edges = [low for low, _ in HORIZON_BINS.values()]
    return np.clip(np.searchsorted(edges, horizon_days, side="right") - 1, 0, len(edges) - 1).astype(np.int64)

"""The last value with empirical quantiles as a partner of the network: a share of each forecast that does no harm.

On patients unlike those it was trained with a network can be worse than the last value. A model brought to a site
therefore mixes both in quantile space, with a weight per tumour type that may be 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Floats, Ints
from inference.forecast.calibration import BIN_CENTRES, GRID_DAYS, HORIZON_BINS, never_narrower
from inference.forecast.network import MEDIAN
from longitudinal.types import TumourType


@dataclass(frozen=True)
class Persistence:
    """`weights` (types,) is the share of the network, `residuals` (types, horizon bins, 7) are quantiles of
    ln(measured / last value) with the median 0."""

    weights: Floats
    residuals: Floats

    @classmethod
    def none(cls) -> Self:
        """The network alone."""
        return cls(np.ones(len(TUMOUR_TYPES)), np.zeros((len(TUMOUR_TYPES), len(HORIZON_BINS), 7)))

    @classmethod
    def from_json(cls, card: Mapping[str, Any] | None) -> Self:
        """As `to_json` wrote it; None is the network alone. A type that it does not know has the values of OTHER.

        Raises:
            KeyError: when OTHER is missing.
        """
        if card is None:
            return cls.none()
        rows = [card.get(kind, card[TumourType.OTHER]) for kind in TUMOUR_TYPES]
        return cls(np.array([row["weight"] for row in rows]), np.array([row["residuals"] for row in rows]))

    def to_json(self) -> dict[str, Any] | None:
        """By type; None where the network is alone."""
        if (self.weights == 1).all():
            return None
        return {
            str(kind): {"weight": round(float(w), 4), "residuals": np.round(table, 5).tolist()}
            for kind, w, table in zip(TUMOUR_TYPES, self.weights, self.residuals, strict=True)
        }

    def grid(self, ln_last: Floats, tumour: Ints) -> Floats:
        """ln quantiles of the last value at `GRID_DAYS`, (queries, horizons, 7), never narrower further out."""
        table = self.residuals[tumour]
        over = np.stack([_interpolate(table[..., level]) for level in range(table.shape[2])], axis=-1)
        return np.asarray(ln_last[:, None, None] + never_narrower(over))

    def mix(self, grid: Floats, ln_last: Floats, tumour: Ints) -> Floats:
        """The network's calibrated ln quantiles (queries, horizons, 7) mixed in ml with those of the last value."""
        weight = self.weights[tumour][:, None, None]
        if (weight == 1).all():
            return grid
        mixed = np.log(weight * np.exp(grid) + (1 - weight) * np.exp(self.grid(ln_last, tumour)))
        median = mixed[..., MEDIAN : MEDIAN + 1]
        return np.asarray(median + never_narrower(mixed - median))


def _interpolate(levels: Floats) -> Floats:
    """(queries, bins) to (queries, horizons of `GRID_DAYS`)."""
    right = np.clip(np.searchsorted(BIN_CENTRES, GRID_DAYS), 1, len(BIN_CENTRES) - 1)
    left = right - 1
    share = np.clip((GRID_DAYS - BIN_CENTRES[left]) / (BIN_CENTRES[right] - BIN_CENTRES[left]), 0, 1)
    return np.asarray((1 - share) * levels[:, left] + share * levels[:, right])

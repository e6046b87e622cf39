"""What the network is told beside the scans: the patient's history in numbers, horizon, planned treatment, prior.

A query is (patient, scan it is made at, horizon). Everything here reads only scans up to that one, and of the
treatments after it only those decided by its day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.forecast.arrays import OTHER, TUMOUR_TYPES, Floats, Ints, PatientArrays
from inference.forecast.prior import PopulationPrior, Prediction, States
from longitudinal.features import DAYS_PER_MONTH

CONTEXT_SCHEMA = "tgf-context/1"
CONTEXT_WIDTH_WITHOUT_TYPE = 37
_RATE_LIMIT = 6.0


@dataclass(frozen=True)
class Queries:
    """Arrays of one length: row of the patient, index of the scan, horizon in days."""

    rows: Ints
    scans: Ints
    horizon_days: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def index(self) -> tuple[Ints, Ints]:
        return self.rows, self.scans


@dataclass(frozen=True)
class Context:
    """`inputs`: (queries, width) for the head of the network; `prior`: what the network corrects."""

    inputs: Floats
    prior: Prediction


def context_of(
    arrays: PatientArrays,
    states: States,
    prior: PopulationPrior,
    queries: Queries,
    types: int = len(TUMOUR_TYPES),
) -> Context:
    """The inputs of the head for each query; `states` are those of `prior.filter(arrays)`.

    `types` is the number of tumour types that the network knows; a type that came later is OTHER to it.
    """
    origin = arrays.days[queries.index]
    planned = planned_exposure(arrays, queries)
    tumour = arrays.tumour[queries.rows]
    at = states.at(queries.index)
    predicted = prior.predict(at, tumour, queries.horizon_days, planned, arrays.sd_ln[queries.index])
    months = queries.horizon_days / DAYS_PER_MONTH
    ahead = np.stack(
        [
            months / 6,
            np.log1p(months),
            predicted.mean - arrays.ln_volume[queries.index],
            predicted.slope * 3,
            np.log(predicted.sd),
            at.level - arrays.ln_volume[queries.index],
            np.sqrt(at.slope_var) * 3,
            origin / 365.25 / 2,
        ],
        axis=1,
    )
    kind = np.eye(types)[np.where(tumour < types, tumour, OTHER)]
    inputs = np.concatenate([ahead, planned / 3, kind, history_numbers(arrays)[queries.index]], axis=1)
    return Context(np.clip(inputs, -8.0, 8.0), predicted)


def planned_exposure(arrays: PatientArrays, queries: Queries) -> Floats:
    """Treatment inside each window that was decided by its origin: (queries, 4) as `EXPOSURES`."""
    origin = arrays.days[queries.index]
    return arrays.treatments.exposure(queries.rows, origin, origin + queries.horizon_days, known_by=origin)


def history_numbers(arrays: PatientArrays) -> Floats:
    """The history up to each scan in numbers: (patients, scans, width), causal along the scans."""
    y, months = arrays.ln_volume, arrays.days / DAYS_PER_MONTH
    last = y
    rate = _rates(y, months)
    before = np.concatenate([np.zeros_like(rate[:, :1]), rate[:, :-1]], axis=1)
    columns = [
        last / 3,
        last - y[:, :1],
        last - np.minimum.accumulate(y, axis=1),
        np.maximum.accumulate(y, axis=1) - last,
        rate,
        before,
        _slope(y, months, 3),
        _slope(y, months, y.shape[1]),
        np.diff(months, axis=1, prepend=months[:, :1]) / 3,
        np.broadcast_to(np.minimum(np.arange(y.shape[1]), 10) / 5, y.shape),
        (arrays.volume_ml < 0.1).astype(float),
        np.log(np.clip(arrays.sd_ln, 0.02, 1.0)),
    ]
    return np.concatenate([np.stack(columns, axis=-1), arrays.given / 3, arrays.features[..., 1:]], axis=-1)


def _rates(y: Floats, months: Floats) -> Floats:
    """Change of ln volume per quarter since the scan before, 0 at the first."""
    step = np.diff(y, axis=1) / np.maximum(np.diff(months, axis=1), 0.25) * 3
    return np.concatenate([np.zeros_like(y[:, :1]), np.clip(step, -_RATE_LIMIT, _RATE_LIMIT)], axis=1)


def _slope(y: Floats, months: Floats, scans: int) -> Floats:
    """Least-squares slope per quarter through the last `scans` scans up to each one."""

    def window(values: Floats) -> Floats:
        total = np.cumsum(values, axis=1)
        total[:, scans:] -= total[:, :-scans].copy()
        return total

    number = np.minimum(np.arange(y.shape[1]) + 1, scans)
    sum_t, sum_y = window(months), window(y)
    spread = window(months**2) - sum_t**2 / number
    slope = (window(months * y) - sum_t * sum_y / number) / np.maximum(spread, 0.05)
    return np.clip(slope * 3, -_RATE_LIMIT, _RATE_LIMIT)

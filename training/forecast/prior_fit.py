"""Composite likelihood of the population prior, one type at a time, on training patients only.

The prior is fitted to what it is used for: every scan predicts every later one up to 13.5 months ahead. Fitted one
scan ahead it would extrapolate short-lived growth over a year. Pairs of one patient overlap, so each counts a part.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize

from inference.forecast.arrays import OTHER, TUMOUR_TYPES, Floats, Ints, PatientArrays
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import planned_exposure
from training.forecast.windows import windows_of

START = np.array([-2.5, -3.0, 0.0, 0.02, -2.3, -1.8, -0.1, -0.02, -0.05])
"""Weakly informative centre of each parameter; also where a type without patients stays."""

_SPREAD = np.array([3.0, 3.0, 0.3, 0.3, 2.0, 1.0, 0.5, 0.5, 0.5])
_BOUNDS = (-12.0, 4.0)
_MOST_PATIENTS = 250
_REFIT_SPREAD = 0.4
_REFIT_EVALUATIONS = 500
"""How far, against a first fit, new patients may move the prior."""
_FEWEST_PATIENTS = 5
_OVERLAP = 4.0
_SURPRISE_CAP = 16.0


def refit_prior(prior: PopulationPrior, arrays: PatientArrays, rows: Ints, seed: int = 0) -> PopulationPrior:
    """The prior moved to the patients `rows` and shrunk to what it was; a type without patients stays.

    It removes most of the harm that a model trained elsewhere does.
    """
    theta = prior.theta.copy()
    rng = np.random.default_rng(seed)
    for code in np.unique(arrays.tumour[rows]):
        mine = rows[arrays.tumour[rows] == code]
        if len(mine) > _MOST_PATIENTS:
            mine = np.sort(rng.choice(mine, _MOST_PATIENTS, replace=False))
        if len(mine) >= _FEWEST_PATIENTS:
            theta[code] = _fit_type(
                arrays.take(mine), np.clip(theta[code], *_BOUNDS), _SPREAD * _REFIT_SPREAD, _REFIT_EVALUATIONS
            )
    return PopulationPrior(theta)


def fit_prior(arrays: PatientArrays, rows: Ints, seed: int) -> PopulationPrior:
    """Fit each type on the patients `rows`; OTHER on a mixture of all of them.

    A few hundred patients settle the nine numbers of a type, so larger sets are sampled.
    """
    theta = np.tile(START, (len(TUMOUR_TYPES), 1))
    rng = np.random.default_rng(seed)
    for code in range(len(TUMOUR_TYPES)):
        mine = rows if code == OTHER else rows[arrays.tumour[rows] == code]
        if len(mine) > _MOST_PATIENTS:
            mine = np.sort(rng.choice(mine, _MOST_PATIENTS, replace=False))
        if len(mine) >= _FEWEST_PATIENTS:
            theta[code] = _fit_type((arrays.of_unknown_type() if code == OTHER else arrays).take(mine))
    return PopulationPrior(theta)


def _fit_type(
    arrays: PatientArrays, centre: Floats = START, spread: Floats = _SPREAD, evaluations: int = 2500
) -> Floats:
    windows = windows_of(arrays)
    windows = windows.where(~windows.surgery)
    queries = windows.queries
    planned = planned_exposure(arrays, queries)
    y = arrays.ln_volume[queries.rows, windows.target]
    sd_ln = arrays.sd_ln[queries.index]
    tumour = np.zeros_like(arrays.tumour)
    one_type = dataclasses.replace(arrays, tumour=tumour)

    def cost(theta: Floats) -> float:
        prior = PopulationPrior(np.clip(theta, *_BOUNDS)[None])
        states = prior.filter(one_type).at(queries.index)
        found = prior.predict(states, tumour[queries.rows], queries.horizon_days, planned, sd_ln)
        surprise = np.minimum(((y - found.mean) / found.sd) ** 2, _SURPRISE_CAP)
        penalty = 0.5 * float((((theta - centre) / spread) ** 2).sum())
        return penalty + float((np.log(found.sd) + 0.5 * surprise).sum()) / _OVERLAP

    found = minimize(cost, centre, method="Powell", options={"maxiter": 6, "maxfev": evaluations, "ftol": 1e-5})
    return np.asarray(np.clip(found.x, *_BOUNDS))

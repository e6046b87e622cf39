"""Maximum likelihood of the population prior, one type at a time, on training patients only."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from inference.forecast.arrays import OTHER, TUMOUR_TYPES, Floats, Ints, PatientArrays
from inference.forecast.prior import PARAMETERS, PopulationPrior, run_filter

START = np.array([-2.5, -3.0, 0.0, 0.02, -2.3, -1.8, -0.1, -0.02, -0.05])
"""Weakly informative centre of each parameter; also where a type without patients stays."""

_SPREAD = np.array([3.0, 3.0, 0.3, 0.3, 2.0, 1.0, 0.5, 0.5, 0.5])
_MOST_PATIENTS = 250
_FEWEST_PATIENTS = 5


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
            theta[code] = _fit_type(arrays.take(mine))
    return PopulationPrior(theta)


def _fit_type(arrays: PatientArrays) -> Floats:
    def cost(theta: Floats) -> float:
        bounded = np.clip(theta, -12.0, 4.0)
        penalty = 0.5 * float((((theta - START) / _SPREAD) ** 2).sum())
        return penalty - run_filter(arrays, np.broadcast_to(bounded, (len(arrays), len(PARAMETERS))))[1]

    found = minimize(cost, START, method="Powell", options={"maxiter": 6, "maxfev": 2500, "ftol": 1e-5})
    return np.asarray(np.clip(found.x, -12.0, 4.0))

"""The population prior: a hierarchical local-linear-trend Kalman filter on ln volume, one parameter set per type.

The slope reverts to the mean of the type (an integrated Ornstein-Uhlenbeck process), treatment shifts the level,
surgery starts the patient anew. Shrinking each patient to the population is what makes short histories predictable
(Vaghi et al., PLOS Comput Biol 2020;16:e1007178). All patients are filtered at once; time is in months.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Bools, Floats, Ints, PatientArrays
from longitudinal.features import DAYS_PER_MONTH
from longitudinal.types import TumourType

PARAMETERS = (
    "ln_level_sd",
    "ln_slope_sd",
    "ln_noise_factor",
    "slope_mean",
    "ln_initial_slope_sd",
    "ln_reversion",
    "rt_per_month",
    "chemo_per_month",
    "antiangiogenic_per_month",
)

SURGERY_COLUMN = 3
_CEILING_LN = np.log(200.0)
_CEILING_SOFTNESS = 0.3
"""No head holds a tumour without end: predictions level off below 200 ml."""
_SD_RANGE = (0.03, 0.8)


@dataclass(frozen=True)
class States:
    """Filtered mean and covariance of (level, slope); arrays of any common shape."""

    level: Floats
    slope: Floats
    level_var: Floats
    covariance: Floats
    slope_var: Floats

    def at(self, index: tuple[Ints, Ints]) -> States:
        return States(*(values[index] for values in self.values))

    @property
    def values(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        return self.level, self.slope, self.level_var, self.covariance, self.slope_var


@dataclass(frozen=True)
class Prediction:
    """Predicted ln volume: `mean`, `sd` of a measurement of it, and the filtered `slope` per month."""

    mean: Floats
    sd: Floats
    slope: Floats


@dataclass(frozen=True)
class PopulationPrior:
    """`theta`: (types, 9) in the order of `TUMOUR_TYPES` and `PARAMETERS`."""

    theta: Floats

    @classmethod
    def from_json(cls, card: Mapping[str, Mapping[str, float]]) -> Self:
        """The prior as `to_json` wrote it; a type that it does not know is forecast as OTHER.

        Raises:
            KeyError: when OTHER or a parameter is missing.
        """
        rows = [card.get(kind, card[TumourType.OTHER]) for kind in TUMOUR_TYPES]
        return cls(np.array([[row[name] for name in PARAMETERS] for row in rows]))

    def to_json(self) -> dict[str, dict[str, float]]:
        """By type and parameter."""
        return {
            str(kind): {name: float(f"{value:.8g}") for name, value in zip(PARAMETERS, row, strict=True)}
            for kind, row in zip(TUMOUR_TYPES, self.theta, strict=True)
        }

    def filter(self, arrays: PatientArrays) -> States:
        """Filtered states after each scan, arrays (patients, scans): a state knows its scan and those before."""
        return run_filter(arrays, self.theta[arrays.tumour])

    def predict(self, states: States, tumour: Ints, horizon_days: Floats, planned: Floats, sd_ln: Floats) -> Prediction:
        """Predict from `states` over `horizon_days`; `planned` is (n, 4) as `EXPOSURES`, `sd_ln` the expected
        measurement error. Surgery in the window is not predicted: leave such windows out."""
        theta = self.theta[tumour]
        ahead = _advance(states, horizon_days / DAYS_PER_MONTH, planned, theta)
        noise = _noise_var(sd_ln, theta)
        mean, slowed = _saturate(ahead.level)
        return Prediction(mean, np.sqrt(ahead.level_var * slowed**2 + noise), states.slope)


def run_filter(arrays: PatientArrays, theta: Floats) -> States:
    """Filter all patients with parameters (patients, 9)."""
    y, given = arrays.ln_volume, arrays.given
    months = arrays.days / DAYS_PER_MONTH
    noise = _noise_var(arrays.sd_ln, theta[:, None])
    state = _start(y[:, 0], noise[:, 0], theta)
    steps = [state]
    for k in range(1, y.shape[1]):
        on = arrays.count > k
        interval = np.where(on, np.maximum(months[:, k] - months[:, k - 1], 0.03), 0.03)
        ahead = _advance(state, interval, given[:, k], theta)
        operated = given[:, k, SURGERY_COLUMN] > 0
        spread = ahead.level_var + noise[:, k]
        error = y[:, k] - ahead.level
        fresh = _start(y[:, k], noise[:, k], theta)
        updated = _choose(operated, fresh, _update(ahead, error, spread))
        state = _choose(on, updated, state)
        steps.append(state)
    return States(*(np.stack(column, axis=1) for column in zip(*(s.values for s in steps), strict=True)))


def _start(y: Floats, noise: Floats, theta: Floats) -> States:
    zero = np.zeros_like(y)
    return States(y, theta[:, 3] + zero, noise, zero, np.exp(2 * theta[:, 4]) + zero)


def _noise_var(sd_ln: Floats, theta: Floats) -> Floats:
    return np.asarray((np.clip(sd_ln, *_SD_RANGE) * np.exp(theta[..., 2])) ** 2)


def _advance(state: States, months: Floats, given: Floats, theta: Floats) -> States:
    level_sd, slope_sd, reversion = np.exp(theta[:, 0]), np.exp(theta[:, 1]), np.exp(theta[:, 5])
    mean = theta[:, 3]
    decay = np.exp(-reversion * months)
    reach = (1 - decay) / reversion
    drift = mean * (months - reach) + (given[:, :3] * theta[:, 6:9]).sum(axis=1)
    return States(
        level=state.level + reach * state.slope + drift,
        slope=decay * state.slope + mean * (1 - decay),
        level_var=state.level_var
        + 2 * reach * state.covariance
        + reach**2 * state.slope_var
        + level_sd**2 * months
        + slope_sd**2 * months**3 / 3,
        covariance=decay * state.covariance + decay * reach * state.slope_var + slope_sd**2 * months**2 / 2,
        slope_var=decay**2 * state.slope_var + slope_sd**2 * months,
    )


def _saturate(level: Floats) -> tuple[Floats, Floats]:
    """The level bent under the ceiling, and how much of a small change of it is left there."""
    room = (_CEILING_LN - level) / _CEILING_SOFTNESS
    return _CEILING_LN - _CEILING_SOFTNESS * np.logaddexp(0.0, room), np.asarray(1 / (1 + np.exp(-room)))


def _update(ahead: States, error: Floats, spread: Floats) -> States:
    level_gain, slope_gain = ahead.level_var / spread, ahead.covariance / spread
    return States(
        level=ahead.level + level_gain * error,
        slope=ahead.slope + slope_gain * error,
        level_var=ahead.level_var - level_gain * ahead.level_var,
        covariance=ahead.covariance - level_gain * ahead.covariance,
        slope_var=ahead.slope_var - slope_gain * ahead.covariance,
    )


def _choose(where: Bools, first: States, second: States) -> States:
    return States(*(np.where(where, a, b) for a, b in zip(first.values, second.values, strict=True)))

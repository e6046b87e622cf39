"""Growth and treatment effect of simulated tumours, one week at a time, all patients at once.

Sensitive, resistant and dying cells make up the volume; what is seen is that volume times a transient swelling
(pseudoprogression, radionecrosis) and times the loss of enhancement under anti-angiogenic therapy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulate.histories_parameters import (
    BM,
    GROWTH_WANDER_PER_MONTH,
    GROWTH_WANDER_SD,
    NEW_METASTASIS_ML,
    NEW_METASTASIS_PER_MONTH,
    OEDEMA_MONTHS,
    STEROID_ENHANCEMENT,
    VOLATILITY_MONTHS,
    Bools,
    Floats,
    Ints,
    Latent,
)

WEEK_MONTHS = 7 / 30.4375
TRANSFORMED_GROWTH = 4.0
_SMALLEST_ML = 0.02


@dataclass
class Tumours:
    """State of all tumours; arrays of shape (patients,), ml and months."""

    sensitive: Floats
    resistant: Floats
    dying: Floats
    wander: Floats
    chemo_months: Floats
    rt_ended: Floats
    vessels: Floats
    treated: Bools
    transient: Floats
    oedema: Floats
    steroid: Floats
    lesions: Ints

    @property
    def volume_ml(self) -> Floats:
        return self.sensitive + self.resistant + self.dying


@dataclass(frozen=True)
class GivenThisWeek:
    """Which treatment each patient gets in the week; bool arrays of shape (patients,)."""

    surgery: Bools
    rt: Bools
    chemo: Bools
    antiangiogenic: Bools
    steroid: Bools


def presenting(latent: Latent, rng: np.random.Generator) -> Tumours:
    """The tumours as they present."""
    n = len(latent.tumour)
    return Tumours(
        sensitive=latent.presenting_ml * (1 - latent.resistant),
        resistant=latent.presenting_ml * latent.resistant,
        dying=np.zeros(n),
        wander=GROWTH_WANDER_SD * rng.standard_normal(n),
        chemo_months=np.zeros(n),
        rt_ended=np.full(n, np.nan),
        vessels=np.ones(n),
        treated=np.zeros(n, dtype=bool),
        transient=rng.standard_normal(n),
        oedema=rng.standard_normal(n),
        steroid=np.zeros(n),
        lesions=latent.lesions.copy(),
    )


def resect(tumours: Tumours, latent: Latent, surgery: Bools) -> None:
    """Take away the resected share from the patients that have surgery now."""
    left = np.where(surgery, 1 - latent.resection, 1.0)
    tumours.sensitive *= left
    tumours.resistant *= left
    tumours.dying *= left
    tumours.treated |= surgery


def grow(tumours: Tumours, latent: Latent, given: GivenThisWeek, month: float, rng: np.random.Generator) -> None:
    """Advance all tumours by one week that begins at `month`."""
    wander_step = GROWTH_WANDER_SD * np.sqrt(2 * GROWTH_WANDER_PER_MONTH * WEEK_MONTHS)
    tumours.wander *= 1 - GROWTH_WANDER_PER_MONTH * WEEK_MONTHS
    tumours.wander += wander_step * rng.standard_normal(len(tumours.wander))
    tumours.treated |= given.rt | given.chemo | given.antiangiogenic
    rate = growth_rate(tumours, latent, month)
    tumours.chemo_months += WEEK_MONTHS * given.chemo
    fading = np.exp(-tumours.chemo_months / latent.chemo_fades)
    kill = given.rt * latent.rt_kill + given.chemo * latent.chemo_kill * fading
    killed = tumours.sensitive * (1 - np.exp(-kill * WEEK_MONTHS))
    tumours.sensitive = (tumours.sensitive - killed) * np.exp(rate * WEEK_MONTHS)
    slowed = np.where(rate > 0, rate * latent.resistant_growth, rate)
    tumours.resistant = tumours.resistant * np.exp(slowed * WEEK_MONTHS)
    tumours.dying = (tumours.dying + killed) * np.exp(-latent.clearance * WEEK_MONTHS)
    tumours.rt_ended = np.where(given.rt, month + WEEK_MONTHS, tumours.rt_ended)
    goal = np.where(given.antiangiogenic, latent.antiangiogenic, 1.0)
    tumours.vessels += (goal - tumours.vessels) * (1 - np.exp(-WEEK_MONTHS / 0.8))
    tumours.steroid += (given.steroid - tumours.steroid) * (1 - np.exp(-WEEK_MONTHS / 0.2))
    _wander(tumours, rng)
    _seed_metastases(tumours, latent, rng)


def _wander(tumours: Tumours, rng: np.random.Generator) -> None:
    """One week of the transient states, Ornstein-Uhlenbeck processes of unit variance."""
    for state, months in ((tumours.transient, VOLATILITY_MONTHS), (tumours.oedema, OEDEMA_MONTHS)):
        kept = np.exp(-WEEK_MONTHS / months)
        state *= kept
        state += np.sqrt(1 - kept**2) * rng.standard_normal(len(state))


def _seed_metastases(tumours: Tumours, latent: Latent, rng: np.random.Generator) -> None:
    """New metastases, found at the size at which a scan shows them."""
    new = (latent.tumour == BM) & (rng.random(len(latent.tumour)) < NEW_METASTASIS_PER_MONTH * WEEK_MONTHS)
    median, sd = NEW_METASTASIS_ML
    tumours.sensitive += np.where(new, median * np.exp(sd * rng.standard_normal(len(new))), 0.0)
    tumours.lesions += new


def growth_rate(tumours: Tumours, latent: Latent, month: float) -> Floats:
    """Rate of ln volume per month under each tumour's own law, before any cell kill."""
    volume = np.maximum(tumours.volume_ml, _SMALLEST_ML)
    diameter_mm = (6000 * volume / np.pi) ** (1 / 3)
    rate = (
        latent.gompertz * np.log(np.maximum(latent.capacity_ml / volume, 1.0001))
        + latent.exponential * np.maximum(1 - volume / 200, 0.0)
        + 3 * latent.diameter_mm / np.maximum(diameter_mm, 6.0)
    )
    rate = rate * np.exp(tumours.wander - GROWTH_WANDER_SD**2 / 2)
    rate = rate * np.where(tumours.treated, latent.treated_growth, 1.0)
    return rate * np.where(month > latent.transforms_at, TRANSFORMED_GROWTH, 1.0)


def visible_ml(tumours: Tumours, latent: Latent, month: float) -> Floats:
    """The volume that a perfect reader would outline."""
    phase = (month - tumours.rt_ended - latent.pseudo_lag) / latent.pseudo_months
    swelling = latent.pseudo & (phase > 0) & (phase < 1)
    bump = np.where(swelling, latent.pseudo_amplitude * np.sin(np.pi * np.clip(np.nan_to_num(phase), 0, 1)) ** 2, 0.0)
    volume = tumours.volume_ml
    transient = np.exp(latent.volatility * (1 + 1 / (1 + volume)) * tumours.transient)
    dried = 1 - (1 - STEROID_ENHANCEMENT) * tumours.steroid
    return np.asarray(volume * (1 + bump) * tumours.vessels * transient * dried)

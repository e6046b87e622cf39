"""When simulated patients are scanned, and what a segmentation of each scan would measure.

Visits are informative as in the clinic: fast tumours are scanned more often, a scan follows surgery, symptoms
bring a scan forward (UCSF-LPTDG: Spearman of gap and |change of ln volume| is -0.26).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulate.histories_growth import Tumours
from training.simulate.histories_parameters import (
    ASTRO,
    OEDEMA_SD,
    OLIGO,
    SCAN_GAP_MONTHS,
    STEROID_OEDEMA,
    Bools,
    Floats,
    Ints,
    Latent,
    measurement_sd_ln,
)

SCANNERS = 12
SITES = 4
_SCANNER_SD = 0.03
_SITE_SD = 0.04
"""Log SD between sites of what they outline: contrast dose, time after injection, slice thickness."""
_GROSS_ERROR_SHARE = 0.01
_DETECTABLE_ML = 0.1
_DAYS_PER_MONTH = 30.4375

_ENHANCING_LOGIT = np.array([1.2, -2.5, -2.2, 2.5, 1.5, 2.5])
_NECROTIC_LOGIT = np.array([-1.6, -4.0, -4.0, -4.0, -2.0, -3.0])
_OEDEMA_LN_RATIO = np.array([0.5, -1.5, -1.5, -1.0, 0.6, -4.0])


@dataclass(frozen=True)
class Habits:
    """What stays the same over a patient's scans: arrays (patients,), `character` (patients, 4) standard normal.

    Scanners belong to sites. A site differs from others in what it outlines, in the noise of its protocol, in how
    often it scans and in the share of progressed patients that it treats again.
    """

    scanner: Ints
    character: Floats
    gap_months: Floats
    scanner_bias: Floats
    noise: Floats
    salvage_share: Floats


@dataclass(frozen=True)
class Measured:
    """What is measured of each patient at one visit; arrays (patients,), ml and mm."""

    target_ml: Floats
    sd_ln: Floats
    enhancing_ml: Floats
    necrotic_ml: Floats
    oedema_ml: Floats
    longest_mm: Floats
    sphericity: Floats
    scanner: Ints


def draw_habits(rng: np.random.Generator, tumour: Ints) -> Habits:
    """The scanner each patient usually goes to, the look of the tumour, and how often the patient is scanned."""
    n = len(tumour)
    scanner = rng.integers(0, SCANNERS, n)
    site_of = np.arange(SCANNERS) % SITES
    site = site_of[scanner]
    site_gap, site_noise = np.exp(0.12 * rng.standard_normal(SITES)), np.exp(0.15 * rng.standard_normal(SITES))
    return Habits(
        scanner=scanner,
        character=rng.standard_normal((n, 4)),
        gap_months=np.asarray(SCAN_GAP_MONTHS)[tumour] * site_gap[site] * np.exp(0.15 * rng.standard_normal(n)),
        scanner_bias=_SCANNER_SD * rng.standard_normal(SCANNERS) + _SITE_SD * rng.standard_normal(SITES)[site_of],
        noise=site_noise[site_of],
        salvage_share=rng.uniform(0.4, 0.8, SITES)[site],
    )


def measure(
    rng: np.random.Generator,
    latent: Latent,
    habits: Habits,
    visible_ml: Floats,
    tumours: Tumours,
    transformed: Bools,
) -> Measured:
    """Measure every tumour once; volumes under 0.1 ml are not found (0)."""
    dying_share = tumours.dying / np.maximum(tumours.volume_ml, 0.02)
    n, tumour = len(visible_ml), latent.tumour
    scanner = np.where(rng.random(n) < 0.8, habits.scanner, rng.integers(0, SCANNERS, n))
    sd_ln = measurement_sd_ln(visible_ml)
    error = sd_ln * habits.noise[scanner] * rng.standard_normal(n) + habits.scanner_bias[scanner]
    gross = rng.random(n) < _GROSS_ERROR_SHARE
    error = error + gross * rng.choice([-1.0, 1.0], n) * rng.uniform(0.3, 0.8, n)
    target = visible_ml * np.exp(error)
    target = np.where(target < _DETECTABLE_ML, 0.0, target)
    ln_volume = np.log(np.maximum(target, _DETECTABLE_ML))
    look = 0.7 * habits.character + 0.25 * rng.standard_normal((n, 4))
    enhancing = _logistic(_ENHANCING_LOGIT[tumour] + 1.5 * transformed + look[:, 0])
    necrotic = _logistic(_NECROTIC_LOGIT[tumour] + 0.35 * (ln_volume - 2.5) + 1.5 * dying_share + look[:, 1])
    sphericity = np.clip(0.78 - 0.03 * (ln_volume - 2.5) + 0.06 * look[:, 3], 0.3, 1.0)
    largest = latent.dominance ** (tumours.lesions - 1)
    # Diffuse glioma is followed by the whole tumour, of which the core is a part; the others by the core.
    diffuse = (tumour == ASTRO) | (tumour == OLIGO)
    core = np.where(diffuse, target * enhancing, target)
    dried = 1 - (1 - STEROID_OEDEMA) * tumours.steroid
    wander = np.asarray(OEDEMA_SD)[tumour] * tumours.oedema
    # Oedema follows the tumour more slowly than in proportion: small remnants keep a wide one.
    around = np.maximum(target, 0.5) ** 0.7 * 10**0.3 * dried * tumours.vessels**2
    around = around * np.exp(_OEDEMA_LN_RATIO[tumour] + wander + 0.9 * look[:, 2])
    return Measured(
        target_ml=target,
        sd_ln=measurement_sd_ln(target),
        enhancing_ml=core * (1 - necrotic),
        necrotic_ml=core * necrotic,
        oedema_ml=np.where(diffuse, target - core, around),
        longest_mm=(6000 * target * largest / np.pi) ** (1 / 3) * (1 + 0.35 * (1 - sphericity)),
        sphericity=np.where(target > 0, sphericity, 1.0),
        scanner=scanner,
    )


def next_gap_days(
    rng: np.random.Generator, habits: Habits, change_per_quarter: Floats, surgery_in_days: Floats
) -> Floats:
    """Days until the next scan is booked for.

    `change_per_quarter` is |change of measured ln volume| per three months since the scan before (NaN at the
    first); `surgery_in_days` the time until surgery that is already decided, infinite where there is none.
    """
    n = len(habits.scanner)
    gap = habits.gap_months * np.exp(0.25 * rng.standard_normal(n))
    gap = np.where(rng.random(n) < 0.08, 2 * gap, gap)
    pace = np.clip((np.nan_to_num(change_per_quarter, nan=0.2) - 0.2) / 0.25, -1.0, 1.6)
    days = np.maximum(gap * np.exp(-0.28 * pace), 0.5) * _DAYS_PER_MONTH
    # The scan after surgery comes within two weeks of it in most hospitals.
    after_surgery = surgery_in_days + rng.choice([1.0, 8.0, 15.0], n)
    soon = np.isfinite(surgery_in_days) & (rng.random(n) < 0.75)
    return np.where(soon, np.minimum(days, after_surgery), days)


def symptomatic(
    rng: np.random.Generator, visible_ml: Floats, last_visible_ml: Floats, days_since_scan: Floats
) -> Bools:
    """Patients whom growth since the last scan brings in before their appointment this week."""
    grown = np.log(np.maximum(visible_ml, _DETECTABLE_ML) / np.maximum(last_visible_ml, _DETECTABLE_ML))
    felt = (grown > 0.4) & (visible_ml > 5) & (days_since_scan >= 21)
    return np.asarray(felt & (rng.random(len(visible_ml)) < 0.15))


def _logistic(value: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-value)))

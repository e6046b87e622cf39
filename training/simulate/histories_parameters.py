"""Parameters of the history simulator `generator/1`: what a patient's tumour is like, by type.

Each table has one value per type in the order of `TYPES`. Sources:

- GBM untreated: volume doubling 21.1 d (Ellingson, Cancer 2016;122:1718) to 49.6 d (Stensjoen, Neuro-Oncol 2015).
- Diffuse low-grade glioma: mean diameter grows 4.1 mm/year (Mandonnet, Ann Neurol 2003;53:524), 5.8 +- 6.3
  (Pallud, PMC3635513); malignant transformation 209 of 407 over follow-up (ibid.).
- Meningioma: 59 % grow, 27 % stable, 14 % shrink; Gompertz fits best (Strand, Neuro-Oncol Adv 2023); 5.8-15 % a year.
- Brain metastasis: doubling 86 d (breast) and 139 d (lung) untreated (Kobets, SNI 2020;11:254); 32 % enlarge after
  radiosurgery (Patel, AJNR), transiently in radionecrosis (PMC9887079).
- Pseudoprogression: 13-24 % of patients, more with a methylated MGMT promoter (Brandes, JCO 2008; PMC3755387).
- MGMT methylated: progression-free survival 9.5 against 5.0 months (PMC7596890).
- Growth under treatment is far slower and its spread wider than untreated: the factors in `TREATED_GROWTH` bring
  the yearly change of ln volume to the quantiles seen in treated follow-up (UCSF-LPTDG 10/25/50/75/90 %: GBM
  -2.1/-0.1/0.9/3.1/6.6, IDH-mutant astrocytoma -0.6/-0.1/0.2/0.7/2.1, oligodendroglioma -0.7/-0.2/0.0/0.3/0.7).
- Repeat measurement of unchanged tumours (UCSF-LPTDG, pairs that radiologists rated unchanged): 14, 13, 6.5 and
  5.4 % SD per scan below 5, 15, 40 ml and above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longitudinal.types import TumourType

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TYPES = (
    TumourType.GBM,
    TumourType.ASTROCYTOMA,
    TumourType.OLIGODENDROGLIOMA,
    TumourType.MENINGIOMA,
    TumourType.METASTASIS,
)
GBM, ASTRO, OLIGO, MENING, BM = range(5)
TYPE_SHARE = (0.35, 0.20, 0.12, 0.18, 0.15)
LAWS = ("gompertz", "linear-diameter", "linear-diameter", "gompertz", "exponential")

# (median ml, log SD) of the volume at presentation; whole tumour for diffuse glioma, core for the others.
PRESENTING_ML = ((28.0, 0.65), (35.0, 0.70), (35.0, 0.70), (10.0, 0.80), (8.0, 0.90))
GBM_DOUBLING_DAYS = (40.0, 0.40)
METASTASIS_DOUBLING_DAYS = (110.0, 0.45)
DIAMETER_MM_PER_YEAR = {ASTRO: (4.6, 0.55), OLIGO: (3.4, 0.45)}

# Median factor on growth once treatment has begun, and its log SD between patients.
TREATED_GROWTH = ((0.38, 1.00), (0.72, 1.00), (0.42, 0.75), (0.90, 0.30), (0.55, 0.60))
GROWTH_WANDER_SD = 0.6
"""Stationary SD of the log growth rate as it wanders within one patient (Ornstein-Uhlenbeck)."""
GROWTH_WANDER_PER_MONTH = 0.25

RESISTANT_LOGIT = ((-2.6, 1.0), (-1.6, 0.8), (-2.2, 0.8), (-1.0, 0.8), (-3.0, 1.2))
RT_KILL_PER_MONTH = ((1.05, 0.45), (0.60, 0.30), (0.85, 0.30), (0.35, 0.18), (1.6, 0.60))
CHEMO_KILL_PER_MONTH = ((0.32, 0.20), (0.10, 0.05), (0.14, 0.06), (0.0, 0.01), (0.25, 0.15))
CHEMO_FADES_MONTHS = (6.0, 14.0, 20.0, 12.0, 6.0)
CLEARANCE_MONTHS = (1.5, 7.0, 9.0, 10.0, 2.5)
PSEUDOPROGRESSION_SHARE = (0.22, 0.12, 0.10, 0.0, 0.25)
TRANSFORMATION_PER_YEAR = (0.0, 0.05, 0.02, 0.004, 0.0)
EXTENT_OF_RESECTION = ((6.0, 1.2), (3.0, 1.5), (3.0, 1.5), (8.0, 1.0), (8.0, 0.8))
SCAN_GAP_MONTHS = (2.2, 3.2, 3.7, 4.4, 2.4)
DEATH_PER_MONTH_AT_60_ML = (0.10, 0.03, 0.02, 0.0, 0.12)


@dataclass(frozen=True)
class Latent:
    """What is true of each simulated patient; arrays of shape (patients,). Rates are per month, volumes ml."""

    tumour: Ints
    presenting_ml: Floats
    capacity_ml: Floats
    gompertz: Floats
    exponential: Floats
    diameter_mm: Floats
    treated_growth: Floats
    resistant: Floats
    resistant_growth: Floats
    rt_kill: Floats
    chemo_kill: Floats
    chemo_fades: Floats
    clearance: Floats
    pseudo: Bools
    pseudo_amplitude: Floats
    pseudo_lag: Floats
    pseudo_months: Floats
    transforms_at: Floats
    antiangiogenic: Floats
    resection: Floats
    methylated: Bools


class _Draw:
    """Draws per patient from tables per type."""

    def __init__(self, rng: np.random.Generator, tumour: Ints) -> None:
        self.rng, self.tumour, self.n = rng, tumour, len(tumour)

    def of(self, table: tuple[float, ...]) -> Floats:
        return np.asarray(table, dtype=np.float64)[self.tumour]

    def pair(self, table: tuple[tuple[float, float], ...]) -> tuple[Floats, Floats]:
        values = np.asarray(table, dtype=np.float64)[self.tumour]
        return values[:, 0], values[:, 1]

    def normal(self, table: tuple[tuple[float, float], ...]) -> Floats:
        centre, sd = self.pair(table)
        return centre + sd * self.rng.standard_normal(self.n)

    def around(self, table: tuple[tuple[float, float], ...]) -> Floats:
        median, sd = self.pair(table)
        return median * np.exp(sd * self.rng.standard_normal(self.n))

    def lognormal(self, median: float, sd: float) -> Floats:
        return median * np.exp(sd * self.rng.standard_normal(self.n))

    def uniform(self, low: float, high: float) -> Floats:
        return self.rng.uniform(low, high, self.n)

    def share(self, table: tuple[float, ...]) -> Bools:
        return np.asarray(self.rng.random(self.n) < self.of(table))


def draw_latent(rng: np.random.Generator, tumour: Ints) -> Latent:
    """Draw the latent patient for each tumour type (index into `TYPES`)."""
    draw = _Draw(rng, tumour)
    presenting = np.clip(draw.around(PRESENTING_ML), 1.2, 120.0)
    methylated = rng.random(draw.n) < 0.42
    gbm, meningioma, metastasis = tumour == GBM, tumour == MENING, tumour == BM
    pseudo_odds = np.where(methylated, 1.35, 0.75) * gbm + ~gbm
    beta = draw.pair(EXTENT_OF_RESECTION)
    return Latent(
        tumour=tumour,
        presenting_ml=presenting,
        capacity_ml=np.where(
            meningioma, np.maximum(draw.lognormal(60, 0.5), 1.3 * presenting), draw.lognormal(220, 0.2)
        ),
        gompertz=_gompertz(draw, gbm, meningioma),
        exponential=np.where(metastasis, np.log(2) / _months(draw.lognormal(*METASTASIS_DOUBLING_DAYS)), 0.0),
        diameter_mm=_diameter_rate(draw),
        treated_growth=draw.around(TREATED_GROWTH),
        resistant=1 / (1 + np.exp(-draw.normal(RESISTANT_LOGIT))),
        resistant_growth=draw.uniform(0.5, 1.0),
        rt_kill=np.maximum(draw.normal(RT_KILL_PER_MONTH), 0.03),
        chemo_kill=np.maximum(draw.normal(CHEMO_KILL_PER_MONTH), 0.0) * np.where(gbm & methylated, 1.4, 1.0),
        chemo_fades=draw.of(CHEMO_FADES_MONTHS) * draw.lognormal(1.0, 0.4),
        clearance=1 / (draw.of(CLEARANCE_MONTHS) * draw.lognormal(1.0, 0.35)),
        pseudo=rng.random(draw.n) < draw.of(PSEUDOPROGRESSION_SHARE) * pseudo_odds,
        pseudo_amplitude=draw.lognormal(0.45, 0.4),
        pseudo_lag=np.where(metastasis, draw.uniform(3, 10), draw.uniform(0.3, 2.5)),
        pseudo_months=np.where(metastasis, draw.uniform(4, 8), draw.uniform(2, 4.5)),
        transforms_at=rng.exponential(12 / np.maximum(draw.of(TRANSFORMATION_PER_YEAR), 1e-9)),
        antiangiogenic=draw.uniform(0.4, 0.8),
        resection=np.clip(rng.beta(*beta), 0.0, 0.995),
        methylated=methylated,
    )


def _months(days: Floats) -> Floats:
    return days / 30.4375


def _gompertz(draw: _Draw, gbm: Bools, meningioma: Bools) -> Floats:
    """The Gompertz rate; the GBM doubling time holds at 20 ml under a capacity of 220 ml."""
    fast = np.log(2) / _months(draw.lognormal(*GBM_DOUBLING_DAYS)) / np.log(220 / 20)
    kind = draw.rng.random(draw.n)
    stable = 0.015 * draw.rng.standard_normal(draw.n)
    yearly = np.where(kind < 0.59, draw.lognormal(0.14, 0.6), np.where(kind < 0.86, stable, -draw.lognormal(0.05, 0.5)))
    return np.where(gbm, fast, np.where(meningioma, yearly / 12 / np.log(6), 0.0))


def _diameter_rate(draw: _Draw) -> Floats:
    """Growth of the mean diameter in mm per month."""
    rate = np.zeros(draw.n)
    for tumour, (median, sd) in DIAMETER_MM_PER_YEAR.items():
        rate = np.where(draw.tumour == tumour, draw.lognormal(median, sd) / 12, rate)
    return rate


def measurement_sd_ln(volume_ml: Floats) -> Floats:
    """One SD of repeat measurement of ln volume at each volume: 14, 13, 6.5, 5.4 % by size, more below 1 ml."""
    volume = np.maximum(volume_ml, 0.05)
    return 0.05 + 0.10 / (1 + (volume / 12) ** 2) + 0.06 * np.maximum(-np.log(volume), 0.0)

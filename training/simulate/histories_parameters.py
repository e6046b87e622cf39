"""Parameters of the history simulator `generator/1`: what a patient's tumour is like, by type.

Each table has one value per type in the order of `TYPES`. `SOURCES` names where each table comes from; a value that
no publication gives is called assumed there.
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
    TumourType.SCHWANNOMA,
)
GBM, ASTRO, OLIGO, MENING, BM, VS = range(6)
TYPE_SHARE = (0.33, 0.19, 0.12, 0.17, 0.14, 0.05)
LAWS = ("gompertz", "linear-diameter", "linear-diameter", "gompertz", "exponential", "linear-diameter")

# (median ml, log SD) of the volume at presentation; whole tumour for diffuse glioma, core for the others.
PRESENTING_ML = ((28.0, 0.65), (35.0, 0.70), (35.0, 0.70), (10.0, 0.80), (8.0, 0.90), (2.0, 0.80))
GBM_DOUBLING_DAYS = (40.0, 0.40)
METASTASIS_DOUBLING_DAYS = (110.0, 0.45)
DIAMETER_MM_PER_YEAR = {ASTRO: (4.6, 0.55), OLIGO: (3.4, 0.45), VS: (2.6, 0.45)}
SCHWANNOMA_COURSES = (0.35, 0.57)
"""Shares of vestibular schwannomas that grow and that stay; the rest shrinks slowly."""
MENINGIOMA_COURSES = (0.59, 0.27)
"""Shares of meningiomas that grow and that stay; the rest shrinks."""

# Median factor on growth once treatment has begun, and its log SD between patients.
TREATED_GROWTH = ((0.34, 1.30), (0.90, 1.25), (0.55, 0.85), (0.90, 0.30), (0.55, 0.70), (0.80, 0.30))
GROWTH_WANDER_SD = 0.6
"""Stationary SD of the log growth rate as it wanders within one patient (Ornstein-Uhlenbeck)."""
GROWTH_WANDER_PER_MONTH = 0.25

RESISTANT_LOGIT = ((-2.6, 1.0), (-1.6, 0.8), (-2.2, 0.8), (-1.0, 0.8), (-3.0, 1.2), (-1.0, 0.8))
RT_KILL_PER_MONTH = ((1.05, 0.45), (0.60, 0.30), (0.85, 0.30), (0.35, 0.18), (1.6, 0.60), (0.30, 0.15))
CHEMO_KILL_PER_MONTH = ((0.32, 0.20), (0.10, 0.05), (0.14, 0.06), (0.0, 0.01), (0.25, 0.15), (0.0, 0.01))
CHEMO_FADES_MONTHS = (6.0, 14.0, 20.0, 12.0, 6.0, 12.0)
CLEARANCE_MONTHS = (1.5, 7.0, 9.0, 10.0, 2.5, 10.0)
PSEUDOPROGRESSION_SHARE = (0.22, 0.12, 0.10, 0.0, 0.25, 0.30)
TRANSFORMATION_PER_YEAR = (0.0, 0.05, 0.02, 0.004, 0.0, 0.0)
EXTENT_OF_RESECTION = ((6.0, 1.2), (3.0, 1.5), (3.0, 1.5), (8.0, 1.0), (8.0, 0.8), (8.0, 1.0))
SCAN_GAP_MONTHS = (2.5, 3.2, 3.7, 4.4, 2.4, 5.0)
DEATH_PER_MONTH_AT_60_ML = (0.10, 0.03, 0.02, 0.0, 0.12, 0.0)
DROP_OUT_PER_VISIT = 0.01
VOLATILITY = ((0.11, 0.60), (0.05, 0.50), (0.04, 0.50), (0.015, 0.50), (0.12, 0.60), (0.03, 0.50))
"""Median and log SD between patients of the SD of transient change in ln volume that is not growth (perfusion,
treatment effect, contrast phase); it fades over `VOLATILITY_MONTHS` and doubles in remnants of a millilitre."""
VOLATILITY_MONTHS = 2.5
OEDEMA_SD = (0.38, 0.10, 0.10, 0.25, 0.60, 0.05)
"""SD of ln oedema about its share of the tumour, as it wanders within a patient over `OEDEMA_MONTHS`."""
OEDEMA_MONTHS = 3.0
STEROID_ENHANCEMENT = 0.90
STEROID_OEDEMA = 0.65
"""What steroids leave of the enhancing volume and of the oedema once they act."""
STEROID_SHARE = 0.5
METASTASES_MEAN_MORE = 1.2
"""Mean number of metastases beyond the first at presentation (Poisson)."""
NEW_METASTASIS_PER_MONTH = 0.05
NEW_METASTASIS_ML = (0.35, 0.60)

SOURCES: dict[str, str] = {
    "TYPES": "the types of the plan and vestibular schwannoma",
    "TYPE_SHARE": "assumed case mix of a neuro-oncology service",
    "LAWS": "GBM Gompertz: Stensjoen, Neuro-Oncol 2015;17:1402. Diffuse glioma linear in diameter: Mandonnet, Ann "
    "Neurol 2003;53:524. Meningioma Gompertz: Strand, Neuro-Oncol Adv 2023. Metastasis exponential: Kobets, SNI "
    "2020;11:254. Schwannoma mm/year: Paldor 2016",
    "PRESENTING_ML": "assumed; diffuse glioma 33.8 mm mean diameter at baseline: Mazzocco, CPT:PSP 2015, psp4.54",
    "GBM_DOUBLING_DAYS": "21.1 d: Ellingson, Cancer 2016;122:1718; 49.6 d: Stensjoen, Neuro-Oncol 2015;17:1402",
    "METASTASIS_DOUBLING_DAYS": "86 d breast, 139 d lung, untreated: Kobets, SNI 2020;11:254",
    "DIAMETER_MM_PER_YEAR": "4.1 mm/year: Mandonnet, Ann Neurol 2003;53:524; 5.8 +- 6.3: Pallud, PMC3635513; growing "
    "schwannoma about 3 mm/year, all 1 mm/year: Paldor 2016",
    "SCHWANNOMA_COURSES": "a third grows within 1 to 3 years: Paldor 2016; 21-37 % in 5 years: PMC8099466",
    "MENINGIOMA_COURSES": "59 % grow, 27 % stable, 14 % shrink: Strand, Neuro-Oncol Adv 2023",
    "TREATED_GROWTH": "fitted to ln volume per year under treatment, UCSF-LPTDG 10/25/50/75/90 %: GBM "
    "-2.1/-0.1/0.9/3.1/6.6, IDH-mutant astrocytoma -0.6/-0.1/0.2/0.7/2.1, oligodendroglioma -0.7/-0.2/0.0/0.3/0.7",
    "GROWTH_WANDER_SD": "fitted with TREATED_GROWTH to the tails of UCSF-LPTDG",
    "GROWTH_WANDER_PER_MONTH": "assumed",
    "RESISTANT_LOGIT": "assumed",
    "RT_KILL_PER_MONTH": "assumed; diffuse glioma regrows months to years later: Plaszczynski, PLOS Comput Biol 2023",
    "CHEMO_KILL_PER_MONTH": "temozolomide in diffuse glioma -52 % volume at 18 months: Mazzocco, CPT:PSP 2015, "
    "psp4.54; GBM methylated against not 9.5 and 5.0 months without progression: PMC7596890",
    "CHEMO_FADES_MONTHS": "resistance 0.10 per month: Mazzocco, CPT:PSP 2015, psp4.54; others assumed",
    "CLEARANCE_MONTHS": "damaged tissue of diffuse glioma: Ribba, Clin Cancer Res 2012; others assumed",
    "PSEUDOPROGRESSION_SHARE": "13-24 %: PMC3755387; by MGMT: Brandes, JCO 2008; metastasis after radiosurgery 32 % "
    "enlarge: Patel, AJNR; transient: PMC9887079; schwannoma assumed",
    "TRANSFORMATION_PER_YEAR": "209 of 407 over follow-up: Pallud, PMC3635513",
    "EXTENT_OF_RESECTION": "assumed",
    "SCAN_GAP_MONTHS": "median 65 d UCSF-LPTDG, 72 d MU-Glioma-Post; slower types assumed",
    "DEATH_PER_MONTH_AT_60_ML": "fitted to overall survival 14.1 and 24.6 months in GBM: PMC7596890",
    "DROP_OUT_PER_VISIT": "assumed",
    "VOLATILITY": "change of enhancing volume between scans rated unchanged, log SD 0.55 at 2 ml: UCSF-LPTDG; others "
    "assumed",
    "VOLATILITY_MONTHS": "assumed",
    "OEDEMA_SD": "fitted to ln ratios of oedema in follow-up, SD 1.0 over 83 d: MU-Glioma-Post (TCIA)",
    "OEDEMA_MONTHS": "assumed",
    "STEROID_ENHANCEMENT": "assumed",
    "STEROID_OEDEMA": "assumed",
    "STEROID_SHARE": "assumed",
    "METASTASES_MEAN_MORE": "294 metastases in 82 patients: Barone (3.6 a patient in those selected for radiosurgery)",
    "NEW_METASTASIS_PER_MONTH": "about half of the patients have new ones a year after radiosurgery; assumed 45 %",
    "NEW_METASTASIS_ML": "assumed",
}


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
    volatility: Floats
    lesions: Ints
    dominance: Floats


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


def draw_latent(rng: np.random.Generator, tumour: Ints, size_scale: float = 1.0) -> Latent:
    """Draw the latent patient for each tumour type (index into `TYPES`); volumes and growth scale by `size_scale`."""
    draw = _Draw(rng, tumour)
    presenting = np.clip(draw.around(PRESENTING_ML), np.where(tumour == VS, 0.3, 1.2), 120.0) * size_scale
    methylated = rng.random(draw.n) < 0.42
    gbm, meningioma, metastasis = tumour == GBM, tumour == MENING, tumour == BM
    pseudo_odds = np.where(methylated, 1.35, 0.75) * gbm + ~gbm
    beta = draw.pair(EXTENT_OF_RESECTION)
    return Latent(
        tumour=tumour,
        presenting_ml=presenting,
        capacity_ml=np.where(
            meningioma, np.maximum(draw.lognormal(60, 0.5) * size_scale, 1.3 * presenting), draw.lognormal(220, 0.2)
        ),
        gompertz=_gompertz(draw, gbm, meningioma),
        exponential=np.where(metastasis, np.log(2) / _months(draw.lognormal(*METASTASIS_DOUBLING_DAYS)), 0.0),
        diameter_mm=_diameter_rate(draw) * size_scale ** (1 / 3),
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
        volatility=np.minimum(draw.around(VOLATILITY), 0.8),
        lesions=1 + rng.poisson(METASTASES_MEAN_MORE, draw.n) * metastasis,
        dominance=draw.uniform(0.6, 0.95),
    )


def _months(days: Floats) -> Floats:
    return days / 30.4375


def _gompertz(draw: _Draw, gbm: Bools, meningioma: Bools) -> Floats:
    """The Gompertz rate; the GBM doubling time holds at 20 ml under a capacity of 220 ml."""
    fast = np.log(2) / _months(draw.lognormal(*GBM_DOUBLING_DAYS)) / np.log(220 / 20)
    kind = draw.rng.random(draw.n)
    stable = 0.015 * draw.rng.standard_normal(draw.n)
    grows, stays = MENINGIOMA_COURSES
    shrinks = -draw.lognormal(0.05, 0.5)
    yearly = np.where(kind < grows, draw.lognormal(0.14, 0.6), np.where(kind < grows + stays, stable, shrinks))
    return np.where(gbm, fast, np.where(meningioma, yearly / 12 / np.log(6), 0.0))


def _diameter_rate(draw: _Draw) -> Floats:
    """Growth of the mean diameter in mm per month."""
    rate = np.zeros(draw.n)
    for tumour, (median, sd) in DIAMETER_MM_PER_YEAR.items():
        rate = np.where(draw.tumour == tumour, draw.lognormal(median, sd) / 12, rate)
    kind = draw.rng.random(draw.n)
    grows, stays = SCHWANNOMA_COURSES
    other = np.where(kind < grows + stays, 0.1 * draw.rng.standard_normal(draw.n), -draw.lognormal(0.5, 0.4)) / 12
    return np.where((draw.tumour == VS) & (kind >= grows), other, rate)


def measurement_sd_ln(volume_ml: Floats) -> Floats:
    """One SD of repeat measurement of ln volume at each volume: 14, 13, 6.5, 5.4 % by size, more below 1 ml."""
    volume = np.maximum(volume_ml, 0.05)
    return 0.05 + 0.10 / (1 + (volume / 12) ** 2) + 0.06 * np.maximum(-np.log(volume), 0.0)

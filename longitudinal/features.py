"""The ten numbers per scan that the forecaster reads: schema `tgf-10/1`, order frozen.

One function makes them for simulated, recorded and imported histories alike, so that training and service cannot
drift apart. Volumes are millilitres, lengths millimetres, times days; every input broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEATURE_SCHEMA = "tgf-10/1"

FEATURE_NAMES = (
    "ln_target_volume",
    "enhancing_fraction",
    "necrotic_fraction",
    "ln1p_oedema",
    "longest_diameter",
    "sphericity",
    "years_since_baseline",
    "interval",
    "treatment_state",
    "time_since_rt",
)

DAYS_PER_MONTH = 30.4375
DAYS_PER_YEAR = 365.25

MINIMUM_VOLUME_ML = 1.0
MAXIMUM_VOLUME_ML = 150.0
"""`ln_target_volume` is clamped to this range; the volume itself stays beside it in the history."""

NEVER_RT = 2.0
"""`time_since_rt` of a patient without radiotherapy, and of one whose radiotherapy ended two years ago or more."""

Numbers = npt.NDArray[np.float64] | float
Flags = npt.NDArray[np.bool_] | bool


@dataclass(frozen=True)
class ScanQuantities:
    """What the features are computed from; scalars or arrays of one shape.

    `target_ml` is the volume of the region followed for the tumour type; `enhancing_ml`, `necrotic_ml` and
    `oedema_ml` are compartments; `longest_mm` is the largest 3-D diameter of the largest lesion. `days_since_rt`
    counts from the end of the last radiotherapy, NaN where there was none. The flags say which treatment is
    running on the day of the scan, `had_rt` whether any radiotherapy has begun.
    """

    target_ml: Numbers
    enhancing_ml: Numbers
    necrotic_ml: Numbers
    oedema_ml: Numbers
    longest_mm: Numbers
    sphericity: Numbers
    days_from_baseline: Numbers
    interval_days: Numbers
    had_rt: Flags
    rt_now: Flags
    chemo_now: Flags
    antiangiogenic_now: Flags
    days_since_rt: Numbers


def feature_vector(scan: ScanQuantities) -> npt.NDArray[np.float64]:
    """The features, shape (..., 10) in the order of `FEATURE_NAMES`.

    Units: ln ml (clamped), fraction, fraction, ln(1 + ml), cm, 0-1, years, months/3 (0 at the first scan), 0-1
    ordinal, years capped at 2. Fractions of an empty region are 0.
    """
    enhancing, necrotic = np.asarray(scan.enhancing_ml, float), np.asarray(scan.necrotic_ml, float)
    oedema = np.asarray(scan.oedema_ml, float)
    core = enhancing + necrotic
    since_rt = np.asarray(scan.days_since_rt, float) / DAYS_PER_YEAR
    columns = (
        np.log(np.clip(scan.target_ml, MINIMUM_VOLUME_ML, MAXIMUM_VOLUME_ML)),
        _fraction(enhancing, core + oedema),
        _fraction(necrotic, core),
        np.log1p(oedema),
        np.asarray(scan.longest_mm, float) / 10,
        np.asarray(scan.sphericity, float),
        np.asarray(scan.days_from_baseline, float) / DAYS_PER_YEAR,
        np.asarray(scan.interval_days, float) / DAYS_PER_MONTH / 3,
        _treatment_state(scan),
        np.where(np.isnan(since_rt), NEVER_RT, np.clip(np.nan_to_num(since_rt), 0.0, NEVER_RT)),
    )
    return np.stack(np.broadcast_arrays(*columns), axis=-1).astype(np.float64)


def _treatment_state(scan: ScanQuantities) -> npt.NDArray[np.float64]:
    """Ordinal: 0.25 had radiotherapy, +0.25 running, +0.5 chemotherapy, +0.75 anti-angiogenic running; at most 1."""
    had, rt = np.asarray(scan.had_rt, float), np.asarray(scan.rt_now, float)
    chemo, antiangiogenic = np.asarray(scan.chemo_now, float), np.asarray(scan.antiangiogenic_now, float)
    return np.minimum(0.25 * had + 0.25 * rt + 0.5 * chemo + 0.75 * antiangiogenic, 1.0)


def _fraction(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.divide(
        part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0
    )
    return result

"""The claims T1 to T4 on the frozen cohorts, each with what it is held against, and passed or missed by how much.

T1 accuracy on SURV-REF-1 against the latent truth, which the last value and the prior must fail or the cohort is too
easy. T2 skill on MIX-REF-1, T3 calibration, T4 no tumour type worse off than with the last value. T5 (real patients)
is `cross_validation`; T6 is the plain table of `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Bools, Floats, PatientArrays, arrays_of
from inference.forecast.calibration import HORIZON_BINS, horizon_bin
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN, QUANTILES
from longitudinal.rano import PROGRESSIVE_INCREASE, PROGRESSIVE_INCREASE_ML
from training.forecast.cohorts import MIX_REF_1, SURV_REF_1, CohortChanged, ReferenceCohort
from training.forecast.evaluate import LAST_VALUE, MODEL, PRIOR, method_quantiles
from training.forecast.metrics import crps, mean_interval, observed_levels, paired, rounded, scores
from training.forecast.windows import Windows, latent_ml, windows_of

SCHEMA = "forecast-acceptance/1"
_THREE_MONTHS = list(HORIZON_BINS).index("3mo")
_FEWEST_WINDOWS = 100


def accept(
    model: ForecastModel, patients: int | None = None, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Measure the claims; `patients` takes only the first of each cohort, for a quick look."""
    result: dict[str, Any] = {"schema": SCHEMA, "claims": {}}
    for cohort in (SURV_REF_1, MIX_REF_1):
        if progress:
            progress(f"simulating {cohort.name}")
        field = _Field(model, cohort, patients)
        result[cohort.name] = field.table()
        result["claims"] |= field.t1() if cohort is SURV_REF_1 else field.t2_to_t4()
    return result


def new_progression(arrays: PatientArrays, windows: Windows) -> tuple[Bools, Bools, Floats]:
    """Which windows can show a *new* progression (none at the origin), which do, and the nadir up to the origin, ml.

    Progression is +40 % and a millilitre over the nadir, which does not hold the scan itself.
    """
    lowest = np.minimum.accumulate(arrays.volume_ml, axis=1)
    nadir = lowest[windows.queries.index]
    before = np.where(
        windows.queries.scans > 0, lowest[windows.queries.rows, np.maximum(windows.queries.scans - 1, 0)], np.inf
    )
    already = _progressed(windows.last_ml, before)
    return ~already, _progressed(windows.measured_ml, nadir), nadir


def progression_score(quantiles_ml: Floats, nadir_ml: Floats) -> Floats:
    """Probability that the volume is over the threshold, from the seven quantiles."""
    threshold = np.maximum(nadir_ml * (1 + PROGRESSIVE_INCREASE), nadir_ml + PROGRESSIVE_INCREASE_ML)
    ln, at = np.log(np.maximum(quantiles_ml, 1e-3)), np.log(threshold)
    levels = np.array(QUANTILES)
    # Beyond the outer quantiles the line through the last two goes on, so that scores stay ordered.
    below = (at - ln[:, 0]) / np.maximum(ln[:, 1] - ln[:, 0], 1e-6) * 0.01
    above = (at - ln[:, -1]) / np.maximum(ln[:, -1] - ln[:, -2], 1e-6) * 0.01
    inside = np.array([np.interp(a, row, levels) for a, row in zip(at, ln, strict=True)])
    inside = np.where(at < ln[:, 0], levels[0] + np.maximum(below, -0.04), inside)
    return np.asarray(1 - np.where(at > ln[:, -1], levels[-1] + np.minimum(above, 0.04), inside))


def auc(positive: Bools, score: Floats) -> float:
    """Area under the ROC curve; ties count a half."""
    values, rank, number = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(number) - (number - 1) / 2
    n, p = len(score), int(positive.sum())
    if p in (0, n) or not len(values):
        return float("nan")
    return float((mean_rank[rank.ravel()][positive].sum() - p * (p + 1) / 2) / (p * (n - p)))


class _Field:
    """All methods on one cohort."""

    def __init__(self, model: ForecastModel, cohort: ReferenceCohort, patients: int | None) -> None:
        simulated = cohort.simulate(patients)
        self.cohort, self.patients = cohort, simulated.histories.patients
        self.arrays = arrays_of(self.patients)
        everything = windows_of(self.arrays)
        latent = latent_ml(self.patients, simulated.truth.truth, everything)
        if latent is None:
            raise CohortChanged(f"{cohort.name}: a patient has no truth")
        keep = ~everything.surgery
        self.windows, self.latent = everything.where(keep), latent[keep]
        self.quantiles = method_quantiles(model, self.arrays, self.windows)
        self.bins = horizon_bin(self.windows.queries.horizon_days)
        self.model = model

    def table(self) -> dict[str, Any]:
        """Every method by horizon, against what was measured and against the truth."""
        return {
            "patients": len(self.patients),
            "seed": self.cohort.seed,
            **{name: self._at(np.asarray(self.bins == place)) for place, name in enumerate(HORIZON_BINS)},
        }

    def _at(self, mask: Bools) -> dict[str, Any]:
        windows = self.windows.where(mask)
        return {
            "windows": len(windows),
            "mean_volume_ml": rounded(windows.measured_ml.mean()),
            "median_volume_ml": rounded(np.median(windows.measured_ml)),
            "floor_mae_ml": rounded(np.abs(windows.measured_ml - self.latent[mask]).mean()),
            "methods": {
                name: {
                    **scores(windows.measured_ml, q[mask], windows.last_ml),
                    "mae_latent_ml": rounded(np.abs(self.latent[mask] - q[mask][:, MEDIAN]).mean()),
                    "r2_latent": scores(self.latent[mask], q[mask], windows.last_ml)["r2"],
                }
                for name, q in self.quantiles.items()
            },
        }

    def t1(self) -> dict[str, Any]:
        """Accuracy against the truth at three months."""
        mask = self.bins == _THREE_MONTHS
        found = self._at(mask)["methods"]
        error = np.abs(self.latent[mask] - self.quantiles[MODEL][mask][:, MEDIAN])
        interval = mean_interval(error, self.windows.queries.rows[mask]).to_json()
        return {
            "T1 MAE": claim(interval[0], "<", 0.70, interval=interval),
            "T1 R2": claim(found[MODEL]["r2_latent"], ">", 0.96),
            "T1 last value fails": claim(found[LAST_VALUE]["mae_latent_ml"], ">", 0.80),
            "T1 prior (Kalman) fails": claim(found[PRIOR]["mae_latent_ml"], ">", 0.80),
        }

    def t2_to_t4(self) -> dict[str, Any]:
        """Skill and new progression at three months, calibration, and harm by type."""
        mask = self.bins == _THREE_MONTHS
        windows, patients = self.windows.where(mask), self.windows.queries.rows[mask]
        q = {name: value[mask] for name, value in self.quantiles.items()}
        error = {name: np.abs(windows.measured_ml - value[:, MEDIAN]) for name, value in q.items()}
        against = {n: paired(error[MODEL], error[n], patients)["relative"] for n in (LAST_VALUE, PRIOR)}
        loss = {n: crps(windows.measured_ml, value) for n, value in q.items()}
        may, does, nadir = new_progression(self.arrays, windows)
        areas = {n: auc(does[may], progression_score(value[may], nadir[may])) for n, value in q.items()}
        areas[LAST_VALUE] = auc(does[may], (windows.last_ml / np.maximum(nadir, 0.1))[may])
        r2 = scores(windows.measured_ml, q[MODEL], windows.last_ml)["r2_of_change"]
        return {
            "T2 MAE of last value": claim(
                1 + against[LAST_VALUE][0], "<=", 0.60, interval=_plus_one(against[LAST_VALUE])
            ),
            "T2 MAE of prior": claim(1 + against[PRIOR][0], "<=", 0.80, interval=_plus_one(against[PRIOR])),
            "T2 R2 of change": claim(r2, ">=", 0.65),
            "T2 CRPS of last value": claim(loss[MODEL].mean() / loss[LAST_VALUE].mean(), "<", 1.0),
            "T2 new progression AUC": claim(
                areas[MODEL], ">", 0.93, last_value=rounded(areas[LAST_VALUE]), share=rounded(does[may].mean())
            ),
            **self._t3(),
            **self._t4(),
        }

    def _t3(self) -> dict[str, Any]:
        measured, q = self.windows.measured_ml, self.quantiles[MODEL]
        held = ((measured >= q[:, 0]) & (measured <= q[:, -1])).astype(float)
        overall = mean_interval(held, self.windows.queries.rows).to_json()
        kinds = self.arrays.tumour[self.windows.queries.rows]
        cells = {
            f"{kind} {name}": float(held[(kinds == code) & (self.bins == place)].mean())
            for code, kind in enumerate(TUMOUR_TYPES)
            for place, name in enumerate(HORIZON_BINS)
            if ((kinds == code) & (self.bins == place)).sum() >= _FEWEST_WINDOWS
        }
        worst = min(cells, key=lambda name: cells[name])
        ece = float(np.abs(np.array(observed_levels(measured, q)) - np.array(QUANTILES)).mean())
        return {
            "T3 coverage low": claim(overall[0], ">=", 0.88, interval=overall),
            "T3 coverage high": claim(overall[0], "<=", 0.92, interval=overall),
            "T3 worst cell": claim(cells[worst], ">=", 0.85, cell=worst),
            "T3 quantile error": claim(ece, "<=", 0.03),
        }

    def _t4(self) -> dict[str, Any]:
        measured, rows = self.windows.measured_ml, self.windows.queries.rows
        error = {n: np.abs(measured - self.quantiles[n][:, MEDIAN]) for n in (MODEL, LAST_VALUE)}
        kinds = self.arrays.tumour[rows]
        found = {}
        for code, kind in enumerate(TUMOUR_TYPES):
            mine = kinds == code
            if mine.sum() >= _FEWEST_WINDOWS:
                change = paired(error[MODEL][mine], error[LAST_VALUE][mine], rows[mine])["relative"]
                found[f"T4 {kind}"] = claim(1 + change[2], "<=", 1.05, interval=_plus_one(change))
        return found


def claim(value: float, sign: str, limit: float, **more: Any) -> dict[str, Any]:
    """One claim: its value, its limit, whether it holds and by how much it is missed (0 where it holds)."""
    short = value - limit if sign in ("<", "<=") else limit - value
    holds = short < 0 or (short == 0 and sign in ("<=", ">="))
    return {
        "value": rounded(value),
        "limit": f"{sign} {limit:g}",
        "passed": bool(holds),
        "missed_by": 0.0 if holds else rounded(short),
        **more,
    }


def _progressed(volume_ml: Floats, nadir_ml: Floats) -> Bools:
    grown = volume_ml - nadir_ml
    return np.asarray((grown >= PROGRESSIVE_INCREASE * nadir_ml) & (grown >= PROGRESSIVE_INCREASE_ML))


def _plus_one(change: list[float]) -> list[float]:
    return [rounded(1 + v) for v in change]

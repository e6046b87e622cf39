"""Real cohorts, by cross-validation over patients: every expert, and the stack of them, against the last value.

All methods get the same training patients and the same windows. Weights and width of the stack are set inside each
training fold, on forecasts of patients that the experts were not fitted on, so a test patient decides nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.forecast.arrays import Bools, Floats, Ints, PatientArrays, arrays_of
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN
from inference.forecast.prior import PopulationPrior
from longitudinal.histories import Histories, encode, sha256
from training.forecast.baselines import Baselines, prior_quantiles_ml
from training.forecast.boosting import QuantileBoosting
from training.forecast.finetune import HeadInputs, finetune_head, head_inputs, sample_windows
from training.forecast.gompertz import GompertzShrinkage
from training.forecast.metrics import crps, mean_interval, paired, rounded
from training.forecast.prior_fit import refit_prior
from training.forecast.scaled_persistence import ScaledPersistence
from training.forecast.stacking import Stack, best_factor, covered, widened
from training.forecast.windows import Windows, windows_of
from training.simulate.histories import simulate_histories

SCHEMA = "forecast-cross-validation/1"
REFERENCE, STACK = "last_value", "stack"
STACKED = (REFERENCE, "scaled_persistence", "gompertz", "boosting", "lstm_for_site")
FOLDS, INNER_FOLDS = 5, 3
FEWEST_FOR_HEAD = 150
"""Training patients below which the network's head is left as it is."""
_REHEARSAL_PATIENTS, _REHEARSAL_WINDOWS = 400, 6000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Cohort:
    """Patients as arrays with all their windows; `tested` are those that figures are about, the others only teach."""

    arrays: PatientArrays
    windows: Windows
    tested: Bools

    @property
    def patients(self) -> Ints:
        return self.windows.queries.rows


def cohort_of(data: Histories, extra: Histories | None = None) -> Cohort:
    """Windows without surgery of `data` and of `extra`, patients that are learnt from and never tested on."""
    seen = {p.pid for p in data.patients}
    more = tuple(p for p in extra.patients if p.pid not in seen) if extra else ()
    arrays = arrays_of(data.patients + more)
    windows = windows_of(arrays)
    tested = np.arange(len(arrays)) < len(data.patients)
    return Cohort(arrays, windows.where(~windows.surgery), tested)


def cross_validate(
    data: Histories, model: ForecastModel, extra: Histories | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Every method on every patient of `data`, each forecast by a fit that has not seen the patient."""
    cohort = cohort_of(data, extra)
    fold = np.array([_fold(pid) for pid in cohort.arrays.pids])
    rehearsal = rehearsal_inputs(model)
    found: dict[str, Floats] = {}
    stacks = []
    for number in range(FOLDS):
        train = np.flatnonzero(fold != number)
        test = np.flatnonzero((fold == number) & cohort.tested)
        outer, stack = _one_fold(cohort, model, rehearsal, train, test, number)
        stacks.append(stack.to_json())
        here = np.flatnonzero(np.isin(cohort.patients, test))
        for name, quantiles in outer.items():
            found.setdefault(name, np.zeros((len(cohort.windows), quantiles.shape[1])))[here] = quantiles
        if progress:
            progress(f"fold {number + 1}/{FOLDS}: {stack.to_json()}")
    keep = np.flatnonzero(cohort.tested[cohort.patients])
    report = score_table({name: q[keep] for name, q in found.items()}, cohort.windows.where(keep))
    report["data"] = {"sha256": sha256(encode(data)), "source": data.source.model_dump(mode="json")}
    return {"schema": SCHEMA, **report, "folds": FOLDS, "stacks": stacks}


def score_table(quantiles: dict[str, Floats], windows: Windows) -> dict[str, Any]:
    """MAE, CRPS and coverage of each method with its change against the last value, over patients."""
    measured, patients = windows.measured_ml, windows.queries.rows
    base = quantiles[REFERENCE]
    methods = {}
    for name, q in quantiles.items():
        error, reference = np.abs(measured - q[:, MEDIAN]), np.abs(measured - base[:, MEDIAN])
        methods[name] = {
            "mae_ml": rounded(error.mean()),
            "crps_ml": rounded(crps(measured, q).mean()),
            "mae_relative": paired(error, reference, patients)["relative"],
            "crps_relative": paired(crps(measured, q), crps(measured, base), patients)["relative"],
            "coverage": mean_interval(covered(measured, q), patients).to_json(),
        }
    return {
        "patients": len(np.unique(patients)),
        "windows": len(windows),
        "mean_volume_ml": rounded(measured.mean()),
        "methods": methods,
    }


def fit_experts(
    cohort: Cohort, model: ForecastModel, prior: PopulationPrior, rehearsal: HeadInputs, train: Ints, seed: int
) -> Callable[[Windows], dict[str, Floats]]:
    """Fit every expert on the patients `train`; the result makes their quantiles for windows of the cohort.

    `prior` is that of the model, refitted.
    """
    arrays, windows = cohort.arrays, cohort.windows.of_patients(train)
    baselines, gompertz = Baselines.fit(arrays, windows), GompertzShrinkage.fit(arrays, windows)
    scaled = ScaledPersistence.fit(arrays, windows)
    boosting = QuantileBoosting.fit(arrays, windows, prior)
    local = head_inputs(model, prior, arrays, sample_windows(windows, 8000, seed))
    tuned = finetune_head(model, prior, local, rehearsal, seed)
    # With fewer patients a head forgets more than it learns: then only the widths are the site's.
    site = tuned if len(np.unique(windows.queries.rows)) >= FEWEST_FOR_HEAD else model
    factor = best_factor(site.quantiles_ml(arrays, windows.queries), windows.measured_ml)

    def forecast(target: Windows) -> dict[str, Floats]:
        return {
            REFERENCE: baselines.quantiles_ml(REFERENCE, arrays, target),
            "linear_last3": baselines.quantiles_ml("linear_last3", arrays, target),
            "gompertz": gompertz.quantiles_ml(arrays, target),
            "prior_refitted": prior_quantiles_ml(prior, arrays, target),
            "boosting": boosting.quantiles_ml(arrays, target),
            "scaled_persistence": scaled.quantiles_ml(arrays, target),
            "lstm_zero_shot": model.quantiles_ml(arrays, target.queries),
            "lstm_finetuned": tuned.quantiles_ml(arrays, target.queries),
            "lstm_for_site": widened(site.quantiles_ml(arrays, target.queries), factor),
        }

    return forecast


def _one_fold(
    cohort: Cohort, model: ForecastModel, rehearsal: HeadInputs, train: Ints, test: Ints, seed: int
) -> tuple[dict[str, Floats], Stack]:
    prior = refit_prior(model.prior, cohort.arrays, with_windows(cohort, train), seed)
    stack = fit_stack(cohort, model, prior, rehearsal, train, seed)
    outer = fit_experts(cohort, model, prior, rehearsal, train, seed)(cohort.windows.of_patients(test))
    return {**outer, STACK: stack.quantiles_ml(outer)}, stack


def with_windows(cohort: Cohort, rows: Ints) -> Ints:
    """Those of the patients `rows` that have a window."""
    return np.unique(cohort.windows.of_patients(rows).queries.rows)


def fit_stack(
    cohort: Cohort, model: ForecastModel, prior: PopulationPrior, rehearsal: HeadInputs, train: Ints, seed: int
) -> Stack:
    """Weights and width of the stack from an inner cross-validation over the patients `train`."""
    inner = np.array([_fold(pid, f"inner-{seed}", INNER_FOLDS) for pid in cohort.arrays.pids])[train]
    parts: list[tuple[Windows, dict[str, Floats]]] = []
    for number in range(INNER_FOLDS):
        held = train[inner == number]
        target = cohort.windows.of_patients(held)
        experts = fit_experts(cohort, model, prior, rehearsal, train[inner != number], seed)(target)
        parts.append((target, experts))
    quantiles = {name: np.concatenate([e[name] for _, e in parts]) for name in STACKED}
    measured = np.concatenate([w.measured_ml for w, _ in parts])
    patients = np.concatenate([w.queries.rows for w, _ in parts])
    return Stack.fit(quantiles, measured, patients, anchor=REFERENCE)


def rehearsal_inputs(model: ForecastModel) -> HeadInputs:
    """Simulated patients of unknown type, half of what a head learns on from."""
    simulated = simulate_histories(_REHEARSAL_PATIENTS, 90_210).histories
    arrays = arrays_of(simulated.patients).of_unknown_type()
    windows = windows_of(arrays)
    windows = sample_windows(windows.where(~windows.surgery), _REHEARSAL_WINDOWS, 0)
    return head_inputs(model, model.prior, arrays, windows)


def _fold(pid: str, key: str = "timepoint", folds: int = FOLDS) -> int:
    """The fold of a patient, which no other patient and no order of the file can change."""
    digest = hashlib.blake2b(pid.encode(), key=key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % folds

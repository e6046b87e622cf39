"""May a new forecaster take over? Champion, challenger and the baselines on patients that neither has learnt from.

Primary is the CRPS with an interval over patients. Every test of a challenger counts: with the k-th the interval is
one of 1 - 0.05 / k, so that retraining each month does not win by chance in the end. A baseline that wins is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Bools, Floats, Ints, PatientArrays, arrays_of
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN
from longitudinal.histories import Histories, encode, sha256
from training.forecast.compare import FEWEST_PATIENTS, FEWEST_WINDOWS
from training.forecast.evaluate import LAST_VALUE, PRIOR, EvaluationError, held_out_rows, method_quantiles
from training.forecast.metrics import crps, paired, scores
from training.forecast.windows import Windows, windows_of

GATE_SCHEMA = "forecast-gate/1"
PROMOTE, KEEP, INSUFFICIENT = "promote", "keep champion", "insufficient evidence"
ALPHA = 0.05
LOCAL_TOLERANCE, MAE_TOLERANCE, SUBGROUP_TOLERANCE = 0.02, 0.03, 0.10
COVERAGE_BAND = (0.85, 0.95)
_FEWEST_OF_A_GROUP = 30

Losses = tuple[Floats, Floats]


def judge(
    champion: ForecastModel | Path,
    challenger: ForecastModel | Path,
    local: Histories,
    reference: Histories | None = None,
    tests_before: int = 0,
) -> dict[str, Any]:
    """The verdict with everything it rests on; `reasons` says what spoke against the challenger.

    The challenger wins with a CRPS below the champion's on `local` beyond doubt, or with one at most 2 % above
    there and below it beyond doubt on the simulated `reference`. In any case its MAE may not be more than 3 % above,
    its coverage lies in 0.85 to 0.95, and no type or scanner is more than 10 % worse.

    Raises:
        EvaluationError: when no pair of scans is left that neither model has learnt from.
        ModelFolderError: when a model folder cannot be used.
    """
    models = [ForecastModel.load(m) if isinstance(m, Path) else m for m in (champion, challenger)]
    level = 1 - ALPHA / (tests_before + 1)
    here = _Gate(models, local, level)
    there = _Gate(models, reference, level) if reference else None
    reasons = [*here.against_challenger(), *_not_better(here, there)]
    verdict = PROMOTE if not reasons else KEEP
    if here.patients < FEWEST_PATIENTS and len(here.windows) < FEWEST_WINDOWS:
        verdict = INSUFFICIENT
        reasons = [
            f"{here.patients} patients and {len(here.windows)} pairs of scans; {FEWEST_PATIENTS} or {FEWEST_WINDOWS} "
            "are needed to tell two similar models apart"
        ]
    return {
        "schema": GATE_SCHEMA,
        "verdict": verdict,
        "reasons": reasons,
        "confidence": level,
        "data_sha256": sha256(encode(local)),
        "champion": _named(models[0]),
        "challenger": _named(models[1]),
        "local": here.to_json(),
        "reference": there.to_json() if there else None,
        "better_baselines": here.better_baselines(),
    }


class _Gate:
    """All entrants on the same windows of patients that neither model has learnt from."""

    def __init__(self, models: list[ForecastModel], data: Histories, level: float) -> None:
        self.level = level
        self.arrays: PatientArrays = arrays_of(data.patients)
        everything = windows_of(self.arrays)
        champion_unseen, challenger_unseen = (held_out_rows(model, data)[0] for model in models)
        rows = np.intersect1d(champion_unseen, challenger_unseen)
        self.windows: Windows = everything.of_patients(rows)
        if not len(self.windows):
            raise EvaluationError("no pair of scans that neither model was trained with")
        self.who: Ints = self.windows.queries.rows
        self.patients = len(np.unique(self.who))
        self.scanners = _scanners(data, self.windows)
        entrants = method_quantiles(models[1], self.arrays, self.windows)
        self.champion = models[0].quantiles_ml(self.arrays, self.windows.queries)
        self.challenger = entrants["model"]
        self.baselines = {name: entrants[name] for name in (LAST_VALUE, PRIOR)}

    def change(self, measure: str, keep: Bools | None = None) -> list[float]:
        """Relative change of CRPS or MAE from champion to challenger with its interval."""
        mask = np.ones(len(self.windows), dtype=bool) if keep is None else keep
        losses = [_loss(measure, self.windows.measured_ml[mask], q[mask]) for q in (self.challenger, self.champion)]
        return paired(losses[0], losses[1], self.who[mask], level=self.level)["relative"]

    def coverage(self) -> float:
        measured = self.windows.measured_ml
        return float(((measured >= self.challenger[:, 0]) & (measured <= self.challenger[:, -1])).mean())

    def subgroups(self) -> dict[str, list[float]]:
        """Change of CRPS in every type and scanner with enough patients."""
        kinds = self.arrays.tumour[self.who]
        masks = {str(kind): kinds == code for code, kind in enumerate(TUMOUR_TYPES)}
        masks |= {f"scanner {name}": self.scanners == name for name in np.unique(self.scanners) if name}
        return {
            name: self.change("crps", mask)
            for name, mask in masks.items()
            if len(np.unique(self.who[mask])) >= _FEWEST_OF_A_GROUP
        }

    def against_challenger(self) -> list[str]:
        """What rules it out whatever its CRPS."""
        reasons = []
        mae = self.change("mae")
        if mae[2] > MAE_TOLERANCE:
            reasons.append(
                f"its MAE may be {100 * mae[2]:.1f} % above the champion's; {100 * MAE_TOLERANCE:.0f} % is the limit"
            )
        coverage = self.coverage()
        if not COVERAGE_BAND[0] <= coverage <= COVERAGE_BAND[1]:
            reasons.append(f"its 90 % interval holds {100 * coverage:.1f} %; 85 to 95 % is the band")
        reasons += [
            f"{name}: its CRPS may be {100 * change[2]:.1f} % above the champion's; "
            f"{100 * SUBGROUP_TOLERANCE:.0f} % is the limit of a subgroup"
            for name, change in self.subgroups().items()
            if change[2] > SUBGROUP_TOLERANCE
        ]
        return reasons

    def better_baselines(self) -> list[str]:
        """Baselines with a lower CRPS than both models: they are what should be deployed then."""
        means = [crps(self.windows.measured_ml, q).mean() for q in (self.champion, self.challenger)]
        return [n for n, q in self.baselines.items() if crps(self.windows.measured_ml, q).mean() < min(means)]

    def to_json(self) -> dict[str, Any]:
        measured, last = self.windows.measured_ml, self.windows.last_ml
        entrants = {"champion": self.champion, "challenger": self.challenger, **self.baselines}
        return {
            "patients": self.patients,
            "windows": len(self.windows),
            "crps_relative": self.change("crps"),
            "mae_relative": self.change("mae"),
            "subgroups": self.subgroups(),
            "entrants": {name: scores(measured, q, last) for name, q in entrants.items()},
        }


def _not_better(here: _Gate, there: _Gate | None) -> list[str]:
    change = here.change("crps")
    if change[2] < 0:
        return []
    if change[2] < LOCAL_TOLERANCE and there is not None and there.change("crps")[2] < 0:
        return []
    value, low, high = (100 * v for v in change)
    said = f"its CRPS is not below the champion's beyond doubt ({value:+.1f} % [{low:+.1f}, {high:+.1f}])"
    return [said]


def _loss(measure: str, measured_ml: Floats, quantiles_ml: Floats) -> Floats:
    return crps(measured_ml, quantiles_ml) if measure == "crps" else np.abs(measured_ml - quantiles_ml[:, MEDIAN])


def _scanners(data: Histories, windows: Windows) -> np.ndarray[Any, Any]:
    """The scanner of each target scan, empty where it is not known."""
    pairs = zip(windows.queries.rows, windows.target, strict=True)
    return np.array([data.patients[row].scans[target].scanner or "" for row, target in pairs], dtype=object)


def _named(model: ForecastModel) -> Mapping[str, str]:
    identity = model.identity
    return {"name": identity.name, "version": identity.version, "weights_sha256": identity.weights_sha256}

"""What a forecaster is worth on patients it has not seen, always beside what it has to beat.

Every figure stands beside the last value carried forward, straight lines, the population prior alone and, where the
latent truth is known, the floor that measurement error sets. Intervals are over patients.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Bools, Floats, Ints, PatientArrays, arrays_of
from inference.forecast.calibration import HORIZON_BINS, horizon_bin
from inference.forecast.forecaster import Forecaster
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN, QUANTILES
from longitudinal.histories import Histories, Patient, Truth, encode, sha256
from training.forecast.baselines import POINT_METHODS, Baselines, prior_quantiles_ml
from training.forecast.metrics import crps, mean_interval, observed_levels, paired, rounded, scores
from training.forecast.windows import Windows, latent_ml, split_patients, windows_of

REPORT_SCHEMA = "forecast-evaluation/1"
MODEL, PRIOR, LAST_VALUE = "model", "population_prior", "last_value"
_FEWEST_WINDOWS = 20
_EXAMPLES = 6


class EvaluationError(ValueError):
    """The histories cannot be evaluated on; the message says why."""


def evaluate(model: ForecastModel | Path, data: Histories, truth: Mapping[str, Truth] | None = None) -> dict[str, Any]:
    """Measure a model on histories; on the data it was trained with, on its test patients only.

    Raises:
        EvaluationError: when no pair of scans is left to evaluate on.
        ModelFolderError: when the model folder cannot be used.
    """
    loaded = ForecastModel.load(model) if isinstance(model, Path) else model
    arrays = arrays_of(data.patients)
    windows = windows_of(arrays)
    rows, subset = held_out_rows(loaded, data)
    latent = latent_ml(data.patients, truth, windows) if truth else None
    report = measure_model(loaded, arrays, windows, rows, latent)
    report["data"]["sha256"] = sha256(encode(data))
    report["data"]["source"] = data.source.model_dump(mode="json")
    report["data"]["subset"] = subset
    report["latency_ms"] = latency_ms(Forecaster(loaded), [data.patients[int(row)] for row in rows[:200]])
    return report


def held_out_rows(model: ForecastModel, data: Histories) -> tuple[Ints, str]:
    """Rows of the patients that the model has not seen, and in words which those are."""
    training = model.card.get("training", {})
    if training.get("data_sha256") != sha256(encode(data)):
        return np.arange(len(data.patients)), "all patients of a file that the model was not trained with"
    config = training["config"]
    split = split_patients(data.patients, config["seed"], config["share_validation"], config["share_test"])
    return split.test, "the test patients of the file that the model was trained with"


def measure_model(
    model: ForecastModel, arrays: PatientArrays, all_windows: Windows, rows: Ints, latent: Floats | None
) -> dict[str, Any]:
    """The report on the windows of the patients `rows`; `latent` is the true volume of every window, if known."""
    keep = np.isin(all_windows.queries.rows, rows) & ~all_windows.surgery
    if not keep.any():
        raise EvaluationError("no pair of scans up to 13.5 months apart without surgery between them")
    windows = all_windows.where(keep)
    true_ml = None if latent is None else latent[keep]
    quantiles = method_quantiles(model, arrays, windows)
    table = _Table(arrays, windows, quantiles, true_ml)
    untyped = arrays.of_unknown_type()
    whole = windows_of(untyped).where(keep)
    unknown = model.quantiles_ml(untyped, whole.queries)
    horizons = {name: table.part(mask) for name, mask in table.horizons().items()}
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "model": {
            "name": model.identity.name,
            "version": model.identity.version,
            "weights_sha256": model.identity.weights_sha256,
            "calibration_id": model.calibration.id,
        },
        "data": {
            "patients": len(rows),
            "windows": len(windows),
            "windows_left_out_for_surgery": int((np.isin(all_windows.queries.rows, rows) & all_windows.surgery).sum()),
        },
        "horizons": horizons,
        "types": table.by_type(),
        "scans_known": table.by_scans_known(),
        "unknown_type": scores(whole.measured_ml, unknown, whole.last_ml),
        "calibration": {
            "levels": list(QUANTILES),
            "observed": observed_levels(windows.measured_ml, quantiles[MODEL]),
            "coverage": mean_interval(_covered(windows, quantiles[MODEL]), windows.queries.rows).to_json(),
            "width_never_falls": _width_never_falls(model, arrays, windows),
        },
        "examples": _examples(model, arrays, rows),
    }
    report["summary"] = _summary(report)
    return report


def method_quantiles(model: ForecastModel, arrays: PatientArrays, windows: Windows) -> dict[str, Floats]:
    """Quantiles in ml of the model and of everything it is held against."""
    found = {
        MODEL: model.quantiles_ml(arrays, windows.queries),
        PRIOR: prior_quantiles_ml(model.prior, arrays, windows),
    }
    baselines = Baselines.from_json(model.card["baselines"])
    found |= {method: baselines.quantiles_ml(method, arrays, windows) for method in POINT_METHODS}
    return found


def latency_ms(forecaster: Forecaster, patients: list[Patient]) -> dict[str, float]:
    """Time of one `Forecaster.forecast` of four horizons, one patient at a time, one thread."""
    times = []
    for patient in [patients[0], *patients]:
        begin = time.perf_counter()
        forecaster.forecast(patient, (30, 91, 182, 365), tracking_uid="1.2.3")
        times.append((time.perf_counter() - begin) * 1000)
    p50, p99 = np.percentile(times[1:], [50, 99])
    return {"p50": rounded(p50), "p99": rounded(p99), "forecasts": len(patients)}


class _Table:
    """All methods on the same windows."""

    def __init__(
        self, arrays: PatientArrays, windows: Windows, quantiles: Mapping[str, Floats], true_ml: Floats | None
    ) -> None:
        self.windows, self.quantiles, self.true_ml = windows, quantiles, true_ml
        self.patients = windows.queries.rows
        self.kinds = arrays.tumour[self.patients]
        self.bins = horizon_bin(windows.queries.horizon_days)

    def horizons(self) -> dict[str, Bools]:
        masks = {name: np.asarray(self.bins == number) for number, name in enumerate(HORIZON_BINS)}
        return {"all": np.ones(len(self.windows), dtype=bool), **{k: m for k, m in masks.items() if m.any()}}

    def part(self, mask: Bools) -> dict[str, Any]:
        measured, last = self.windows.measured_ml[mask], self.windows.last_ml[mask]
        patients = self.patients[mask]
        result: dict[str, Any] = {
            "windows": int(mask.sum()),
            "patients": len(np.unique(patients)),
            "mean_volume_ml": rounded(measured.mean()),
            "median_volume_ml": rounded(np.median(measured)),
            "methods": {name: scores(measured, q[mask], last) for name, q in self.quantiles.items()},
            "against": {name: self._against(name, mask) for name in (LAST_VALUE, PRIOR)},
        }
        if self.true_ml is not None:
            true = self.true_ml[mask]
            result["floor_mae_ml"] = rounded(np.abs(measured - true).mean())
            for name, quantiles in self.quantiles.items():
                against_truth = scores(true, quantiles[mask], last)
                result["methods"][name]["mae_latent_ml"] = against_truth["mae_ml"]
                result["methods"][name]["r2_latent"] = against_truth["r2"]
        return result

    def _against(self, reference: str, mask: Bools) -> dict[str, Any]:
        measured, patients = self.windows.measured_ml[mask], self.patients[mask]
        ours, theirs = self.quantiles[MODEL][mask], self.quantiles[reference][mask]
        error = np.abs(measured - ours[:, MEDIAN]), np.abs(measured - theirs[:, MEDIAN])
        return {
            "mae_ml": paired(*error, patients),
            "crps_ml": paired(crps(measured, ours), crps(measured, theirs), patients),
        }

    def by_type(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for code, kind in enumerate(TUMOUR_TYPES):
            found = {
                name: self._short(mask & (self.kinds == code))
                for name, mask in self.horizons().items()
                if (mask & (self.kinds == code)).sum() >= _FEWEST_WINDOWS
            }
            if found:
                result[str(kind)] = found
        return result

    def by_scans_known(self) -> dict[str, Any]:
        known = self.windows.queries.scans + 1
        masks = {"1": known == 1, "2": known == 2, "3-5": (known >= 3) & (known <= 5), "6+": known >= 6}
        return {name: self._short(m) for name, m in masks.items() if m.sum() >= _FEWEST_WINDOWS}

    def _short(self, mask: Bools) -> dict[str, Any]:
        measured, last, patients = self.windows.measured_ml[mask], self.windows.last_ml[mask], self.patients[mask]
        ours = scores(measured, self.quantiles[MODEL][mask], last)
        covered = _covered(self.windows.where(mask), self.quantiles[MODEL][mask])
        mae = {n: rounded(np.abs(measured - q[mask][:, MEDIAN]).mean()) for n, q in self.quantiles.items()}
        return {
            "windows": int(mask.sum()),
            "patients": len(np.unique(patients)),
            "mean_volume_ml": rounded(measured.mean()),
            "mae_ml": {name: mae[name] for name in (MODEL, PRIOR, LAST_VALUE)},
            "mae_against_last_value": self._against(LAST_VALUE, mask)["mae_ml"]["relative"],
            "crps_ml": ours["crps_ml"],
            "crps_last_value_ml": scores(measured, self.quantiles[LAST_VALUE][mask], last)["crps_ml"],
            "coverage": mean_interval(covered, patients).to_json(),
        }


def _covered(windows: Windows, quantiles: Floats) -> Floats:
    measured = windows.measured_ml
    return ((measured >= quantiles[:, 0]) & (measured <= quantiles[:, -1])).astype(np.float64)


def _width_never_falls(model: ForecastModel, arrays: PatientArrays, windows: Windows) -> float:
    """Share of forecasts whose interval of ln volume never gets narrower over the horizons."""
    rows, scans = np.unique(np.stack(windows.queries.index), axis=1)[:, :2000]
    grid = model.grid(arrays, rows, scans)
    width = grid[..., -1] - grid[..., 0]
    return rounded(float((np.diff(width, axis=1) >= -1e-9).all(axis=1).mean()))


def _examples(model: ForecastModel, arrays: PatientArrays, rows: Ints) -> list[dict[str, Any]]:
    """A few patients drawn without looking at the result, forecast from the middle of their history."""
    chosen = np.random.default_rng(0).choice(rows, min(_EXAMPLES, len(rows)), replace=False)
    found = []
    for row in chosen:
        count = int(arrays.count[row])
        origin = max((count - 1) // 2, 0)
        grid = model.grid(arrays, np.array([row]), np.array([origin]))[0]
        found.append(
            {
                "tumour_type": str(TUMOUR_TYPES[int(arrays.tumour[row])]),
                "days": arrays.days[row, :count].astype(int).tolist(),
                "volume_ml": [rounded(v) for v in arrays.volume_ml[row, :count]],
                "forecast_from_day": int(arrays.days[row, origin]),
                "quantiles_ml": [[rounded(v) for v in line] for line in np.exp(grid)],
            }
        )
    return found


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"patients": report["data"]["patients"], "windows": report["data"]["windows"]}
    for name, part in report["horizons"].items():
        ours, last = part["methods"][MODEL], part["methods"][LAST_VALUE]
        result[name] = {
            "mae_ml": ours["mae_ml"],
            "mae_last_value_ml": last["mae_ml"],
            "mae_prior_ml": part["methods"][PRIOR]["mae_ml"],
            "crps_ml": ours["crps_ml"],
            "crps_last_value_ml": last["crps_ml"],
            "r2": ours["r2"],
            "r2_last_value": last["r2"],
            "r2_of_change": ours["r2_of_change"],
            "coverage": ours["coverage"],
            "mae_against_last_value": part["against"][LAST_VALUE]["mae_ml"]["relative"],
            "crps_against_last_value": part["against"][LAST_VALUE]["crps_ml"]["relative"],
        }
        if "floor_mae_ml" in part:
            result[name]["floor_mae_ml"] = part["floor_mae_ml"]
    return result

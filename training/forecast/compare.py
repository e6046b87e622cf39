"""Two forecasters on the same patients: which one is better, or that it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inference.forecast.arrays import arrays_of
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN
from longitudinal.histories import Histories, Truth, encode, sha256
from training.forecast.evaluate import EvaluationError, held_out_rows
from training.forecast.metrics import crps, paired, scores
from training.forecast.windows import latent_ml, windows_of

COMPARISON_SCHEMA = "forecast-comparison/1"
FEWEST_PATIENTS = 150
FEWEST_WINDOWS = 600
"""With less than both the better of two similar models cannot be told from the worse."""


def compare(
    a: ForecastModel | Path, b: ForecastModel | Path, data: Histories, truth: Mapping[str, Truth] | None = None
) -> dict[str, Any]:
    """Compare `b` with `a` on patients that neither was trained with; differences are b minus a, negative is better.

    The verdict rests on CRPS with its 95 % interval over patients: "b is better", "a is better", "no difference
    shown", or "insufficient evidence" below 150 patients and 600 pairs of scans.

    Raises:
        EvaluationError: when no pair of scans is left.
        ModelFolderError: when a model folder cannot be used.
    """
    models = [ForecastModel.load(m) if isinstance(m, Path) else m for m in (a, b)]
    arrays = arrays_of(data.patients)
    everything = windows_of(arrays)
    unseen = [held_out_rows(model, data)[0] for model in models]
    rows = np.intersect1d(unseen[0], unseen[1])
    keep = np.isin(everything.queries.rows, rows) & ~everything.surgery
    if not keep.any():
        raise EvaluationError("no pair of scans that neither model was trained with")
    windows = everything.where(keep)
    measured, patients = windows.measured_ml, windows.queries.rows
    quantiles = [model.quantiles_ml(arrays, windows.queries) for model in models]
    losses = [(np.abs(measured - q[:, MEDIAN]), crps(measured, q)) for q in quantiles]
    result: dict[str, Any] = {
        "schema": COMPARISON_SCHEMA,
        "data": {"sha256": sha256(encode(data)), "patients": len(rows), "windows": len(windows)},
        "models": [
            {
                "name": model.identity.name,
                "version": model.identity.version,
                "weights_sha256": model.identity.weights_sha256,
                **scores(measured, q, windows.last_ml),
            }
            for model, q in zip(models, quantiles, strict=True)
        ],
        "mae_ml": paired(losses[1][0], losses[0][0], patients),
        "crps_ml": paired(losses[1][1], losses[0][1], patients),
    }
    latent = latent_ml(data.patients, truth, everything) if truth else None
    if latent is not None:
        errors = [np.abs(latent[keep] - q[:, MEDIAN]) for q in quantiles]
        result["mae_latent_ml"] = paired(errors[1], errors[0], patients)
    result["verdict"] = _verdict(len(np.unique(patients)), len(windows), result["crps_ml"]["difference"])
    return result


def _verdict(patients: int, windows: int, difference: list[float]) -> str:
    _, low, high = difference
    if patients < FEWEST_PATIENTS and windows < FEWEST_WINDOWS:
        return "insufficient evidence"
    if high < 0:
        return "b is better"
    return "a is better" if low > 0 else "no difference shown"

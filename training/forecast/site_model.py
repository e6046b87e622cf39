"""`finetune`: a model for a site's own patients, with the steps that their number allows.

From 30 patients the population prior is refitted, from 50 the intervals are calibrated locally and the share of the
last value is set, from 150 the head learns on. Patients that intervals and shares are set on, and those kept for the
gate, teach nothing; who is who is a keyed hash of the pid, so it stays when more patients come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.forecast.arrays import OTHER, TUMOUR_TYPES, Floats, Ints, PatientArrays, arrays_of
from inference.forecast.calibration import Calibration
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN
from inference.forecast.persistence import Persistence
from longitudinal.histories import Histories, encode, sha256
from training.forecast.baselines import Baselines
from training.forecast.conformal import calibrate
from training.forecast.cross_validation import FEWEST_FOR_HEAD, rehearsal_inputs
from training.forecast.evaluate import measure_model
from training.forecast.finetune import finetune_head, head_inputs, sample_windows
from training.forecast.metrics import crps
from training.forecast.model_card import readme
from training.forecast.prior_fit import refit_prior
from training.forecast.train import DataError
from training.forecast.windows import Split, Windows, split_patients, windows_of

FEWEST_FOR_PRIOR, FEWEST_FOR_CALIBRATION = 30, 50
SHARE_HELD, SHARE_GATE = 0.3, 0.2
_FEWEST_OF_A_TYPE = 30
_SHARES = np.linspace(0.0, 1.0, 11)
_CAUTION = 0.02


@dataclass(frozen=True)
class SiteModel:
    """Where the model lies, what was done, and what it measured on the patients kept for the gate (None: too few)."""

    folder: Path
    steps: dict[str, Any]
    report: dict[str, Any] | None


def finetune(
    model: ForecastModel,
    data: Histories,
    out: Path,
    name: str | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> SiteModel:
    """Bring `model` to the patients of `data` and write the new model folder `out`.

    Raises:
        DataError: with fewer than 30 patients that have two scans without surgery between them.
    """
    say = progress or _silent
    arrays = arrays_of(data.patients)
    windows = windows_of(arrays)
    usable = np.unique(windows.where(~windows.surgery).queries.rows)
    if len(usable) < FEWEST_FOR_PRIOR:
        raise DataError(
            f"{len(usable)} patients have two scans up to 13.5 months apart without surgery between them; "
            f"{FEWEST_FOR_PRIOR} are the least that a model can be brought to"
        )
    split = split_patients(data.patients, seed, SHARE_HELD, SHARE_GATE)
    held = np.sort(np.concatenate([split.stop, split.calibrate]))
    say(f"{len(usable)} patients with windows; refitting the prior")
    tuned = _tuned(model, arrays, windows, split.train, len(usable), seed)
    if len(usable) >= FEWEST_FOR_CALIBRATION:
        say(f"calibrating on {len(held)} patients")
        tuned = _calibrated(tuned, arrays, windows, split)
    steps = {
        "prior_refitted": True,
        "head_trained": len(usable) >= FEWEST_FOR_HEAD,
        "calibrated_locally": len(usable) >= FEWEST_FOR_CALIBRATION,
        "share_of_network": {
            str(kind): round(float(w), 2) for kind, w in zip(TUMOUR_TYPES, tuned.persistence.weights, strict=True)
        },
        "patients": {"train": len(split.train), "held": len(held), "gate": len(split.test)},
    }
    return _written(tuned, model, data, arrays, windows, split, steps, out, name, seed)


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


def _tuned(
    model: ForecastModel, arrays: PatientArrays, windows: Windows, train: Ints, usable: int, seed: int
) -> ForecastModel:
    local = windows.of_patients(train)
    prior = refit_prior(model.prior, arrays, np.unique(local.queries.rows), seed)
    if usable < FEWEST_FOR_HEAD:
        return dataclasses.replace(model, prior=prior, calibration=Calibration.none())
    inputs = head_inputs(model, prior, arrays, sample_windows(local, 20_000, seed))
    return finetune_head(model, prior, inputs, rehearsal_inputs(model), seed)


def _calibrated(model: ForecastModel, arrays: PatientArrays, windows: Windows, split: Split) -> ForecastModel:
    """Intervals from one half of the held patients, shares of the last value from the other."""
    alone = dataclasses.replace(model, persistence=Persistence.none())
    alone = dataclasses.replace(
        alone, calibration=calibrate(alone, arrays, windows.of_patients(split.calibrate), model.calibration.coverage)
    )
    residuals = Baselines.fit(arrays, windows.of_patients(split.train)).residuals["last_value"].copy()
    residuals[..., MEDIAN] = 0.0
    last = Persistence(np.zeros(len(TUMOUR_TYPES)), np.sort(residuals, axis=2))
    shares = _shares(alone, last, arrays, windows.of_patients(split.stop))
    return dataclasses.replace(alone, persistence=dataclasses.replace(last, weights=shares))


def _shares(model: ForecastModel, last: Persistence, arrays: PatientArrays, windows: Windows) -> Floats:
    """Share of the network by type with the least CRPS; a type with few patients has the share of all together."""
    costs = np.stack([_cost(model, last, share, arrays, windows) for share in _SHARES])
    kinds = arrays.tumour[windows.queries.rows]
    pooled = _best(costs)
    shares = np.full(len(TUMOUR_TYPES), pooled)
    for code in np.unique(kinds):
        mine = kinds == code
        if code != OTHER and len(np.unique(windows.queries.rows[mine])) >= _FEWEST_OF_A_TYPE:
            shares[code] = _best(costs[:, mine])
    return shares


def _cost(model: ForecastModel, last: Persistence, share: float, arrays: PatientArrays, windows: Windows) -> Floats:
    weights = np.full(len(TUMOUR_TYPES), share)
    mixed = dataclasses.replace(model, persistence=dataclasses.replace(last, weights=weights))
    return crps(windows.measured_ml, mixed.quantiles_ml(arrays, windows.queries))


def _best(costs: Floats) -> float:
    """The share with the least cost, with a small charge for leaving the last value."""
    mean = costs.mean(axis=1)
    return float(_SHARES[int(np.argmin(mean / mean[0] + _CAUTION * _SHARES))])


def _written(
    tuned: ForecastModel,
    origin: ForecastModel,
    data: Histories,
    arrays: PatientArrays,
    windows: Windows,
    split: Split,
    steps: dict[str, Any],
    out: Path,
    name: str | None,
    seed: int,
) -> SiteModel:
    baselines = Baselines.fit(arrays, windows.of_patients(split.train))
    training = {
        **origin.card["training"],
        "data_sha256": sha256(encode(data)),
        "source": data.source.model_dump(mode="json"),
        "config": {
            **origin.card["training"]["config"],
            "seed": seed,
            "share_validation": SHARE_HELD,
            "share_test": SHARE_GATE,
        },
        "patients": {
            "train": len(split.train),
            "early_stop": len(split.stop),
            "calibration": len(split.calibrate),
            "test": len(split.test),
        },
    }
    card = {
        **origin.card,
        "name": name or f"{origin.identity.name}-site",
        "version": sha256(encode(data))[:8],
        "baselines": baselines.to_json(),
        "training": training,
        "finetuned": {"from": origin.identity.name, "weights_sha256": origin.identity.weights_sha256, **steps},
    }
    model = dataclasses.replace(tuned, card=card)
    report = None
    if len(windows.of_patients(split.test)):
        report = measure_model(model, arrays, windows, split.test, None)
        card["metrics"] = report["summary"]
    model.save(out, readme(card, report) if report else f"# {card['name']}\n\nToo few patients to measure it.\n")
    return SiteModel(out, steps, report)

"""One call from histories to a model folder: split, prior, network, calibration, baselines, report."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.forecast.arrays import PatientArrays, arrays_of
from inference.forecast.calibration import Calibration
from inference.forecast.model import ForecastModel
from inference.forecast.prior import PopulationPrior
from longitudinal.histories import Histories, Truth, encode, sha256
from longitudinal.types import AlgorithmIdentity
from training.forecast.baselines import Baselines
from training.forecast.config import TrainConfig
from training.forecast.conformal import calibrate
from training.forecast.evaluate import measure_model
from training.forecast.model_card import readme
from training.forecast.network_fit import CHECKPOINT, Fit, Samples, fit_network
from training.forecast.prior_fit import fit_prior
from training.forecast.ranks import Ranks, joined
from training.forecast.windows import Split, Windows, latent_ml, split_patients, windows_of
from training.simulate.histories import GENERATOR, simulate_histories

Progress = Callable[[str], None]


class DataError(ValueError):
    """The histories cannot be trained on; the message says what is missing."""


@dataclass(frozen=True)
class TrainedModel:
    """Where the model lies and what it measured on its own test patients; in all but the first of several processes
    the report is empty."""

    folder: Path
    report: dict[str, Any]


def train(
    config: TrainConfig | None = None,
    data: Histories | None = None,
    device: str = "auto",
    out: Path = Path("forecast-model"),
    truth: Mapping[str, Truth] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a forecaster and write its model folder to `out`.

    Without `data`, `config.patients` patients are simulated. The same configuration and data give the same bytes
    of weights on the CPU. With `resume`, a run that was cut off goes on from its last epoch. Under torchrun the
    processes share each batch, and the first one writes the model.

    Raises:
        DataError: when the histories are too few to split, or a part has no windows.
        ResumeError: when the checkpoint in `out` belongs to another run.
    """
    config = config or TrainConfig()
    say = progress or _to_stderr
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if data is None:
        say(f"simulating {config.patients} patients with {GENERATOR}, seed {config.seed}")
        simulated = simulate_histories(config.patients, config.seed)
        data, truth = simulated.histories, simulated.truth.truth
    out.mkdir(parents=True, exist_ok=True)
    cohort = _Cohort.of(data, config)
    say(f"{len(cohort.arrays)} patients, {len(cohort.windows)} windows; fitting the population prior")
    prior = fit_prior(cohort.arrays, cohort.split.train, config.seed)
    with _reproducible(config.threads, where), joined() as ranks:
        fit = _fit(config, cohort, prior, where, out, say if ranks.first else _silent, resume, ranks)
    if not ranks.first:
        return TrainedModel(out, {})
    say(f"best epoch {fit.best_epoch}; calibrating on {len(cohort.split.calibrate)} patients")
    return _finish(config, cohort, prior, fit, data, truth, out)


def _finish(
    config: TrainConfig,
    cohort: _Cohort,
    prior: PopulationPrior,
    fit: Fit,
    data: Histories,
    truth: Mapping[str, Truth] | None,
    out: Path,
) -> TrainedModel:
    model = _model(config, cohort, prior, fit, data)
    latent = latent_ml(data.patients, truth, cohort.windows) if truth else None
    report = measure_model(model, cohort.arrays, cohort.windows, cohort.split.test, latent)
    model.card["metrics"] = report["summary"]
    model.save(out, readme(model.card, report))
    (out / "training.json").write_text(json.dumps(_curves(fit), indent=1) + "\n", encoding="utf-8")
    (out / CHECKPOINT).unlink(missing_ok=True)
    return TrainedModel(out, report)


@dataclass(frozen=True)
class _Cohort:
    arrays: PatientArrays
    windows: Windows
    split: Split

    @classmethod
    def of(cls, data: Histories, config: TrainConfig) -> _Cohort:
        arrays = arrays_of(data.patients)
        windows = windows_of(arrays)
        split = split_patients(data.patients, config.seed, config.share_validation, config.share_test)
        parts = {"training": split.train, "early stop": split.stop, "calibration": split.calibrate, "test": split.test}
        for name, rows in parts.items():
            if not len(windows.of_patients(rows)):
                raise DataError(
                    f"no pair of scans is left for {name}: {len(data.patients)} patients are too few, or have "
                    "too few scans (60 patients with 6 scans are the least that makes sense)"
                )
        return cls(arrays, windows, split)


def _fit(
    config: TrainConfig,
    cohort: _Cohort,
    prior: PopulationPrior,
    device: torch.device,
    out: Path,
    say: Progress,
    resume: bool,
    ranks: Ranks,
) -> Fit:
    clean = cohort.windows.where(~cohort.windows.surgery)
    known = Samples.of(cohort.arrays, clean, prior, device)
    unknown = Samples.of(cohort.arrays.of_unknown_type(), clean, prior, device)
    split = cohort.split
    return fit_network(config, known, unknown, split.train, split.stop, out, say, resume, ranks)


def _model(config: TrainConfig, cohort: _Cohort, prior: PopulationPrior, fit: Fit, data: Histories) -> ForecastModel:
    network = fit.network.cpu().eval()
    baselines = Baselines.fit(cohort.arrays, cohort.windows.of_patients(cohort.split.train))
    card: dict[str, Any] = {
        "name": config.name,
        "version": config.version,
        "model_schema": "tgf-model/1",
        "licence": "Apache-2.0",
        "baselines": baselines.to_json(),
        "training": {
            "data_sha256": sha256(encode(data)),
            "source": data.source.model_dump(mode="json"),
            "patients": {
                "train": len(cohort.split.train),
                "early_stop": len(cohort.split.stop),
                "calibration": len(cohort.split.calibrate),
                "test": len(cohort.split.test),
            },
            "config": config.model_dump(),
            "config_sha256": config.sha256(),
            "epochs": len(fit.stop_loss),
            "best_epoch": fit.best_epoch,
            "software": {
                "timepoint": version("timepoint"),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
    }
    identity = AlgorithmIdentity(config.name, config.version, "")
    raw = ForecastModel(network, prior, Calibration.none(), card, identity)
    held_out = cohort.windows.of_patients(cohort.split.calibrate)
    calibration = calibrate(raw, cohort.arrays, held_out, config.coverage)
    return ForecastModel(network, prior, calibration, card, identity)


@contextmanager
def _reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """A fixed number of threads and, on the CPU, only algorithms that give the same bits each time."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(device.type == "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _curves(fit: Fit) -> dict[str, Any]:
    return {
        "loss": "mean pinball of ln volume",
        "train": [round(v, 6) for v in fit.train_loss],
        "validation": [round(v, 6) for v in fit.stop_loss],
    }


def _silent(line: str) -> None:
    """Progress of the other processes, which is the first one's."""


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

"""Training of the network: batches of patients, all their windows at once, early stop, resumable to the bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inference.forecast.arrays import Bools, Ints, PatientArrays
from inference.forecast.network import Architecture, ForecastNet, pinball
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import context_of
from training.forecast.config import TrainConfig
from training.forecast.ranks import Ranks
from training.forecast.windows import Windows

CHECKPOINT = "checkpoint.pt"
_LEAST_GAIN = 1e-5
ALONE = Ranks()

Progress = Callable[[str], None]


class ResumeError(ValueError):
    """The checkpoint belongs to another run; the message says what differs."""


@dataclass(frozen=True)
class Samples:
    """Tensors of one version of the cohort. `first[i]` to `first[i + 1]` are the windows of patient i."""

    features: Tensor
    scans: Tensor
    context: Tensor
    mean: Tensor
    sd: Tensor
    target: Tensor
    first: Ints

    @classmethod
    def of(cls, arrays: PatientArrays, windows: Windows, prior: PopulationPrior, device: torch.device) -> Samples:
        context = context_of(arrays, prior.filter(arrays), prior, windows.queries)
        target = arrays.ln_volume[windows.queries.rows, windows.target]

        def tensor(values: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)

        return cls(
            tensor(arrays.features),
            torch.from_numpy(windows.queries.scans).to(device),
            tensor(context.inputs),
            tensor(context.prior.mean),
            tensor(context.prior.sd),
            tensor(target),
            np.searchsorted(windows.queries.rows, np.arange(len(arrays) + 1)),
        )


@dataclass
class Fit:
    """What a training run leaves: the best network and the losses of every epoch (mean pinball of ln volume)."""

    network: ForecastNet
    train_loss: list[float]
    stop_loss: list[float]

    @property
    def best_epoch(self) -> int:
        return int(np.argmin(self.stop_loss)) + 1


@dataclass
class _Run:
    network: ForecastNet
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    train_loss: list[float]
    stop_loss: list[float]

    def waited(self) -> int:
        best, since = math.inf, 0
        for loss in self.stop_loss:
            since = 0 if loss < best - _LEAST_GAIN else since + 1
            best = min(best, loss) if since else loss
        return since


def fit_network(
    config: TrainConfig,
    known: Samples,
    unknown: Samples,
    train: Ints,
    stop: Ints,
    work: Path,
    progress: Progress,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Fit:
    """Train until the loss of the patients `stop` has not fallen for `patience` epochs.

    `known` and `unknown` are the same cohort with and without the tumour type. Each epoch draws from its own seed,
    so a resumed run ends with the bits of an uninterrupted one. Of several `ranks` each takes its part of a batch; the
    first one writes the checkpoint.

    Raises:
        ResumeError: when the checkpoint in `work` is of another configuration or other data.
    """
    stamp = f"{config.sha256()}:{_fingerprint(known)}"
    run = _begin(config, known, train)
    if resume and (work / CHECKPOINT).is_file():
        _restore(run, work / CHECKPOINT, stamp)
        progress(f"resumed after epoch {len(run.stop_loss)}")
    while len(run.stop_loss) < config.epochs and run.waited() < config.patience:
        epoch = len(run.stop_loss)
        run.train_loss.append(_train_epoch(config, run, known, unknown, train, epoch, ranks))
        run.stop_loss.append(mean_loss(run.network, known, stop))
        if run.waited() == 0:
            run.best = copy.deepcopy(run.network.state_dict())
        if ranks.first:
            _store(run, work / CHECKPOINT, stamp)
        progress(
            f"epoch {epoch + 1}/{config.epochs}  train {run.train_loss[-1]:.5f}  "
            f"validation {run.stop_loss[-1]:.5f}  best {min(run.stop_loss):.5f}"
        )
    run.network.load_state_dict(run.best)
    run.network.eval()
    return Fit(run.network, run.train_loss, run.stop_loss)


def mean_loss(network: ForecastNet, samples: Samples, rows: Ints) -> float:
    """Mean pinball loss over the windows of the patients `rows`."""
    network.eval()
    total, number = 0.0, 0
    with torch.inference_mode():
        for begin in range(0, len(rows), 256):
            loss = _losses(network, samples, rows[begin : begin + 256])
            total, number = total + float(loss.sum()), number + len(loss)
    return total / max(number, 1)


def _begin(config: TrainConfig, known: Samples, train: Ints) -> _Run:
    torch.manual_seed(config.seed)
    width = known.context.shape[1]
    architecture = Architecture(width, hidden=config.hidden, layers=config.layers, dropout=config.dropout)
    network = ForecastNet(architecture).to(known.context.device)
    windows = torch.from_numpy(_window_index(known, train)[0])
    context = known.context[windows]
    features = known.features[torch.from_numpy(train)].flatten(0, 1)
    network.feature_mean.copy_(features.mean(0))
    network.feature_sd.copy_(features.std(0) + 1e-3)
    network.context_mean.copy_(context.mean(0))
    network.context_sd.copy_(context.std(0) + 1e-3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return _Run(network, optimiser, copy.deepcopy(network.state_dict()), [], [])


def _train_epoch(
    config: TrainConfig, run: _Run, known: Samples, unknown: Samples, train: Ints, epoch: int, ranks: Ranks
) -> float:
    rng = np.random.default_rng([config.seed, epoch])
    torch.manual_seed(int(rng.integers(2**62)) + ranks.rank)
    run.network.train()
    order = rng.permutation(train)
    untyped = rng.random(len(order)) < config.unknown_type_share
    total, number = 0.0, 0
    for begin in range(0, len(order), config.batch_patients):
        batch = slice(begin, begin + config.batch_patients)
        rows, without = order[batch], untyped[batch]
        mine = ranks.share(len(rows))
        losses = _batch_losses(run.network, known, unknown, rows[mine], without[mine])
        windows = ranks.summed(float(len(losses)))
        if not windows:
            continue
        run.optimiser.zero_grad(set_to_none=True)
        if ranks.world == 1:
            torch.autograd.backward([losses.mean()])
        else:
            if len(losses):
                torch.autograd.backward([losses.sum()])
            ranks.mean_gradient(run.network.parameters(), windows)
        nn.utils.clip_grad_norm_(run.network.parameters(), config.clip_norm)
        run.optimiser.step()
        total, number = total + float(losses.detach().sum()), number + len(losses)
    return ranks.summed(total) / max(ranks.summed(float(number)), 1)


def _batch_losses(network: ForecastNet, known: Samples, unknown: Samples, rows: Ints, without: Bools) -> Tensor:
    return torch.cat([_losses(network, known, rows[~without]), _losses(network, unknown, rows[without])])


def _losses(network: ForecastNet, samples: Samples, rows: Ints) -> Tensor:
    windows, local = _window_index(samples, rows)
    if not len(windows):
        return samples.target[:0]
    chosen, patient = torch.from_numpy(windows), torch.from_numpy(local)
    longest = int(samples.scans[chosen].max()) + 1
    hidden = network.encode(samples.features[torch.from_numpy(rows), :longest])
    at_origin = hidden[patient, samples.scans[chosen]]
    quantiles = network(at_origin, samples.context[chosen], samples.mean[chosen], samples.sd[chosen])
    return pinball(quantiles, samples.target[chosen])


def _window_index(samples: Samples, rows: Ints) -> tuple[Ints, Ints]:
    """The windows of the patients `rows` and, for each window, the position of its patient in `rows`."""
    number = samples.first[rows + 1] - samples.first[rows]
    local = np.repeat(np.arange(len(rows)), number)
    within = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
    return samples.first[rows][local] + within, local


def _fingerprint(samples: Samples) -> str:
    return f"{tuple(samples.context.shape)}:{float(samples.target.double().sum()):.9g}"


def _store(run: _Run, file: Path, stamp: str) -> None:
    part = file.with_suffix(".part")
    state = {
        "stamp": stamp,
        "network": run.network.state_dict(),
        "best": run.best,
        "optimiser": run.optimiser.state_dict(),
        "train_loss": run.train_loss,
        "stop_loss": run.stop_loss,
    }
    torch.save(state, part)
    part.replace(file)


def _restore(run: _Run, file: Path, stamp: str) -> None:
    state = torch.load(file, weights_only=True, map_location=run.network.feature_mean.device)
    if state["stamp"] != stamp:
        raise ResumeError(f"{file} was written by a run with another configuration or other data; remove it first")
    run.network.load_state_dict(state["network"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.best = state["best"]
    run.train_loss, run.stop_loss = list(state["train_loss"]), list(state["stop_loss"])

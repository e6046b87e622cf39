"""Train the segmentation network on simulated cases for a given time.

`python -m training.segmentation.train --out DIR --minutes N [--device auto] [--resume]`

Cases are drawn once into `--cache` and get another look each time they are used. Every two minutes a checkpoint is
kept in `--out`; when the time is used up the model folder is written there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from inference.backends.devices import resolve_device
from inference.backends.own import CHANNEL_ORDER, MODEL_KIND, build_network
from inference.model_folder import WEIGHTS_NAME, read_model_folder, write_model_folder
from longitudinal.types import Compartment
from training.brain.heads import load_heads
from training.segmentation.appearance import crop, draw_sample
from training.segmentation.card import model_card
from training.segmentation.cases import Case, cached_cases
from training.segmentation.loss import region_loss
from training.segmentation.mapped_heads import head_of_map
from training.simulate.anatomy import simulate_head

ARCHITECTURE: dict[str, Any] = {
    "name": "monai.networks.nets.UNet",
    "channels": [16, 32, 64, 128, 160],
    "strides": [2, 2, 2, 2],
    "residual_units": 2,
}
VERSION = "1.1.0"
SPACING_MM = 1.5
PATCH = (64, 80, 64)
WHOLE_BRAIN = (112, 128, 112)
WHOLE_BRAIN_FROM = 0.72
"""From this share of the training time on, whole brains replace patches, as at inference."""

TRAINING_SEEDS = 10_000_000
"""Head seeds of training cases start here; evaluation heads have seeds far from them."""

LEARNING_RATE = 2e-3
AVERAGING = 0.99
CHECKPOINT_S = 120.0
STATE_NAME, AVERAGE_NAME, PROGRESS_NAME = "state.safetensors", "average.safetensors", "progress.json"


@dataclass
class Progress:
    """How far training has come; survives interruption."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 2.0


@dataclass(frozen=True)
class Settings:
    """What one training run is asked to do; `batch` samples a step."""

    out: Path
    cache: Path
    minutes: float
    heads: int
    batch: int
    seed: int
    device: str
    resume: bool
    start: Path | None = None
    maps: Path | None = None


class Trainer:
    """The network, a running average of its weights (which is what ships), and the optimiser."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self._settings = settings
        self.device = resolve_device(settings.device)
        self.progress = Progress()
        self.network = build_network(ARCHITECTURE).to(self.device)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        if settings.start:
            self._begin_with(settings.start)
        if settings.resume:
            self._restore()
        self._cases = _training_cases(settings)
        self._rng = np.random.default_rng([settings.seed, self.progress.step])

    def run(self) -> None:
        """Train until the time is used up."""
        budget = self._settings.minutes * 60
        # On a CPU the budget counts this process's computing time, so that a busy machine does not shorten training.
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        started, saved = clock() - self.progress.seconds, time.monotonic()
        while self.progress.seconds < budget:
            self._step(self.progress.seconds / budget)
            self.progress.seconds = clock() - started
            if time.monotonic() - saved > CHECKPOINT_S:
                self.save()
                saved = time.monotonic()
        self.save()

    def _step(self, fraction: float) -> None:
        warm = min((self.progress.step + 1) / 50, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm * (0.5 * (1 + math.cos(math.pi * fraction)) + 0.005)
        if fraction >= WHOLE_BRAIN_FROM:
            images, labels = self._batch(WHOLE_BRAIN, 1)
        else:
            images, labels = self._batch(PATCH, self._settings.batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss = region_loss(self.network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._optimiser.step()
        keep = min(AVERAGING, (self.progress.step + 1) / (self.progress.step + 10))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)
        self.progress.step += 1
        self.progress.loss = 0.98 * self.progress.loss + 0.02 * float(loss.detach())
        if self.progress.step % 20 == 0:
            self._report()

    def _batch(self, extents: tuple[int, int, int], count: int) -> tuple[Tensor, Tensor]:
        samples = []
        for _ in range(count):
            case = self._cases[int(self._rng.integers(len(self._cases)))]
            samples.append(draw_sample(self._rng, crop(self._rng, case, extents), SPACING_MM))
        images = torch.from_numpy(np.stack([s.image for s in samples]))
        labels = torch.from_numpy(np.stack([s.labels for s in samples]).astype(np.int64))
        return images.to(self.device), labels.to(self.device)

    def _report(self) -> None:
        done = self.progress
        sys.stdout.write(f"step {done.step}  {done.seconds / 60:.1f} min  loss {done.loss:.3f}\n")
        sys.stdout.flush()

    def save(self) -> None:
        """Keep everything that `--resume` needs."""
        out = self._settings.out
        out.mkdir(parents=True, exist_ok=True)
        moments = self._optimiser.state_dict()["state"]
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        state |= {f"adam.{i}.{k}": v for i, kept in moments.items() for k, v in kept.items()}
        for name, tensors in ((STATE_NAME, state), (AVERAGE_NAME, self.average)):
            part = out / f"{name}.part"
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, part)
            part.rename(out / name)
        (out / PROGRESS_NAME).write_text(json.dumps(asdict(self.progress)), encoding="utf-8")

    def _begin_with(self, folder: Path) -> None:
        """Start from the weights of a finished model folder."""
        weights = {name: value.float() for name, value in load_file(folder / WEIGHTS_NAME).items()}
        self.network.load_state_dict(weights)
        self.average = {name: value.to(self.device) for name, value in weights.items()}

    def _restore(self) -> None:
        out = self._settings.out
        if not (out / PROGRESS_NAME).is_file():
            return
        state = load_file(out / STATE_NAME, device=str(self.device))
        self.network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k[0] == "n"})
        self.average = load_file(out / AVERAGE_NAME, device=str(self.device))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, index, name = key.split(".", 2)
                moments.setdefault(int(index), {})[name] = value.cpu() if name == "step" else value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.progress = Progress(**json.loads((out / PROGRESS_NAME).read_text(encoding="utf-8")))


def _training_cases(settings: Settings) -> list[Case]:
    """Cases in heads of the simulator and, where label maps are given, as many in heads of those."""
    seeds, source = range(TRAINING_SEEDS, TRAINING_SEEDS + settings.heads), f"{SPACING_MM:g}mm"
    cases = list(cached_cases(settings.cache, lambda seed: simulate_head(seed, SPACING_MM), source, seeds))
    if settings.maps:
        maps = load_heads(settings.maps)
        mapped = lambda seed: head_of_map(maps[seed % len(maps)], seed, SPACING_MM)  # noqa: E731
        cases += cached_cases(settings.cache, mapped, f"map-{source}", seeds)
    return cases


def export(settings: Settings, trainer: Trainer) -> None:
    """Write the model folder from the averaged weights; figures are added by `training.segmentation.evaluate`."""
    settings.out.mkdir(parents=True, exist_ok=True)
    # Half precision halves the file; the network computes in single precision from it.
    save_file({k: v.half().contiguous().cpu() for k, v in trainer.average.items()}, settings.out / WEIGHTS_NAME)
    card: dict[str, Any] = {
        "name": "timepoint-segmentation",
        "version": VERSION,
        "kind": MODEL_KIND,
        "architecture": ARCHITECTURE,
        "channels": [str(c) for c in CHANNEL_ORDER],
        "spacing_mm": SPACING_MM,
        "normalisation": "clip to 0.5-99.5 % in the brain, z-score in the brain, 0 outside",
        "labels": {"background": 0} | {str(c): c.label for c in Compartment},
        "licence": "Apache-2.0",
        "training": {
            "data": "simulated; no real MR image",
            "heads": settings.heads,
            "label_maps": _hashes(settings.maps),
            "started_from": _started_from(settings.start),
            "steps": trainer.progress.step,
            "batch": settings.batch,
            "minutes": round(trainer.progress.seconds / 60, 1),
            "device": "one CPU thread" if trainer.device.type == "cpu" else torch.cuda.get_device_name(trainer.device),
            "loss": round(trainer.progress.loss, 3),
            "seed": settings.seed,
        },
    }
    write_model_folder(settings.out, card, model_card(card))


def _hashes(maps: Path | None) -> list[str]:
    files = sorted(maps.glob("*.nii.gz")) if maps else []
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def _started_from(folder: Path | None) -> str | None:
    if folder is None:
        return None
    identity = read_model_folder(folder, MODEL_KIND).identity
    return f"{identity.name} {identity.version}, weights sha256 {identity.weights_sha256}"


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m training.segmentation.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and, in the end, the model folder")
    parser.add_argument("--cache", type=Path, required=True, help="where simulated cases are kept")
    parser.add_argument("--minutes", type=float, default=40.0, help="computing time, without drawing the cases")
    parser.add_argument("--heads", type=int, default=60, help="simulated heads, two cases each")
    parser.add_argument("--batch", type=int, default=2, help="patches a step; whole brains go one at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--maps", type=Path, help="folder with whole-head label maps (*.nii.gz), FreeSurfer labels")
    parser.add_argument("--start", type=Path, help="model folder whose weights training starts from")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    given = parser.parse_args(arguments)
    settings = Settings(**vars(given))
    if resolve_device(settings.device).type == "cpu":
        torch.set_num_threads(1)
    trainer = Trainer(settings)
    trainer.run()
    export(settings, trainer)


if __name__ == "__main__":
    main()

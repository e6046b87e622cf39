"""Train the brain extraction network on synthetic heads, on one thread, for a given CPU time.

`python -m training.brain.train --maps DIR --out DIR --minutes N` - `DIR` of `--maps` holds whole-head label maps with
FreeSurfer labels. Interrupted training goes on from `checkpoint.safetensors` in `--out`; when the time is used up the
model folder is written there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from inference.brain import MODEL_KIND, POOL, STRIDE
from inference.brain_network import BrainNetwork
from inference.model_folder import WEIGHTS_NAME, sha256_of, write_model_folder
from training.brain.card import model_card
from training.brain.heads import Head, load_heads, simulated_head
from training.brain.synthesis import Synthesiser

ARCHITECTURE: dict[str, Any] = {"channels": [16, 32, 64, 96, 96], "residual_units": 2}
LEARNING_RATE = 2e-3
AVERAGING = 0.98
CHECKPOINT_S = 120.0
SIMULATED_SEED = 770_000
"""Patients from here on serve training only."""


@dataclass
class Progress:
    """How far training has come, in steps and seconds of CPU time; survives interruption."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 1.0


class Trainer:
    """One network, its running average of weights, and where they are kept."""

    def __init__(self, heads: list[Head], out: Path, seconds: float, seed: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._out = out
        self._seconds = seconds
        self.progress = Progress()
        self.network = BrainNetwork(**ARCHITECTURE)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
        self._resume()
        self._images = Synthesiser(heads, seed + self.progress.step)

    def run(self) -> None:
        """Train until the CPU time is used up, printing the loss and keeping a checkpoint every two minutes."""
        started, saved = time.process_time() - self.progress.seconds, time.monotonic()
        while self.progress.seconds < self._seconds:
            self._step()
            self.progress.seconds = time.process_time() - started
            if time.monotonic() - saved > CHECKPOINT_S:
                self._save()
                saved = time.monotonic()
        self._save()

    def _step(self) -> None:
        fraction = min(self.progress.seconds / self._seconds, 1.0)
        warm = min((self.progress.step + 1) / 50, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm * (0.5 * (1 + math.cos(math.pi * fraction)) + 0.005)
        image, target = self._images.sample()
        loss = loss_of(self.network(image), target)
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        self.progress.step += 1
        self.progress.loss = 0.98 * self.progress.loss + 0.02 * float(loss.detach())
        keep = min(AVERAGING, self.progress.step / (self.progress.step + 10))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)
        if self.progress.step % 25 == 0:
            self._report()

    def _report(self) -> None:
        done = self.progress
        sys.stdout.write(f"step {done.step}  {done.seconds:.0f} s  loss {done.loss:.4f}\n")
        sys.stdout.flush()

    def _save(self) -> None:
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"average.{name}": value for name, value in self.average.items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        temporary = self._out / "checkpoint.part"
        save_file(state, temporary, metadata={"progress": json.dumps(vars(self.progress))})
        temporary.replace(self._out / "checkpoint.safetensors")

    def _resume(self) -> None:
        checkpoint = self._out / "checkpoint.safetensors"
        if not checkpoint.is_file():
            return
        from safetensors import safe_open

        with safe_open(checkpoint, "pt") as opened:
            self.progress = Progress(**json.loads(opened.metadata()["progress"]))
        state = load_file(checkpoint)
        self.network.load_state_dict(_section(state, "network."))
        self.average = _section(state, "average.")
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _section(state, "optimiser.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        whole = self._optimiser.state_dict()
        self._optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against the fraction of brain in each voxel, plus soft Dice."""
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * target).sum() + 1.0
    dice = overlap / ((probability**2).sum() + (target**2).sum() + 1.0)
    return functional.binary_cross_entropy_with_logits(logits, target) + 1 - dice


def write_model(trainer: Trainer, maps: Path, simulated: int, out: Path) -> None:
    """Save the averaged weights as a model folder (half precision: the file stays small)."""
    weights = {name: value.half().contiguous() for name, value in trainer.average.items()}
    save_file(weights, out / WEIGHTS_NAME)
    card = {
        "name": "timepoint-brain",
        "version": "1",
        "kind": MODEL_KIND,
        "architecture": ARCHITECTURE,
        "input": {"grid_mm": POOL, "multiple_of": STRIDE, "contrast": "any", "orientation": "slice S, row P, column L"},
        "training": {
            "method": "synthetic contrasts from label maps (domain randomisation)",
            "maps": {file.name: sha256_of(file) for file in sorted(maps.glob("*.nii.gz"))},
            "simulated_heads": simulated,
            "steps": trainer.progress.step,
            "minutes_on_one_cpu_thread": round(trainer.progress.seconds / 60, 1),
            "loss": round(trainer.progress.loss, 4),
        },
        "licence": "Apache-2.0",
    }
    write_model_folder(out, card, model_card(card))


def _section(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit 0 done, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m training.brain.train", description=__doc__.split("\n")[0])
    parser.add_argument("--maps", type=Path, required=True, help="folder with whole-head label maps (*.nii.gz)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the finished model")
    parser.add_argument("--minutes", type=float, default=30.0, help="CPU time in all, over interruptions")
    parser.add_argument("--simulated", type=int, default=4, help="heads of our simulator beside the label maps")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        heads = load_heads(given.maps)
    except (FileNotFoundError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    heads += [simulated_head(SIMULATED_SEED + number) for number in range(given.simulated)]
    trainer = Trainer(heads, given.out, given.minutes * 60, given.seed)
    trainer.run()
    write_model(trainer, given.maps, given.simulated, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

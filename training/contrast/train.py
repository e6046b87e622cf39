"""Train the network that tells the contrast of a series from its pixels, on one CPU thread, for a given CPU time.

`python -m training.contrast.train --maps DIR --out DIR --minutes N` - `DIR` of `--maps` holds whole-head label maps
with FreeSurfer labels. The thresholds above which the network answers are set on heads that it was not trained on.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from inference.contrast_network import ContrastNetwork
from inference.model_folder import WEIGHTS_NAME, read_model_folder, sha256_of, write_model_folder
from inference.pixel_contrast import CLASSES, GRID_MM, MODEL_KIND, SHAPE
from longitudinal.types import Contrast
from training.brain.heads import Head, load_heads, simulated_head
from training.contrast.card import model_card
from training.contrast.synthesis import ContrastSynthesiser

ARCHITECTURE: dict[str, Any] = {"channels": [24, 48, 48, 64, 64], "classes": len(CLASSES)}
BATCH = 8
OF_ONE_HEAD = 2
LEARNING_RATE = 2e-3
SIMULATED_SEED = 780_000
"""Patients from here on serve training only; those of `HELD_OUT_SEED` serve the thresholds only."""
HELD_OUT_SEED = 790_000
HELD_OUT_IMAGES = 400
LOWEST_THRESHOLD = 0.90
LOWEST_WITHOUT_AGENT = 0.97
"""For T1: that no sign of contrast agent is seen is weaker evidence than a sign."""
WRONG_ALLOWED = 0.005
"""Of the answers on held-out images at most this share is wrong above the threshold of a class."""


def train(heads: list[Head], seconds: float, seed: int, start: Path | None) -> tuple[ContrastNetwork, int]:
    """The trained network and the number of images it has seen; `start` are weights to go on from."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    images = ContrastSynthesiser(heads, seed)
    network = ContrastNetwork(**ARCHITECTURE)
    if start is not None:
        network.load_state_dict({name: value.float() for name, value in load_file(start / WEIGHTS_NAME).items()})
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    started, step, running = time.process_time(), 0, 0.6 if start else 1.6
    while (used := time.process_time() - started) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (0.5 * (1 + math.cos(math.pi * used / seconds)) + 0.005)
        batch, labels = _batch(images)
        loss = functional.cross_entropy(network(batch), labels, label_smoothing=0.02)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        step += 1
        running = 0.97 * running + 0.03 * float(loss.detach())
        if step % 25 == 0:
            sys.stdout.write(f"step {step}  {used:.0f} s  loss {running:.4f}\n")
            sys.stdout.flush()
    return network.eval(), step * BATCH


def _batch(images: ContrastSynthesiser) -> tuple[Tensor, Tensor]:
    made = [pair for _ in range(BATCH // OF_ONE_HEAD) for pair in images.labelled(OF_ONE_HEAD)]
    return torch.stack([image for image, _ in made])[:, None], torch.tensor([label for _, label in made])


def held_out(network: ContrastNetwork, heads: list[Head], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Probabilities (images, classes) and true classes of images of other heads."""
    images = ContrastSynthesiser(heads, seed)
    probabilities, truth = [], []
    with torch.inference_mode():
        for _ in range(math.ceil(count / BATCH)):
            batch, labels = _batch(images)
            probabilities.append(torch.softmax(network(batch), dim=1))
            truth.append(labels)
    return torch.cat(probabilities), torch.cat(truth)


def thresholds_of(probabilities: Tensor, truth: Tensor) -> dict[str, float]:
    """For each contrast the probability from which on its answers are right, but for `WRONG_ALLOWED` of them."""
    said = probabilities.argmax(1)
    out = {}
    for index, contrast in enumerate(CLASSES):
        if contrast is None:
            continue
        mine = said == index
        score, wrong = probabilities[mine, index].numpy(), (truth[mine] != index).numpy()
        lowest = LOWEST_WITHOUT_AGENT if contrast is Contrast.T1 else LOWEST_THRESHOLD
        out[contrast.value] = _threshold(score, wrong, lowest)
    return out


def _threshold(score: np.ndarray[Any, Any], wrong: np.ndarray[Any, Any], lowest: float) -> float:
    for threshold in np.arange(lowest, 0.996, 0.005):
        above = score >= threshold
        if above.any() and wrong[above].mean() <= WRONG_ALLOWED:
            return round(float(threshold), 3)
    return 0.995


def figures(probabilities: Tensor, truth: Tensor, thresholds: dict[str, float]) -> dict[str, Any]:
    """Share of the images of each contrast that is told rightly, wrongly and not at all."""
    out: dict[str, Any] = {}
    said = probabilities.argmax(1)
    limit = torch.tensor([thresholds.get(c.value, 2.0) if c else 2.0 for c in CLASSES])
    sure = probabilities.max(1).values >= limit[said]
    for index, contrast in enumerate(CLASSES):
        mine = truth == index
        right = float((mine & sure & (said == index)).sum() / mine.sum())
        wrong = float((mine & sure & (said != index)).sum() / mine.sum())
        out[contrast.value if contrast else "other"] = {
            "images": int(mine.sum()),
            "right": round(right, 3),
            "wrong": round(wrong, 3),
            "abstained": round(1 - right - wrong, 3),
        }
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit 0 done, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m training.contrast.train", description=__doc__.split("\n")[0])
    parser.add_argument("--maps", type=Path, required=True, help="folder with whole-head label maps (*.nii.gz)")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--minutes", type=float, default=12.0, help="CPU time")
    parser.add_argument("--simulated", type=int, default=4, help="heads of our simulator beside the label maps")
    parser.add_argument("--start", type=Path, help="model folder to go on from")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    try:
        heads = load_heads(given.maps)
    except (FileNotFoundError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    heads += [simulated_head(SIMULATED_SEED + number) for number in range(given.simulated)]
    network, seen = train(heads, given.minutes * 60, given.seed, given.start)
    before = read_model_folder(given.start, MODEL_KIND).card["training"] if given.start else {}
    others = [simulated_head(HELD_OUT_SEED + number) for number in range(2)]
    found, truth = held_out(network, others, HELD_OUT_IMAGES, given.seed + 1)
    thresholds = thresholds_of(found, truth)
    found, truth = held_out(network, others, HELD_OUT_IMAGES, given.seed + 2)
    given.out.mkdir(parents=True, exist_ok=True)
    save_file({n: v.half() if v.is_floating_point() else v for n, v in network.state_dict().items()},
              given.out / WEIGHTS_NAME)  # fmt: skip
    card = {
        "name": "timepoint-contrast",
        "version": "1",
        "kind": MODEL_KIND,
        "architecture": ARCHITECTURE,
        "classes": [c.value if c else "other" for c in CLASSES],
        "thresholds": thresholds,
        "input": {"grid_mm": GRID_MM, "shape": list(SHAPE), "orientation": "slice S, row P, column L"},
        "training": {
            "method": "synthetic contrasts from label maps (domain randomisation)",
            "maps": {file.name: sha256_of(file) for file in sorted(given.maps.glob("*.nii.gz"))},
            "simulated_heads": given.simulated,
            "images": seen + before.get("images", 0),
            "minutes_on_one_cpu_thread": given.minutes + before.get("minutes_on_one_cpu_thread", 0.0),
        },
        "held_out_synthetic": figures(found, truth, thresholds),
        "licence": "Apache-2.0",
    }
    write_model_folder(given.out, card, model_card(card))
    return 0


if __name__ == "__main__":
    sys.exit(main())

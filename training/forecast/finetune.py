"""A trained forecaster brought to new patients: prior refitted, head trained on with rehearsal.

The recurrent part is left as it is. The head learns from the new patients and, in equal parts, from simulated ones
of unknown type, and is held near its weights (L2-SP): with fifty patients a network forgets faster than it learns.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.forecast.arrays import Floats, Ints, PatientArrays
from inference.forecast.calibration import Calibration
from inference.forecast.model import ForecastModel
from inference.forecast.network import ForecastNet, pinball
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import context_of
from training.forecast.windows import Windows

STEPS = 250
BATCH = 512
LEARNING_RATE = 2e-4
L2_SP = 1e-2


@dataclass(frozen=True)
class HeadInputs:
    """What the head reads and is held against, for some windows; `weight` is the share of each window in the loss."""

    hidden: Tensor
    context: Tensor
    mean: Tensor
    sd: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def loss(self, network: ForecastNet, rows: Tensor) -> Tensor:
        """Mean pinball loss of ln volume over some of the windows."""
        quantiles = network(self.hidden[rows], self.context[rows], self.mean[rows], self.sd[rows])
        return pinball(quantiles, self.target[rows]).mean()


def head_inputs(model: ForecastModel, prior: PopulationPrior, arrays: PatientArrays, windows: Windows) -> HeadInputs:
    """Run the recurrent part once over all patients; `prior` replaces the model's."""
    context = context_of(arrays, prior.filter(arrays), prior, windows.queries, model.types)
    with torch.inference_mode():
        hidden = model.network.encode(_tensor(arrays.features))
        at_origin = hidden[torch.from_numpy(windows.queries.rows), torch.from_numpy(windows.queries.scans)]
    return HeadInputs(
        at_origin.clone(),
        _tensor(context.inputs),
        _tensor(context.prior.mean),
        _tensor(context.prior.sd),
        _tensor(arrays.ln_volume[windows.queries.rows, windows.target]),
    )


def finetune_head(
    model: ForecastModel, prior: PopulationPrior, local: HeadInputs, rehearsal: HeadInputs | None, seed: int = 0
) -> ForecastModel:
    """The model with `prior` and a head trained on `local` and `rehearsal`, not calibrated."""
    torch.manual_seed(seed)
    network = copy.deepcopy(model.network).eval()
    start = [p.detach().clone() for p in network.head.parameters()]
    optimiser = torch.optim.AdamW(network.head.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    for _ in range(STEPS):
        loss = local.loss(network, torch.randint(len(local), (min(BATCH, len(local)),)))
        if rehearsal is not None:
            loss = 0.5 * loss + 0.5 * rehearsal.loss(network, torch.randint(len(rehearsal), (BATCH,)))
        moved = sum(((p - s) ** 2).sum() for p, s in zip(network.head.parameters(), start, strict=True))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward([loss + L2_SP * moved])
        optimiser.step()
    return dataclasses.replace(model, network=network, prior=prior, calibration=Calibration.none())


def sample_windows(windows: Windows, most: int, seed: int) -> Windows:
    """At most `most` of the windows, drawn at random."""
    if len(windows) <= most:
        return windows
    chosen: Ints = np.sort(np.random.default_rng(seed).choice(len(windows), most, replace=False))
    return windows.where(chosen)


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

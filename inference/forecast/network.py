"""The network: a causal LSTM over scans and a head that corrects the prior's quantiles for one horizon.

The last layer starts at zero, so an untrained network is the prior itself; the quantiles cannot cross.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
MEDIAN = 3
_Z = (-1.6448536269514722, -1.2815515655446004, -0.6744897501960817, 0.0)
_SOFTPLUS_ONE = math.log(math.e - 1)
"""softplus of this is one."""


@dataclass(frozen=True)
class Architecture:
    """`inputs` is the number of features per scan, `context` the width of the head's other inputs."""

    context: int
    inputs: int = 10
    hidden: int = 128
    layers: int = 3
    dropout: float = 0.3
    head: int = 128

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class ForecastNet(nn.Module):
    """Quantiles of ln volume; see `forward`. Normalisation constants travel with the weights."""

    feature_mean: Tensor
    feature_sd: Tensor
    context_mean: Tensor
    context_sd: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        this = architecture
        self.architecture = this
        between = this.dropout if this.layers > 1 else 0.0
        self.lstm = nn.LSTM(this.inputs, this.hidden, this.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(this.dropout)
        last = nn.Linear(this.head, len(QUANTILES))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.Linear(this.hidden + this.context, this.head), nn.GELU(), nn.Dropout(0.1), last)
        for name, width in (("feature", this.inputs), ("context", this.context)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_sd", torch.ones(width))
        steps = torch.tensor([b - a for a, b in itertools.pairwise(_Z)])
        self.register_buffer("steps", steps, persistent=False)

    def encode(self, features: Tensor) -> Tensor:
        """Hidden state after each scan: (patients, scans, 10) -> (patients, scans, hidden); never looks ahead."""
        hidden: Tensor = self.lstm((features - self.feature_mean) / self.feature_sd)[0]
        return hidden

    def forward(self, hidden: Tensor, context: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
        """Quantiles of ln volume, (queries, 7).

        Args:
            hidden: state of the LSTM at the scan each query is made at, (queries, hidden).
            context: inputs of `queries.context_of`, (queries, context).
            mean, sd: the prior's prediction of ln volume, (queries,).
        """
        scaled = ((context - self.context_mean) / self.context_sd).clamp(-6, 6)
        raw = self.head(torch.cat([self.dropout(hidden), scaled], dim=1))
        widths = nn.functional.softplus(raw[:, 1:] + _SOFTPLUS_ONE)
        steps = self.get_buffer("steps")
        lower = torch.cumsum(widths[:, :3] * steps.flip(0), dim=1).flip(1)
        upper = torch.cumsum(widths[:, 3:] * steps.flip(0), dim=1)
        centre = raw[:, :1]
        shape = torch.cat([centre - lower, centre, centre + upper], dim=1)
        quantiles: Tensor = mean[:, None] + sd[:, None] * shape
        return quantiles


def pinball(quantiles: Tensor, target: Tensor) -> Tensor:
    """Mean pinball loss of (queries, 7) quantiles against (queries,) targets, one value per query."""
    levels = torch.tensor(QUANTILES, dtype=quantiles.dtype, device=quantiles.device)
    error = target[:, None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error).mean(dim=1)

"""Trains a small network in this process of torchrun and writes weights and losses of the first one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from inference.forecast.arrays import arrays_of
from training.forecast.config import TrainConfig
from training.forecast.network_fit import Samples, fit_network
from training.forecast.prior_fit import START, PopulationPrior
from training.forecast.ranks import joined
from training.forecast.windows import windows_of
from training.simulate.histories import simulate_histories


def main(out: Path) -> None:
    # Each process draws its own dropout; without it the processes together are the one process.
    torch.nn.functional.dropout = lambda value, *_: value  # type: ignore[assignment]
    torch.set_num_threads(1)
    config = TrainConfig(patients=60, hidden=12, layers=1, dropout=0.0, epochs=2, batch_patients=9, seed=5)
    arrays = arrays_of(simulate_histories(50, 21).histories.patients)
    windows = windows_of(arrays)
    prior = PopulationPrior(np.tile(START, (7, 1)))
    known, unknown = (
        Samples.of(a, windows.where(~windows.surgery), prior, torch.device("cpu"))
        for a in (arrays, arrays.of_unknown_type())
    )
    out.mkdir(exist_ok=True)
    with joined() as ranks:
        fit = fit_network(config, known, unknown, np.arange(40), np.arange(40, 50), out, lambda line: None, ranks=ranks)
        if ranks.first:
            weights = torch.cat([v.flatten() for v in fit.network.state_dict().values()])
            np.save(out / "weights.npy", weights.numpy())
            (out / "loss.json").write_text(json.dumps([ranks.world, fit.train_loss, fit.stop_loss]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

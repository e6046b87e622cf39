"""CPU seconds of one training epoch, against a loop that runs the LSTM over the prefix of every window alone.

    python bench/forecast_training.py [--patients 1000] [--sample 12]

The loop is measured on `--sample` patients and scaled by their number of windows. One thread.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from inference.forecast.arrays import TUMOUR_TYPES, arrays_of
from inference.forecast.network import Architecture, ForecastNet, pinball
from inference.forecast.prior import PopulationPrior
from training.forecast.network_fit import Samples, _losses
from training.forecast.prior_fit import START
from training.forecast.windows import windows_of
from training.simulate.histories import simulate_histories


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=12)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    arrays = arrays_of(simulate_histories(wanted.patients, 77).histories.patients)
    windows = windows_of(arrays)
    prior = PopulationPrior(np.tile(START, (len(TUMOUR_TYPES), 1)))
    samples = Samples.of(arrays, windows.where(~windows.surgery), prior, torch.device("cpu"))
    network = ForecastNet(Architecture(samples.context.shape[1]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-4)
    whole = _epoch(network, optimiser, samples, wanted.patients)
    loop, number = _prefix_loop(network, optimiser, samples, wanted.sample)
    scaled = loop / number * len(samples.target)
    result = {
        "patients": wanted.patients,
        "windows": len(samples.target),
        "epoch_cpu_s": round(whole, 2),
        "prefix_loop_cpu_s": round(scaled, 1),
        "ratio": round(whole / scaled, 4),
    }
    print(json.dumps(result))


def _epoch(network: ForecastNet, optimiser: torch.optim.Optimizer, samples: Samples, patients: int) -> float:
    network.train()
    begin = time.process_time()
    for first in range(0, patients, 32):
        loss = _losses(network, samples, np.arange(first, min(first + 32, patients))).mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        optimiser.step()
    return time.process_time() - begin


def _prefix_loop(
    network: ForecastNet, optimiser: torch.optim.Optimizer, samples: Samples, patients: int
) -> tuple[float, int]:
    """Every window of the first patients alone, each with a pass over its prefix; a step per 32 patients' worth."""
    network.train()
    number = int(samples.first[patients])
    owner = np.searchsorted(samples.first, np.arange(number), side="right") - 1
    begin = time.process_time()
    optimiser.zero_grad(set_to_none=True)
    for row, patient in enumerate(owner):
        last = int(samples.scans[row])
        hidden = network.encode(samples.features[patient : patient + 1, : last + 1])[:, -1]
        quantiles = network(
            hidden, samples.context[row : row + 1], samples.mean[row : row + 1], samples.sd[row : row + 1]
        )
        torch.autograd.backward([pinball(quantiles, samples.target[row : row + 1]).mean() / number])
    optimiser.step()
    return time.process_time() - begin, number


if __name__ == "__main__":
    main()

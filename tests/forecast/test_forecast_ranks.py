"""Two gloo processes train to the weights of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from training.forecast.ranks import Ranks

WORKER = Path(__file__).with_name("ddp_worker.py")
ROOT = Path(__file__).parents[2]


def train(processes: int, out: Path) -> tuple[np.ndarray, list]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    if processes == 1:
        command = [sys.executable]
    subprocess.run(
        [*command, str(WORKER), str(out)], env=environment, cwd=ROOT, check=True, capture_output=True, timeout=300
    )
    return np.load(out / "weights.npy"), json.loads((out / "loss.json").read_text())


def test_two_processes_are_equal_to_one_on_ragged_batches(tmp_path: Path) -> None:
    one, (world, *losses) = train(1, tmp_path / "one")
    two, (worlds, *both) = train(2, tmp_path / "two")
    assert (world, worlds) == (1, 2)
    assert np.abs(one - two).max() < 1e-6 * max(1.0, np.abs(one).max())
    np.testing.assert_allclose(both, losses, atol=1e-6)


def test_the_shares_of_a_batch_are_the_batch() -> None:
    shares = [Ranks(r, 3).share(8) for r in range(3)]
    assert np.sum(shares, axis=0).tolist() == [1] * 8

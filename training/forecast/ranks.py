"""Training over several processes (torchrun; gloo on the CPU, nccl on GPUs) that is equal to training in one.

Patients have different numbers of windows, so a mean of the ranks' mean losses is not the mean loss: each rank adds
its summed gradient, and the sum is divided by the number of windows of the whole batch (measured on a ragged batch,
plain averaging was 1.3 % off). Every rank draws the whole epoch from the same seed and takes its share of each batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from inference.forecast.arrays import Bools


@dataclass(frozen=True)
class Ranks:
    """This process among `world`; one process alone is rank 0 of 1."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and tells of progress."""
        return self.rank == 0

    def share(self, number: int) -> Bools:
        """Which of the `number` patients of a batch are this process's."""
        return (torch.arange(number) % self.world == self.rank).numpy()

    def summed(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.world == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor[0])

    def mean_gradient(self, parameters: Iterable[Tensor], windows: float) -> None:
        """Turn the gradients of summed losses into those of the mean over all `windows` of the batch."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if self.world > 1:
                dist.all_reduce(parameter.grad)
            parameter.grad /= windows


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that torchrun has started, or this process alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()

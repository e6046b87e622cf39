"""The name of a worker process: the lowest number on this machine that no living worker holds.

A worker that is killed and started again gets its number back, and with it its unfinished jobs; two living workers
never share one (the engine would mix their jobs up). The lock is the kernel's: it goes with the process.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path

MOST_WORKERS = 64


@dataclass(frozen=True)
class ExecutorName:
    """A held name; `release` (or the end of the process) gives it back."""

    name: str
    descriptor: int

    def release(self) -> None:
        os.close(self.descriptor)


def claim_executor_name(folder: Path) -> ExecutorName:
    """Take the lowest free number.

    Raises:
        OSError: when all numbers are held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_WORKERS + 1):
        descriptor = os.open(folder / f"work-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return ExecutorName(f"{socket.gethostname()}-work-{number}", descriptor)
    raise OSError(f"{MOST_WORKERS} workers run on this machine already")

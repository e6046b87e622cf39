"""All roles on one machine: a process each, started again when it ends, ended together.

A process per role because the worker's libraries cost seconds and hundreds of megabytes that the receiver must not
pay, and because a crash of one must not take an association of another with it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.errors import Permanent

ROLES = ("receive", "work", "web")
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_AFTER_S = 60.0
STOP_TIMEOUT_S = 40.0
WRONG_USE = 2
"""Exit code of a role that its configuration keeps from running: starting it again would not help."""
_log = structlog.get_logger()


class RoleRefused(Permanent):
    """A role cannot run with this configuration; its message stands above. Everything is stopped."""


@dataclass
class _Child:
    role: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    wait_s: float = field(default=FIRST_WAIT_S)

    def look_after(self) -> None:
        """Start the process when it is time to, and plan a new start when it has ended."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            if self.process.returncode == WRONG_USE:
                raise RoleRefused(self.role)
            steady = now - self.started > STEADY_AFTER_S
            self.wait_s = FIRST_WAIT_S if steady else min(2 * self.wait_s, LONGEST_WAIT_S)
            self.start_at = now + self.wait_s
            _log.error("a role ended and is started again", role=self.role, exit=self.process.returncode)
            self.process = None
        if self.process is None and now >= self.start_at:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE)
            self.started = now


def run_all_roles(config: Path | None, stop: threading.Event, roles: Sequence[str] = ROLES) -> None:
    """Run the roles until `stop` is set; returns when all of them have ended.

    Raises:
        RoleRefused: when a role cannot run with this configuration; all have ended then.
    """
    options = ["--config", str(config)] if config else []
    children = [_Child(r, [sys.executable, "-m", "timepoint", r, "--supervised", *options]) for r in roles]
    try:
        while True:
            for child in children:
                child.look_after()
            if stop.wait(0.2):
                break
    finally:
        _end(children)


def _end(children: Sequence[_Child]) -> None:
    running = [c.process for c in children if c.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("a role did not stop in time and is killed", pid=process.pid)
            process.kill()
            process.wait()

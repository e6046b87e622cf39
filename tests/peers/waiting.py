"""Waiting for a condition, in place of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable


def await_condition(condition: Callable[[], bool], timeout_s: float, what: str | Callable[[], str]) -> None:
    """Return once `condition` holds.

    Raises:
        TimeoutError: saying `what`, when it does not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what if isinstance(what, str) else what())
        time.sleep(0.02)

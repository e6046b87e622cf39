"""So many requests a minute from one client: a page that runs wild must not keep a receiver from its database."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from fastapi import Request

_FORGET_AFTER = 4096


class RateLimit:
    """A token bucket for each client: bursts of a sixth of `per_minute` at once, the rest as time goes by."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60.0
        self._most = max(per_minute / 6.0, 1.0)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, client: str) -> int:
        """0 when the client may go on, else the whole seconds it has to wait."""
        with self._lock:
            now = self._clock()
            left, at = self._buckets.get(client, (self._most, now))
            left = min(self._most, left + (now - at) * self._rate)
            if left < 1.0:
                self._buckets[client] = (left, now)
                return math.ceil((1.0 - left) / self._rate)
            if len(self._buckets) >= _FORGET_AFTER and client not in self._buckets:
                self._buckets.clear()
            self._buckets[client] = (left - 1.0, now)
            return 0


def client_of(request: Request) -> str:
    """The address a request comes from."""
    return request.client.host if request.client else ""

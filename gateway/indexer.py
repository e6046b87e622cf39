"""The index follows the receiver: rows are written after the C-STORE response, in batches, in order of arrival.

What waits here lies in an inbox as a synced file, so that losing this queue loses nothing. While the database cannot be
written the queue stands still and `stopped` tells the receiver to refuse more. A study must not be closed on silence
that the index has not caught up with: `indexed_until` is the moment up to which everything received is in the rows.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.associations import Carrier, broken, released
from gateway.column_types import utc_now
from gateway.errors import Retriable
from gateway.inbox import InboxFile
from gateway.receiver import Receiver, take_abandoned

_BATCH = 64
_BATCH_BYTES = 32 * 2**20
_TRY_AGAIN_S = 0.5
_LOOK_FOR_ABANDONED_S = 2.0
_LULL_S = 0.05
_LONGEST_WAIT_S = 2.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Arrived:
    file: InboxFile
    carrier: Carrier

    @property
    def at_ns(self) -> int:
        return self.file.received_ns


@dataclass(frozen=True, slots=True)
class _Ended:
    carrier: Carrier
    released: bool
    at_ns: int


class Indexer:
    """A thread that writes the rows, between `start` and `stop`. It is the `IndexLine` of this process.

    With `gently` it leaves the processor to the receivers: it waits for a lull in the arrivals, two seconds at most,
    and runs at low priority. That is for receivers in other processes; in threads beside it they would wait for it.
    `on_change` is called with `stopped` whenever that changes.
    """

    def __init__(self, receiver: Receiver, *, gently: bool) -> None:
        self._receiver, self._gently = receiver, gently
        self._waiting: deque[_Arrived | _Ended] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._give_up_at = float("inf")
        self._stopped = False
        self.on_change: Callable[[bool], None] = lambda _: None
        self._last_arrival = 0.0
        self._look_at = 0.0
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    @property
    def stopped(self) -> bool:
        """True while rows cannot be written."""
        return self._stopped

    def start(self) -> None:
        self._thread.start()

    def stored(self, file: InboxFile, carrier: Carrier) -> None:
        """An instance was stored and is about to be acknowledged."""
        self._append(_Arrived(file, carrier))

    def ended(self, carrier: Carrier, *, released: bool) -> None:
        """An association is over; noted once all that it brought is indexed."""
        self._append(_Ended(carrier, released, time.time_ns()))

    def indexed_until(self) -> dt.datetime:
        """Everything acknowledged before this moment is in the rows."""
        with self._changed:
            oldest = self._waiting[0].at_ns if self._waiting else None
            now = utc_now()
        return now if oldest is None else min(now, dt.datetime.fromtimestamp(oldest / 1e9, dt.UTC))

    def wait_until_indexed(self, timeout_s: float) -> bool:
        """Return once nothing waits; false when it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def stop(self, grace_s: float) -> None:
        """Index what waits and end. What `grace_s` does not suffice for is indexed at the next start."""
        with self._changed:
            self._stopping, self._give_up_at = True, time.monotonic() + grace_s
            self._changed.notify_all()
        self._thread.join()

    def _append(self, item: _Arrived | _Ended) -> None:
        with self._changed:
            self._waiting.append(item)
            self._last_arrival = time.monotonic()
            self._changed.notify_all()

    def _run(self) -> None:
        if self._gently:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            batch = self._next_batch()
            if batch:
                self._attempt(batch)
            elif self._stopping:
                return
            self._take_over()

    def _next_batch(self) -> Sequence[_Arrived | _Ended]:
        """What comes next, left in the queue; empty when nothing came for a while, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping, _LOOK_FOR_ABANDONED_S)
            self._await_lull()
            if time.monotonic() > self._give_up_at:
                return ()
            return _one_kind(self._waiting)

    def _await_lull(self) -> None:
        latest = time.monotonic() + _LONGEST_WAIT_S
        while self._gently and not self._stopping and self._waiting:
            until = min(latest, self._last_arrival + _LULL_S)
            if time.monotonic() >= until:
                return
            self._changed.wait(until - time.monotonic())

    def _attempt(self, batch: Sequence[_Arrived | _Ended]) -> None:
        try:
            self._write(batch)
        except Exception as problem:  # noqa: BLE001 - the edge of a thread: the index must not end while the receiver runs
            if not self._stopped:
                known = isinstance(problem, Retriable)
                reason = str(problem) if known else "see the place"
                _log.error("the index stands still", error=type(problem).__name__, reason=reason, exc_info=not known)
                self._set_stopped(True)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _TRY_AGAIN_S)
            return
        if self._stopped:
            _log.info("the index goes on")
            self._set_stopped(False)
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
            self._changed.notify_all()

    def _set_stopped(self, stopped: bool) -> None:
        self._stopped = stopped
        self.on_change(stopped)

    def _write(self, batch: Sequence[_Arrived | _Ended]) -> None:
        first = batch[0]
        if isinstance(first, _Ended):
            note: Callable[..., None] = released if first.released else broken
            note(self._receiver.engine, first.carrier)
            return
        self._receiver.take_files([(item.file, item.carrier) for item in batch if isinstance(item, _Arrived)])

    def _take_over(self) -> None:
        """Look after what another receiver of this image store left when it died, however much comes in meanwhile: it
        was acknowledged, and no study may be closed without it."""
        if time.monotonic() < self._look_at or self._stopped:
            return
        self._look_at = time.monotonic() + _LOOK_FOR_ABANDONED_S
        try:
            take_abandoned(self._receiver)
        except Exception as problem:  # noqa: BLE001 - as above; the next look comes by itself
            _log.warning("abandoned instances wait", error=type(problem).__name__)


def _one_kind(waiting: deque[_Arrived | _Ended]) -> Sequence[_Arrived | _Ended]:
    """The end of an association alone, or the arrivals before the next one, up to the size of a batch."""
    batch: list[_Arrived | _Ended] = []
    size = 0
    for item in waiting:
        if isinstance(item, _Ended):
            return batch or [item]
        size += item.file.length
        if batch and (size > _BATCH_BYTES or len(batch) == _BATCH):
            return batch
        batch.append(item)
    return batch

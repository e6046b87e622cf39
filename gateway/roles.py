"""The roles of the gateway: `receive`, `work` and `web`, each a process of its own, each stateless.

A role runs until it is told to stop (SIGTERM or SIGINT); then it drains: no new associations or jobs, what is under
way is finished or left where the next start takes it up.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from gateway.arrivals import ArrivalRules
from gateway.associations import break_those_of_dead_receivers
from gateway.clock_watch import ClockWatch
from gateway.column_types import utc_now
from gateway.commitment import ask_for_commitment
from gateway.completion import close_due_studies
from gateway.context import Gateway, open_gateway
from gateway.courier import deliver_due
from gateway.engine import QueueName
from gateway.errors import Retriable
from gateway.executor_name import claim_executor_name
from gateway.expected_count import ask_archives
from gateway.heartbeat import (
    BEAT_S,
    RECEIVER_BEAT_S,
    beat,
    forget_the_dead,
    indexed_until,
    leave,
    listening_since,
    silent_workers,
)
from gateway.priors import fetch_priors
from gateway.relay import relay_outbox
from gateway.settings import Settings
from gateway.storage_scp import StorageScp

CLOSER_S = 0.25
COURIER_S = 0.5
LOOKUP_S = 5.0
DRAIN_S = 20.0
_log = structlog.get_logger()


@contextmanager
def until_told_to_stop(supervised: bool) -> Iterator[threading.Event]:
    """An event that is set by SIGTERM or SIGINT and, for a supervised role, when its supervisor is gone."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if supervised:
        threading.Thread(target=_watch_supervisor, args=[stop], daemon=True).start()
    yield stop


def _watch_supervisor(stop: threading.Event) -> None:
    # The supervisor holds the other end of this pipe; it closes when the supervisor dies, even by SIGKILL.
    while os.read(0, 1024):
        pass
    stop.set()


def run_receive(settings: Settings, supervised: bool = False) -> None:
    """Receive studies until told to stop."""
    gateway = open_gateway(settings)
    name = f"{socket.gethostname()}-receive-{os.getpid()}"
    with until_told_to_stop(supervised) as stop:
        forget_the_dead(gateway, "receive")
        scp = StorageScp(settings, gateway.database, gateway.received)
        scp.start()
        _log.info("receiving", ae_title=settings.dicom.ae_title, port=scp.port)
        beat_until(gateway, name, "receive", stop, RECEIVER_BEAT_S, scp.indexed_until)
        scp.stop()
    leave(gateway, name)


def run_work(settings: Settings, queues: Sequence[QueueName], supervised: bool = False) -> None:
    """Close studies, run their jobs and deliver their results until told to stop."""
    from gateway.engine_dbos import DbosEngine  # the receiver shares this module and needs no engine
    from gateway.identity_lookup import look_up_due
    from gateway.scheduler import start_scheduler
    from gateway.workflow import plans

    gateway = open_gateway(settings)
    break_those_of_dead_receivers(gateway.database)  # priors come in here too, over WADO-RS
    gateway.keys  # noqa: B018 - made or found missing now, not in the middle of a study
    executor = claim_executor_name(settings.data_dir / "locks")
    engine = DbosEngine(settings.engine.url, executor.name, settings.engine.poll_s)
    with until_told_to_stop(supervised) as stop:
        engine.start(plans(gateway), queues)
        scheduler = start_scheduler(gateway)
        watch = ClockWatch()
        threads = [
            _every(CLOSER_S, lambda: _close_quiet_studies(gateway, watch), stop, "closer"),
            _every(CLOSER_S, lambda: ask_archives(gateway), stop, "counts"),
            _every(COURIER_S, lambda: fetch_priors(gateway), stop, "priors"),
            _every(CLOSER_S, lambda: relay_outbox(gateway, engine), stop, "relay"),
            _every(COURIER_S, lambda: deliver_due(gateway), stop, "courier"),
            _every(COURIER_S, lambda: ask_for_commitment(gateway), stop, "commitment"),
            _every(LOOKUP_S, lambda: look_up_due(gateway), stop, "lookup"),
            _every(BEAT_S, lambda: engine.recover(silent_workers(gateway, executor.name)), stop, "takeover"),
        ]
        _log.info("working", executor=executor.name, queues=list(queues))
        beat_until(gateway, executor.name, "work", stop)
        for thread in threads:
            thread.join(DRAIN_S)
        scheduler.shutdown(wait=False)
        engine.stop(DRAIN_S)
    leave(gateway, executor.name)
    executor.release()


def _close_quiet_studies(gateway: Gateway, watch: ClockWatch) -> None:
    """Decide on due studies, once a receiver has listened for a whole quiet time by a clock that was not set."""
    watch.check(gateway.database, ArrivalRules.from_settings(gateway.settings))
    since = listening_since(gateway)
    quiet = dt.timedelta(seconds=gateway.settings.study.longest_quiet_s)
    if since is not None and utc_now() - since >= quiet:
        close_due_studies(gateway.database, gateway.settings, indexed_until(gateway))


def beat_until(
    gateway: Gateway,
    name: str,
    role: str,
    stop: threading.Event,
    every_s: float = BEAT_S,
    indexed: Callable[[], dt.datetime] | None = None,
) -> None:
    """Write the sign of life of a role until it is told to stop; `indexed` tells how far a receiver's index is."""
    while True:
        try:
            beat(gateway, name, role, indexed() if indexed else None)
        except Retriable as error:
            _log.warning("no sign of life could be written", error=type(error).__name__)
        if stop.wait(every_s):
            return


def _every(seconds: float, act: Callable[[], object], stop: threading.Event, name: str) -> threading.Thread:
    def loop() -> None:
        while not stop.wait(seconds):
            try:
                act()
            except Exception as error:  # noqa: BLE001 - the edge of a service loop: it reports and goes on
                _log.error("a service loop failed and goes on", loop=name, error=type(error).__name__, exc_info=True)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread

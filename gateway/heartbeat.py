"""Signs of life: each process writes its own, and a worker takes over the jobs of one that fell silent."""

from __future__ import annotations

import datetime as dt
import os
import socket
from pathlib import Path

from sqlmodel import select

from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.process_tables import WorkerBeat

BEAT_S = 10.0
RECEIVER_BEAT_S = 2.0
SILENT_AFTER = dt.timedelta(seconds=60)
RECEIVER_SILENT_AFTER = dt.timedelta(seconds=6)


def beat(gateway: Gateway, executor_id: str, role: str, indexed_until: dt.datetime | None = None) -> None:
    """Write the sign of life of this process; a receiver also writes how far its index has followed."""
    with session_scope(gateway.database) as session:
        row = session.get(WorkerBeat, executor_id) or WorkerBeat(executor_id=executor_id)
        row.role, row.host, row.pid, row.at = role, socket.gethostname(), os.getpid(), utc_now()
        row.indexed_until = indexed_until
        session.add(row)


def silent_workers(gateway: Gateway, own_id: str) -> list[str]:
    """Workers, other than this one, that have been silent for too long."""
    with read_scope(gateway.database) as session:
        rows = session.exec(select(WorkerBeat).where(WorkerBeat.role == "work")).all()
    return [r.executor_id for r in rows if r.executor_id != own_id and utc_now() - r.at > SILENT_AFTER]


def listening_since(gateway: Gateway) -> dt.datetime | None:
    """Since when every living receiver has been listening without a break; None while none listens.

    Silence counts as the end of a study only while somebody listened: images that could not be delivered because
    the receiver was down are still to come.
    """
    with read_scope(gateway.database) as session:
        rows = session.exec(select(WorkerBeat).where(WorkerBeat.role == "receive")).all()
    alive = [row.started_at for row in rows if utc_now() - row.at < RECEIVER_SILENT_AFTER]
    return max(alive, default=None)


def indexed_until(gateway: Gateway) -> dt.datetime:
    """The moment up to which everything that any living receiver acknowledged is in the rows.

    It is the present for the closer of studies: images that lie in an inbox are not silence.
    """
    with read_scope(gateway.database) as session:
        rows = session.exec(select(WorkerBeat).where(WorkerBeat.role == "receive")).all()
    now = utc_now()
    alive = [row.indexed_until or now for row in rows if now - row.at < RECEIVER_SILENT_AFTER]
    return min(alive, default=now)


def forget_the_dead(gateway: Gateway, role: str) -> None:
    """Take down the signs of life of processes of this machine that are gone (killed, or lost with a restart)."""
    with session_scope(gateway.database) as session:
        mine = select(WorkerBeat).where(WorkerBeat.role == role, WorkerBeat.host == socket.gethostname())
        for row in session.exec(mine).all():
            if not Path(f"/proc/{row.pid}").exists():
                session.delete(row)


def leave(gateway: Gateway, executor_id: str) -> None:
    """Take the sign of life down at an orderly end: nothing is left to take over."""
    with session_scope(gateway.database) as session:
        row = session.get(WorkerBeat, executor_id)
        if row is not None:
            session.delete(row)

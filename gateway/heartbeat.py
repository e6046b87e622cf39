"""Signs of life: each process writes its own, and a worker takes over the jobs of one that fell silent."""

from __future__ import annotations

import datetime as dt
import os
import socket

from sqlmodel import select

from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.tables import WorkerBeat

BEAT_S = 10.0
SILENT_AFTER = dt.timedelta(seconds=60)


def beat(gateway: Gateway, executor_id: str, role: str) -> None:
    """Write the sign of life of this process."""
    with session_scope(gateway.database) as session:
        row = session.get(WorkerBeat, executor_id) or WorkerBeat(executor_id=executor_id)
        row.role, row.host, row.pid, row.at = role, socket.gethostname(), os.getpid(), utc_now()
        session.add(row)


def silent_workers(gateway: Gateway, own_id: str) -> list[str]:
    """Workers, other than this one, that have been silent for too long."""
    with read_scope(gateway.database) as session:
        rows = session.exec(select(WorkerBeat).where(WorkerBeat.role == "work")).all()
    return [r.executor_id for r in rows if r.executor_id != own_id and utc_now() - r.at > SILENT_AFTER]


def leave(gateway: Gateway, executor_id: str) -> None:
    """Take the sign of life down at an orderly end: nothing is left to take over."""
    with session_scope(gateway.database) as session:
        row = session.get(WorkerBeat, executor_id)
        if row is not None:
            session.delete(row)

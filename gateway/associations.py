"""Which associations carry images of which study, and which of them broke off.

An association that ends with a release has delivered what its sender had to say. One that is still open has not, and
one that was aborted or lost leaves a sender that will try again: until it has, or until the time for that has passed,
silence says nothing about the study. The rows outlive the process, so that a kill counts as a break too.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session, col, delete, select

from gateway.column_types import new_key, utc_now
from gateway.database import insert_or_ignore, read_scope, session_scope
from gateway.process_tables import OpenAssociation


@dataclass(frozen=True, slots=True)
class Carrier:
    """The association that an instance comes in by: a key of ours and the calling AE title."""

    key: str
    source_ae: str


def new_carrier(source_ae: str) -> Carrier:
    return Carrier(new_key("n"), source_ae[:16])


def note_study(session: Session, carrier: Carrier, study_key: str) -> None:
    """Remember that `carrier` brings images of a study; again and again is the same as once."""
    row = OpenAssociation(
        association_key=carrier.key,
        study_key=study_key,
        source_ae=carrier.source_ae,
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    insert_or_ignore(session, row)


def released(engine: Engine, carrier: Carrier) -> None:
    """The association ended in order: what its sender broke off before it was opened has been sent again by now."""
    with session_scope(engine) as session:
        mine = session.exec(select(OpenAssociation).where(OpenAssociation.association_key == carrier.key)).all()
        for row in mine:
            session.exec(
                delete(OpenAssociation).where(
                    col(OpenAssociation.study_key) == row.study_key,
                    col(OpenAssociation.source_ae) == row.source_ae,
                    col(OpenAssociation.broke_at) <= row.opened_at,
                )
            )
            session.delete(row)


def broken(engine: Engine, carrier: Carrier) -> None:
    """The association was aborted or its connection lost."""
    with session_scope(engine) as session:
        _mark(session, OpenAssociation.association_key == carrier.key)


def break_those_of_dead_receivers(engine: Engine) -> None:
    """At a receiver's start: associations of processes of this machine that are gone broke off with them."""
    with read_scope(engine) as session:
        mine = select(OpenAssociation.pid).where(
            OpenAssociation.host == socket.gethostname(), col(OpenAssociation.broke_at).is_(None)
        )
        # Our own number can only be there from before, when a restarted container counts its processes anew.
        dead = [pid for pid in set(session.exec(mine)) if pid == os.getpid() or not Path(f"/proc/{pid}").exists()]
    if dead:
        with session_scope(engine) as session:
            _mark(session, OpenAssociation.host == socket.gethostname(), col(OpenAssociation.pid).in_(dead))


def more_to_come(session: Session, study_key: str, retry: dt.timedelta) -> tuple[int, dt.datetime | None]:
    """How many associations carry the study at this moment, and until when a sender that broke off is waited for."""
    rows = session.exec(select(OpenAssociation).where(OpenAssociation.study_key == study_key)).all()
    breaks = [row.broke_at for row in rows if row.broke_at is not None]
    return len(rows) - len(breaks), max(breaks) + retry if breaks else None


def forget_study(session: Session, study_key: str) -> None:
    """The study is closed: breaks that lie behind it mean nothing any more."""
    gone = (col(OpenAssociation.study_key) == study_key, col(OpenAssociation.broke_at).is_not(None))
    session.exec(delete(OpenAssociation).where(*gone))


def _mark(session: Session, *which: object) -> None:
    rows = select(OpenAssociation).where(*which, col(OpenAssociation.broke_at).is_(None))  # type: ignore[arg-type]
    for row in session.exec(rows).all():
        row.broke_at = utc_now()
        session.add(row)

"""The chain of releases: which patients each held, and which releases a withdrawal reaches.

A file that left cannot be called back by a database; what can be done is to know where a patient is, to say so to the
recipients (every later manifest lists what is recalled), and to make a release without the patient.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from gateway.column_types import utc_now
from gateway.errors import AuditBroken
from gateway.export_tables import Release, Withdrawal
from gateway.tables import ExportLedger, Outbox

GENESIS = "0" * 64
_LOCK = 0x7265_6C65_6100  # one writer at a time on PostgreSQL; SQLite has one anyway


@dataclass(frozen=True)
class Recall:
    """A release that must be destroyed or cleaned at its recipients: its file's hash and the ids to delete in it."""

    export_key: str
    sha256: str
    pids: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"ledger_id": self.export_key, "sha256": self.sha256, "pids": list(self.pids)}


def append(session: Session, ledger: ExportLedger, members: Mapping[str, str], statement: Mapping[str, Any]) -> Release:
    """Write a release into the ledger, as the next link of its chain."""
    if session.connection().dialect.name == "postgresql":
        session.connection().execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    last = newest(session)
    session.add(ledger)
    session.flush()
    link = Release(
        number=last.number + 1 if last else 1,
        export_key=ledger.export_key,
        members=dict(members),
        statement=dict(statement),
        previous=last.hash if last else GENESIS,
        hash="",
    )
    link.hash = _hash_of(link)
    session.add(link)
    session.flush()
    return link


def newest(session: Session) -> Release | None:
    """The last release, None where there was none."""
    return session.exec(select(Release).order_by(col(Release.number).desc()).limit(1)).first()


def verify(session: Session) -> int:
    """Check the chain and return how many releases it has.

    Raises:
        AuditBroken: with the number of the first release that does not fit.
    """
    previous = GENESIS
    links = session.exec(select(Release).order_by(col(Release.number))).all()
    for number, link in enumerate(links, start=1):
        if link.number != number or link.previous != previous or link.hash != _hash_of(link):
            raise AuditBroken(f"Release {number} of the ledger is missing or was changed.")
        previous = link.hash
    return len(links)


def withdraw(session: Session, patient_keys: Iterable[str], actor: str) -> list[Recall]:
    """Note every release that holds one of the records of a person; returns them, each once.

    Where there is one, a release without the person is queued. Nothing is noted twice.
    """
    wanted = set(patient_keys)
    known = {(w.export_key, w.patient_key) for w in session.exec(select(Withdrawal)).all()}
    holding = []
    for release in session.exec(select(Release).order_by(col(Release.number))).all():
        for key in sorted(wanted & set(release.members)):
            holding.append(release.export_key)
            if (release.export_key, key) not in known:
                pid = str(release.members[key])
                session.add(Withdrawal(export_key=release.export_key, patient_key=key, pid=pid, actor=actor[:64]))
    session.flush()
    if holding:
        now = utc_now()
        name = f"export-withdrawal-{now:%Y%m%dT%H%M%S%fZ}"
        session.add(Outbox(job=name, kind="export", payload={"slot": now.isoformat()}))
    return [recall for recall in recalls(session) if recall.export_key in holding]


def recalls(session: Session) -> list[Recall]:
    """All releases that hold somebody who withdrew, the oldest first."""
    query = (
        select(ExportLedger, Withdrawal.pid)
        .join(Withdrawal, col(Withdrawal.export_key) == col(ExportLedger.export_key))
        .join(Release, col(Release.export_key) == col(ExportLedger.export_key))
        .order_by(col(Release.number), col(Withdrawal.pid))
    )
    found: dict[str, tuple[str, list[str]]] = {}
    for ledger, pid in session.exec(query).all():
        found.setdefault(ledger.export_key, (ledger.sha256, []))[1].append(pid)
    return [Recall(key, digest, tuple(pids)) for key, (digest, pids) in found.items()]


def releases(session: Session) -> Sequence[tuple[Release, ExportLedger]]:
    """The ledger, the newest release first."""
    query = select(Release, ExportLedger).join(ExportLedger, col(ExportLedger.export_key) == col(Release.export_key))
    return session.exec(query.order_by(col(Release.number).desc())).all()


def _hash_of(link: Release) -> str:
    content = [link.number, link.export_key, link.members, link.statement, link.previous]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

"""The audit trail: every link carries the hash of the one before it, so that a change or a gap shows.

What goes in is our own keys, actions and counts - no patient values. The trail is written in the transaction of the
act itself: an act that is rolled back leaves no link, one that is committed cannot be without.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from gateway.column_types import utc_now
from gateway.errors import AuditBroken
from gateway.tables import Audit

GENESIS = "0" * 64
_BATCH = 1000
_LOCK = 0x6175_6469_7400  # "audit": one writer at a time on PostgreSQL; SQLite has one anyway


def append(
    session: Session, actor: str, action: str, subject: str = "", detail: Mapping[str, Any] | None = None
) -> Audit:
    """Append one link: who (`actor`) did what (`action`, say `study.complete`) to what (`subject`, one of our keys)."""
    if session.connection().dialect.name == "postgresql":
        session.connection().execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    last = session.exec(select(Audit).order_by(col(Audit.seq).desc()).limit(1)).first()
    link = Audit(
        seq=last.seq + 1 if last else 1,
        at=utc_now(),
        actor=actor[:64],
        action=action[:64],
        subject=subject[:64],
        detail=dict(detail or {}),
        previous=last.hash if last else GENESIS,
        hash="",
    )
    link.hash = _hash_of(link)
    session.add(link)
    session.flush()
    return link


def verify(session: Session) -> int:
    """Check the whole chain and return how many links it has.

    The end of the chain proves nothing about links cut off behind it: keep the last hash outside (`last_hash`) and
    compare.

    Raises:
        AuditBroken: with the number of the first link that does not fit.
    """
    previous, count = GENESIS, 0
    while batch := session.exec(select(Audit).where(Audit.seq > count).order_by(col(Audit.seq)).limit(_BATCH)).all():
        for link in batch:
            count += 1
            if link.seq != count:
                raise AuditBroken(f"Link {count} is missing.")
            if link.previous != previous or link.hash != _hash_of(link):
                raise AuditBroken(f"Link {link.seq} was changed.")
            previous = link.hash
    return count


def last_hash(session: Session) -> str:
    """The hash of the newest link, to be kept where the database's owner cannot change it."""
    return session.exec(select(Audit.hash).order_by(col(Audit.seq).desc()).limit(1)).first() or GENESIS


def _hash_of(link: Audit) -> str:
    content = [link.seq, _stamp(link.at), link.actor, link.action, link.subject, link.detail, link.previous]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")

"""`/api/v1`: what operators look at - deliveries, audit trail, rules tried on past studies, models, health."""

from __future__ import annotations

import json
import shutil
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from sqlmodel import Session, col, func, select

from gateway import audit
from gateway.api.access import Operator, Viewer
from gateway.api.routes import Open
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.delivery_progress import to_be_committed
from gateway.errors import NotFound
from gateway.process_tables import WorkerBeat
from gateway.rule_simulation import simulate_rules
from gateway.study_settings import Study as StudyRules
from gateway.tables import Audit, Delivery, DeliveryState, Outbox, Quarantine, Study
from inference.model_folder import SHIPPED_MODELS

router = APIRouter(prefix="/api/v1", tags=["operators"])
Limit = Annotated[int, Query(ge=1, le=1000)]
_SILENT_S = 60.0


@router.get("/deliveries")
def deliveries(
    gateway: Open,
    _user: Viewer,
    destination: str | None = None,
    state: DeliveryState | None = None,
    uncommitted: bool = False,
    limit: Limit = 200,
) -> list[dict[str, Any]]:
    """Deliveries, the last moved first; `failed` ones are the dead letters, tried again by replaying their study.
    `uncommitted`: only those that an archive holds and has still to commit."""
    query = select(Delivery).order_by(col(Delivery.updated_at).desc(), col(Delivery.id).desc()).limit(limit)
    if destination is not None:
        query = query.where(Delivery.destination == destination)
    if state is not None:
        query = query.where(Delivery.state == state)
    if uncommitted:
        to_commit = col(Delivery.destination).in_(to_be_committed(gateway.settings))
        query = query.where(Delivery.state == DeliveryState.DELIVERED, to_commit)
    with read_scope(gateway.database) as session:
        return [_delivery(row) for row in session.exec(query).all()]


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "study_key": row.study_key,
        "revision": row.revision,
        "destination": row.destination,
        "object": row.object_name,
        "state": row.state.value,
        "attempts": row.attempts,
        "error": row.last_error,
        "next_try": row.next_try.isoformat(timespec="seconds") if row.next_try else None,
        "updated": row.updated_at.isoformat(timespec="seconds"),
    }


@router.get("/audit")
def trail(
    gateway: Open,
    _user: Operator,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="Only links older than this number.")] = None,
    subject: str | None = None,
    limit: Limit = 100,
) -> list[dict[str, Any]]:
    """The audit trail, newest link first."""
    query = select(Audit).order_by(col(Audit.seq).desc()).limit(limit)
    if before is not None:
        query = query.where(Audit.seq < before)
    if subject is not None:
        query = query.where(Audit.subject == subject)
    with read_scope(gateway.database) as session:
        rows = session.exec(query).all()
    return [
        {
            "seq": r.seq,
            "at": r.at.isoformat(timespec="seconds"),
            "actor": r.actor,
            "action": r.action,
            "subject": r.subject,
            "detail": r.detail,
        }
        for r in rows
    ]


@router.post("/audit/verify")
def verify_trail(gateway: Open, _user: Operator) -> dict[str, Any]:
    """Check the whole chain; 422 with the first link that does not fit."""
    with read_scope(gateway.database) as session:
        return {"links": audit.verify(session), "last_hash": audit.last_hash(session)}


@router.get("/rules")
def rules(gateway: Open, _user: Viewer) -> dict[str, Any]:
    """The rules of completeness as they are configured."""
    return gateway.settings.study.model_dump(mode="json")


@router.post("/rules/simulate")
def simulate(gateway: Open, user: Operator, tried: StudyRules, limit: Limit = 200) -> dict[str, Any]:
    """What other rules would have decided of past studies; nothing is changed."""
    file = gateway.settings.deidentify.key_file
    keys = gateway.keys if file is not None and file.exists() else None
    try:
        with read_scope(gateway.database) as session:
            found = simulate_rules(session, tried, keys, limit)
    except OverflowError:
        raise HTTPException(422, "A time in these rules is longer than a calendar holds.") from None
    with session_scope(gateway.database) as session:
        audit.append(session, actor=user.name, action="rules.simulate")
    different = sum(1 for line in found if line.differences)
    return {"studies": [line.as_json() for line in found], "simulated": len(found), "different": different}


@router.get("/models/{name}")
def model(name: str, _user: Viewer) -> dict[str, Any]:
    """A model's data sheet: what it was trained on, its metrics and its card in words."""
    folders = {card.parent.name: card.parent for card in SHIPPED_MODELS.glob("*/model.json")}
    if name not in folders:
        raise NotFound(f"model {name}: there are {', '.join(sorted(folders))}")
    card: dict[str, Any] = json.loads((folders[name] / "model.json").read_text(encoding="utf-8"))
    return {"card": card, "text": (folders[name] / "README.md").read_text(encoding="utf-8")}


@router.get("/health")
def health(gateway: Open, _user: Viewer) -> dict[str, Any]:
    """What runs, what waits and how much room there is."""
    free_mb = gateway.received.free_bytes() // 2**20
    with read_scope(gateway.database) as session:
        beats = session.exec(select(WorkerBeat).order_by(col(WorkerBeat.at).desc())).all()
        states = session.exec(select(Study.state, func.count()).group_by(col(Study.state))).all()
        waiting = {
            "outbox": _count(session, select(func.count()).select_from(Outbox).where(col(Outbox.sent_at).is_(None))),
            "quarantine": _count(
                session,
                select(func.count()).select_from(Quarantine).where(col(Quarantine.resolved_at).is_(None)),
            ),
            "failed_deliveries": _count(
                session, select(func.count()).select_from(Delivery).where(Delivery.state == DeliveryState.FAILED)
            ),
        }
    return {
        "processes": [_process(beat) for beat in beats],
        "studies": {str(state): count for state, count in states},
        "waiting": waiting,
        "disk": {
            "free_mb": free_mb,
            "needed_mb": gateway.settings.storage.min_free_mb,
            "total_mb": _total_mb(gateway),
        },
    }


def _process(beat: WorkerBeat) -> dict[str, Any]:
    age_s = (utc_now() - beat.at).total_seconds()
    return {"name": beat.executor_id, "role": beat.role, "age_s": round(age_s, 1), "alive": age_s < _SILENT_S}


def _count(session: Session, query: Any) -> int:
    return int(session.exec(query).one())


def _total_mb(gateway: Gateway) -> int:
    return shutil.disk_usage(gateway.settings.data_dir).total // 2**20

"""`/api/v1`: studies, patients, quarantine, jobs, destinations, models, exports, and `predict`."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import Field
from sqlmodel import Session, col, select

from gateway import audit, identity_operations, operations, overview
from gateway.api.access import Operator, User, Viewer
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.delivery_progress import to_be_committed
from gateway.engine import JobQueue
from gateway.errors import NotAllowed
from gateway.export import export_histories
from gateway.quarantine import list_open, show
from gateway.quarantine_decisions import ALLOWED, Action, Decision
from gateway.tables import Delivery, DeliveryState, ExportLedger, Quarantine, QuarantineKind, StudyState
from inference.model_folder import SHIPPED_MODELS
from longitudinal.histories import Patient

router = APIRouter(prefix="/api/v1")


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _queue(request: Request) -> JobQueue:
    queue: JobQueue = request.app.state.queue
    return queue


Open = Annotated[Gateway, Depends(_gateway)]
Queue = Annotated[JobQueue, Depends(_queue)]


def _note_read(gateway: Gateway, user: User, action: str, subject: str) -> None:
    """Every read of a patient's data is audited."""
    with session_scope(gateway.database) as session:
        audit.append(session, actor=user.name, action=action, subject=subject)


@router.get("/studies")
def studies(
    request: Request,
    response: Response,
    gateway: Open,
    _user: Viewer,
    state: StudyState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> list[dict[str, Any]]:
    """Studies, the newest arrival first; where there are more, `Link` leads on (RFC 8288)."""
    with read_scope(gateway.database) as session:
        found = overview.list_studies(session, state, limit + 1, offset)
    if len(found) > limit:
        following = request.url.include_query_params(limit=limit, offset=offset + limit)
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return found[:limit]


@router.get("/studies/{study_key}")
def study(study_key: str, gateway: Open, user: Viewer) -> dict[str, Any]:
    with read_scope(gateway.database) as session:
        found = overview.show_study(session, study_key)
    _note_read(gateway, user, "study.read", found["study_key"])
    return found


@router.post("/studies/{study_key}/complete")
def complete(study_key: str, gateway: Open, user: Operator) -> dict[str, int]:
    return {"revision": operations.complete(gateway, study_key, user.name)}


@router.post("/studies/{study_key}/hold")
def hold(study_key: str, gateway: Open, user: Operator, on: bool = True) -> dict[str, bool]:
    operations.hold(gateway, study_key, user.name, on)
    return {"on_hold": on}


@router.post("/studies/{study_key}/replay")
def replay(study_key: str, gateway: Open, user: Operator) -> dict[str, str]:
    return {"done": operations.replay_study(gateway, study_key, user.name)}


@router.get("/patients")
def patients(gateway: Open, _user: Viewer) -> list[dict[str, Any]]:
    with read_scope(gateway.database) as session:
        return overview.list_patients(session)


@router.get("/patients/{patient_key}/history")
def history(patient_key: str, gateway: Open, user: Viewer) -> dict[str, Any]:
    with read_scope(gateway.database) as session:
        found = overview.show_patient(session, patient_key)
    _note_read(gateway, user, "patient.read", patient_key)
    return found


@router.get("/patients/{patient_key}/forecast")
def forecast(patient_key: str, gateway: Open, user: Viewer) -> dict[str, Any]:
    """The forecast made at the patient's last study; null where there is none."""
    found = history(patient_key, gateway, user)
    results = [s["result"] for s in found["studies"] if s["result"]]
    return {"patient_key": patient_key, "forecast": results[-1]["forecast"] if results else None}


@router.get("/quarantine")
def quarantine(gateway: Open, _user: Viewer, kind: QuarantineKind | None = None) -> list[dict[str, Any]]:
    with read_scope(gateway.database) as session:
        return [_item(row) for row in list_open(session, kind=kind)]


@router.get("/quarantine/{key}")
def quarantine_item(key: str, gateway: Open, user: Viewer) -> dict[str, Any]:
    compared = identity_operations.show_decision(gateway, key, user.name)
    with read_scope(gateway.database) as session:
        return {**_item(show(session, key)), "compared": compared}


@router.post("/quarantine/{key}/complete")
def complete_item(key: str, gateway: Open, user: Operator) -> dict[str, int]:
    return {"revision": operations.complete_item(gateway, key, user.name)}


@router.post("/quarantine/{key}/resolve")
def resolve_item(
    key: str, gateway: Open, user: Operator, action: Action, patient_id: str = "", issuer: str = ""
) -> dict[str, str]:
    operations.resolve_item(gateway, key, Decision(action, user.name, patient_id, issuer))
    return {"done": action.value}


def _item(row: Quarantine) -> dict[str, Any]:
    return {
        "key": row.quarantine_key,
        "kind": row.kind.value,
        "study_key": row.study_key,
        "reason": row.reason,
        "remedy": row.remedy,
        "since": row.created_at.isoformat(timespec="seconds"),
        "actions": sorted(action.value for action in ALLOWED[row.kind]),
    }


@router.get("/jobs")
def jobs(queue: Queue, _user: Viewer) -> list[dict[str, Any]]:
    return [asdict(job) for job in queue.jobs()]


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: str, queue: Queue, _user: Operator) -> dict[str, str]:
    queue.cancel(job_id)
    return {"done": "cancelled"}


@router.post("/jobs/{job_id}/retry")
def retry_job(job_id: str, queue: Queue, _user: Operator) -> dict[str, str]:
    if any(job.job_id == job_id and job.state in ("queued", "running") for job in queue.jobs(1000)):
        raise NotAllowed(f"Job {job_id} has not ended: cancel it first.")
    queue.retry(job_id)
    return {"done": "queued again"}


@router.get("/destinations")
def destinations(gateway: Open, _user: Viewer) -> list[dict[str, Any]]:
    """Every destination with the number of objects that wait for it, that it holds but has not committed, or that were
    given up."""
    with read_scope(gateway.database) as session:
        waiting = _deliveries(session, DeliveryState.PENDING)
        failed = _deliveries(session, DeliveryState.FAILED)
        held = _deliveries(session, DeliveryState.DELIVERED)
    to_commit = to_be_committed(gateway.settings)
    named = [{"name": d.name, "kind": d.kind.value} for d in gateway.settings.destinations]
    if gateway.settings.fhir.base_url:
        named.append({"name": "fhir", "kind": "fhir"})
    return [
        {
            **d,
            "waiting": waiting.count(d["name"]),
            "uncommitted": held.count(d["name"]) if d["name"] in to_commit else 0,
            "failed": failed.count(d["name"]),
        }
        for d in named
    ]


def _deliveries(session: Session, state: DeliveryState) -> list[str]:
    return list(session.exec(select(Delivery.destination).where(Delivery.state == state)).all())


@router.get("/models")
def models(_user: Viewer) -> list[dict[str, Any]]:
    """The models that ship, by their cards."""
    import json

    cards = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(SHIPPED_MODELS.glob("*/model.json"))]
    return [{k: c.get(k) for k in ("name", "version", "kind", "weights_sha256")} for c in cards]


@router.get("/exports")
def exports(gateway: Open, _user: Viewer) -> list[dict[str, Any]]:
    with read_scope(gateway.database) as session:
        rows = session.exec(select(ExportLedger).order_by(col(ExportLedger.created_at).desc())).all()
    return [{"export_key": r.export_key, "created": r.created_at, "sha256": r.sha256, "counts": r.counts} for r in rows]


@router.post("/exports")
def make_export(gateway: Open, user: Operator) -> dict[str, Any]:
    """Write an export now."""
    from gateway.column_types import new_key

    summary = export_histories(gateway, gateway.exports_folder / new_key("x"))
    _note_read(gateway, user, "export.ask", summary.ledger_key)
    return {"export_key": summary.ledger_key, "sha256": summary.sha256, "counts": summary.counts}


@router.post("/predict")
def predict(
    gateway: Open,
    _user: Viewer,
    patient: Annotated[Patient, Body(description="A patient of schema patient-histories/1.")],
    horizons_days: Annotated[
        list[Annotated[int, Field(ge=1, le=3650)]] | None, Query(description="Days after the last scan.")
    ] = None,
) -> dict[str, Any]:
    """Forecast a history that is sent along; nothing of it is kept. Model output, not a measurement."""
    from gateway.values import forecast_to_json

    horizons = horizons_days or list(gateway.settings.forecast.horizons_days)
    made = _forecaster(gateway.settings.forecast.model).forecast(patient, horizons, tracking_uid="2.25.0")
    return forecast_to_json(made)


@cache
def _forecaster(named: str) -> Any:
    from inference.forecast.forecaster import Forecaster

    return Forecaster.load(Path(named) if named and Path(named).is_dir() else SHIPPED_MODELS / (named or "forecast-1"))

"""`/api/v1`: what was fetched of the earlier studies of patients, and asking for them by hand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway import audit, prior_operations
from gateway.api.access import Operator, Viewer
from gateway.api.routes import Open
from gateway.database import read_scope, session_scope

router = APIRouter(prefix="/api/v1")


@router.get("/priors")
def priors(gateway: Open, _user: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> list[dict[str, Any]]:
    with read_scope(gateway.database) as session:
        return prior_operations.list_searches(session, limit)


@router.get("/patients/{patient_key}/priors")
def priors_of(patient_key: str, gateway: Open, user: Viewer) -> dict[str, Any]:
    with read_scope(gateway.database) as session:
        found = prior_operations.show_search(session, patient_key)
    with session_scope(gateway.database) as session:
        audit.append(session, actor=user.name, action="patient.read-priors", subject=patient_key)
    return found


@router.post("/patients/{patient_key}/priors")
def ask_for_priors(patient_key: str, gateway: Open, user: Operator) -> dict[str, str]:
    return {"done": prior_operations.ask_for_priors(gateway, patient_key, user.name)}

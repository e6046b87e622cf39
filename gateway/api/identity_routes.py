"""`/api/v1`: who is who - find a record by patient ID, merge, unmerge, move a study. Decisions need an operator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from gateway import identity_operations as act
from gateway.api.access import Operator, Viewer
from gateway.api.routes import Open
from gateway.database import read_scope
from gateway.merges import Change

router = APIRouter(prefix="/api/v1")


class StatedPatient(BaseModel):
    """A patient ID and its issuer; in a body, because addresses end up in logs."""

    patient_id: str
    issuer: str = ""


@router.post("/patients/find")
def find(stated: StatedPatient, gateway: Open, user: Operator) -> list[dict[str, Any]]:
    return act.find_patients(gateway, stated.patient_id, stated.issuer, user.name)


@router.get("/merges")
def merges(gateway: Open, _user: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> list[dict[str, Any]]:
    """Merged records, the newest merge first; those that were undone too."""
    with read_scope(gateway.database) as session:
        return act.list_merges(session, limit)


@router.post("/patients/{patient_key}/merge")
def merge(patient_key: str, retired: str, gateway: Open, user: Operator) -> dict[str, Any]:
    """Make the record `retired` part of this one."""
    return _told(act.merge_patients(gateway, patient_key, retired, user.name))


@router.post("/patients/{patient_key}/unmerge")
def unmerge(patient_key: str, gateway: Open, user: Operator) -> dict[str, Any]:
    """Take this record out of the one it was merged into."""
    return _told(act.unmerge_patients(gateway, patient_key, user.name))


@router.post("/studies/{study_key}/move")
def move(study_key: str, gateway: Open, user: Operator, to: str | None = None) -> dict[str, Any]:
    """Give a study to another record; without `to` its images say again whose it is."""
    return _told(act.move_study(gateway, study_key, to, user.name))


def _told(change: Change) -> dict[str, Any]:
    return {"changed": change.changed, "studies": list(change.studies)}

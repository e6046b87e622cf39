"""`/api/v1`: treatments and tumour markers of a patient. Stating them needs an operator."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from gateway import audit, clinical_facts, operations
from gateway.api.access import Operator, Viewer
from gateway.api.routes import Open
from gateway.database import read_scope, session_scope
from longitudinal.patient_history import TreatmentKind

router = APIRouter(prefix="/api/v1")


class StatedTreatment(BaseModel):
    """A treatment by its dates; `decided` is the start where it is not known, `stop` is empty while it runs."""

    model_config = ConfigDict(extra="forbid")

    kind: TreatmentKind
    start: dt.date
    stop: dt.date | None = None
    decided: dt.date | None = None
    agent: str | None = None
    extent: Literal["gtr", "str", "bx"] | None = None
    planned: bool = False


class StatedFacts(BaseModel):
    """Tumour markers; what is left out stays as it is, null makes it unknown again."""

    model_config = ConfigDict(extra="forbid")

    who_grade: Literal[1, 2, 3, 4] | None = None
    idh: Literal["wt", "mut"] | None = None
    mgmt: Literal["meth", "unmeth"] | None = None
    codel_1p19q: bool | None = None


@router.get("/patients/{patient_key}/treatments")
def treatments(patient_key: str, gateway: Open, user: Viewer) -> list[dict[str, Any]]:
    with session_scope(gateway.database) as session:
        audit.append(session, actor=user.name, action="patient.read-treatments", subject=patient_key)
    with read_scope(gateway.database) as session:
        return clinical_facts.list_treatments(session, patient_key)


@router.post("/patients/{patient_key}/treatments")
def add_treatment(patient_key: str, stated: StatedTreatment, gateway: Open, user: Operator) -> dict[str, str]:
    """State a treatment; the record is folded anew, and results that change are published again."""
    return {"treatment_key": operations.add_treatment(gateway, patient_key, stated.model_dump(), user.name)}


@router.delete("/treatments/{treatment_key}")
def take_back_treatment(treatment_key: str, gateway: Open, user: Operator) -> dict[str, str]:
    """Take back a treatment that was stated wrongly."""
    operations.take_back_treatment(gateway, treatment_key, user.name)
    return {"taken_back": treatment_key}


@router.put("/patients/{patient_key}/facts")
def state_facts(patient_key: str, stated: StatedFacts, gateway: Open, user: Operator) -> dict[str, list[str]]:
    values = stated.model_dump(exclude_unset=True)
    operations.state_facts(gateway, patient_key, values, user.name)
    return {"stated": sorted(values)}

"""Treatments and tumour markers that a person states: they set baselines, and the forecast may know of them.

Each change is audited and folds the record anew; results that it changes are published again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlmodel import Session, col, select

from gateway import audit
from gateway.clinical_tables import ClinicalFactsRow, TreatmentRow
from gateway.column_types import utc_now
from gateway.errors import NotAllowed, NotFound
from gateway.identity import survivor_of
from gateway.ownership import family_of
from gateway.tables import Patient
from longitudinal.patient_history import ClinicalFacts, TreatmentEvent

_EVENT, _FACTS = TypeAdapter(TreatmentEvent), TypeAdapter(ClinicalFacts)
_EVENT_FIELDS = ("kind", "start", "stop", "decided", "agent", "extent", "planned")
_FACT_FIELDS = ("who_grade", "idh", "mgmt", "codel_1p19q")


@dataclass(frozen=True)
class Stated:
    """What is known of a patient: treatments in the order of their start, and markers."""

    treatments: Sequence[TreatmentEvent]
    facts: ClinicalFacts

    def known_on(self, day: dt.date) -> dict[str, Any]:
        """What a forecast of this day may use, as plain values; empty where nothing is known."""
        known = [t for t in self.treatments if min(t.decided or t.start, t.start) <= day]
        facts = {name: value for name, value in _FACTS.dump_python(self.facts).items() if value is not None}
        return {k: v for k, v in (("treatments", _dumped(known)), ("facts", facts)) if v}


def stated_of(session: Session, patient_key: str) -> Stated:
    """What was stated for a patient or for a record that was merged into this one."""
    keys = [p.patient_key for p in family_of(session, patient_key)]
    rows = _standing(session, keys)
    facts: dict[str, Any] = {}
    for row in session.exec(select(ClinicalFactsRow).where(col(ClinicalFactsRow.patient_key).in_(keys))).all():
        stated = {name: getattr(row, name) for name in _FACT_FIELDS if getattr(row, name) is not None}
        facts = {**facts, **stated} if row.patient_key == keys[0] else {**stated, **facts}
    events = dict.fromkeys(_event({name: getattr(row, name) for name in _EVENT_FIELDS}) for row in rows)
    return Stated(list(events), ClinicalFacts(**facts))


def list_treatments(session: Session, patient_key: str) -> list[dict[str, Any]]:
    """Treatments with their keys, in the order of their start.

    Raises:
        NotFound: when there is no such patient.
    """
    _patient(session, patient_key)
    rows = _standing(session, [p.patient_key for p in family_of(session, patient_key)])
    return [{"treatment_key": r.treatment_key, **_shown(r), "stated_by": r.stated_by} for r in rows]


def add_treatment(session: Session, patient_key: str, values: dict[str, Any], actor: str) -> str:
    """State a treatment; returns its key. The same treatment stated twice is one.

    Raises:
        NotFound: when there is no such patient.
        NotAllowed: when the values contradict each other or are none that is known; the message says which.
    """
    _patient(session, patient_key)
    event = _event(values)
    if event.stop is not None and event.stop < event.start:
        raise NotAllowed("The treatment stops before it starts.")
    if event.decided is not None and event.decided > event.start:
        raise NotAllowed("The treatment was decided after it started.")
    for row in _standing(session, [patient_key]):
        if _event({name: getattr(row, name) for name in _EVENT_FIELDS}) == event:
            return row.treatment_key
    row = TreatmentRow(patient_key=patient_key, stated_by=actor, **{n: getattr(event, n) for n in _EVENT_FIELDS})
    session.add(row)
    session.flush()
    detail = {"treatment": row.treatment_key, "kind": event.kind}
    audit.append(session, actor=actor, action="patient.treatment", subject=patient_key, detail=detail)
    return row.treatment_key


def take_back_treatment(session: Session, treatment_key: str, actor: str) -> str:
    """Take back a treatment that was stated wrongly; returns the patient's key.

    Raises:
        NotFound: when there is none of this key, or it was taken back already.
    """
    row = session.get(TreatmentRow, treatment_key)
    if row is None or row.taken_back_at is not None:
        raise NotFound(f"treatment {treatment_key}")
    row.taken_back_by, row.taken_back_at = actor, utc_now()
    session.add(row)
    session.flush()
    detail = {"treatment": treatment_key}
    audit.append(session, actor=actor, action="patient.treatment-taken-back", subject=row.patient_key, detail=detail)
    return row.patient_key


def state_facts(session: Session, patient_key: str, values: dict[str, Any], actor: str) -> None:
    """State tumour markers; those that are not named stay as they are, None makes one unknown again.

    Raises:
        NotFound: when there is no such patient.
        NotAllowed: when a value is none that is known.
    """
    _patient(session, patient_key)
    unknown = set(values) - set(_FACT_FIELDS)
    if unknown:
        raise NotAllowed(f"There is no fact {', '.join(sorted(unknown))}; facts are {', '.join(_FACT_FIELDS)}.")
    try:
        _FACTS.validate_python(values)
    except ValidationError as error:
        raise NotAllowed(_told(error)) from None
    row = session.get(ClinicalFactsRow, patient_key) or ClinicalFactsRow(patient_key=patient_key, stated_by=actor)
    for name, value in values.items():
        setattr(row, name, value)
    row.stated_by, row.stated_at = actor, utc_now()
    session.add(row)
    session.flush()
    detail = {"stated": sorted(values)}
    audit.append(session, actor=actor, action="patient.facts", subject=patient_key, detail=detail)


def _patient(session: Session, patient_key: str) -> Patient:
    patient = session.get(Patient, patient_key)
    if patient is None:
        raise NotFound(f"patient {patient_key}")
    if survivor_of(session, patient_key) != patient_key:
        raise NotAllowed(f"The record {patient_key} is part of {survivor_of(session, patient_key)}: state it there.")
    return patient


def _standing(session: Session, patient_keys: Sequence[str]) -> Sequence[TreatmentRow]:
    query = select(TreatmentRow).where(
        col(TreatmentRow.patient_key).in_(patient_keys), col(TreatmentRow.taken_back_at).is_(None)
    )
    return session.exec(query.order_by(col(TreatmentRow.start), col(TreatmentRow.treatment_key))).all()


def _event(values: dict[str, Any]) -> TreatmentEvent:
    try:
        return _EVENT.validate_python(values)
    except ValidationError as error:
        raise NotAllowed(_told(error)) from None


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."


def _dumped(events: Sequence[TreatmentEvent]) -> list[Any]:
    return [_EVENT.dump_python(event, mode="json") for event in events]


def _shown(row: TreatmentRow) -> dict[str, Any]:
    event = _event({name: getattr(row, name) for name in _EVENT_FIELDS})
    return dict(_EVENT.dump_python(event, mode="json"))

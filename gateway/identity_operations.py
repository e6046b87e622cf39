"""What a person may decide about who is who, from the command line and from the pages alike; every read and decision is
audited."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, func, select

from gateway import audit
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.identity import IssuerRules, first_contact
from gateway.identity_tables import PatientMerge
from gateway.merges import Change, merge, unmerge
from gateway.merges import move_study as move
from gateway.overview import find_study
from gateway.ownership import family_of, identifiers_in
from gateway.quarantine import show
from gateway.tables import Patient, PatientIdentifier, Quarantine, QuarantineKind, Study

IDENTITY_KINDS = frozenset(
    {QuarantineKind.PATIENT_MERGE, QuarantineKind.CONFLICTING_PATIENT, QuarantineKind.MISSING_PATIENT_ID}
)
"""Items in quarantine that are decisions about who is who."""


def merge_patients(gateway: Gateway, surviving: str, retired: str, actor: str) -> Change:
    """Make one record of two. Raises what `gateway.merges.merge` does."""
    with session_scope(gateway.database) as session:
        return merge(session, surviving, retired, actor)


def unmerge_patients(gateway: Gateway, retired: str, actor: str) -> Change:
    """Undo a merge. Raises what `gateway.merges.unmerge` does."""
    with session_scope(gateway.database) as session:
        return unmerge(session, retired, actor)


def list_merges(session: Session, limit: int = 200) -> list[dict[str, Any]]:
    """What was merged, the newest first, and whether it was undone; our own keys, no patient ID."""
    rows = session.exec(select(PatientMerge).order_by(col(PatientMerge.made_at).desc()).limit(limit)).all()
    return [_merge_line(session, row) for row in rows]


def _merge_line(session: Session, row: PatientMerge) -> dict[str, Any]:
    issuers = select(PatientIdentifier.issuer).where(PatientIdentifier.patient_key == row.retired_key)
    return {
        "surviving": row.surviving_key,
        "retired": row.retired_key,
        "retired_issuers": sorted(set(session.exec(issuers).all())),
        "made_by": row.made_by,
        "made": row.made_at.isoformat(timespec="seconds"),
        "unmade_by": row.unmade_by,
        "unmade": row.unmade_at.isoformat(timespec="seconds") if row.unmade_at else None,
    }


def move_study(gateway: Gateway, key_or_uid: str, patient_key: str | None, actor: str) -> Change:
    """Give a study to another patient. Raises what `gateway.merges.move_study` does."""
    with session_scope(gateway.database) as session:
        return move(session, find_study(session, key_or_uid), patient_key, actor)


def record_of(gateway: Gateway, patient_id: str, issuer: str) -> str:
    """The record of a patient ID that a person states; made where it is the first contact.

    Raises:
        NotAllowed: when the ID, or an issuer that this site needs, is missing.
    """
    who = _rules(gateway).decided(patient_id, issuer)
    if who is None:
        raise NotAllowed("It needs a patient ID and its issuer.")
    with session_scope(gateway.database) as session:
        return first_contact(session, who)


def find_patients(gateway: Gateway, patient_id: str, issuer: str, actor: str) -> list[dict[str, Any]]:
    """The records behind a patient ID, under one issuer or under all.

    Raises:
        NotFound: when there is none.
    """
    plain = " ".join(patient_id.split())
    query = select(PatientIdentifier).where(PatientIdentifier.patient_id == plain)
    if issuer:
        query = query.where(PatientIdentifier.issuer == _rules(gateway).canonical(issuer))
    with session_scope(gateway.database) as session:
        rows = session.exec(query.order_by(col(PatientIdentifier.id))).all()
        if not rows:
            raise NotFound("a patient with this ID")
        for key in sorted({row.patient_key for row in rows}):
            audit.append(session, actor=actor, action="patient.find", subject=key)
        return [_line(session, row) for row in rows]


def _line(session: Session, row: PatientIdentifier) -> dict[str, Any]:
    patient = session.get_one(Patient, row.patient_key)
    return {
        "patient_key": row.patient_key,
        "patient_id": row.patient_id,
        "issuer": row.issuer,
        "merged_into": patient.merged_into,
        "studies": _studies(session, row.patient_key),
    }


def show_decision(gateway: Gateway, quarantine_key: str, actor: str) -> dict[str, Any]:
    """What a person needs to see to decide on an item: for one about identity with the patient values that differ.

    Raises:
        NotFound: for an unknown key.
    """
    with session_scope(gateway.database) as session:
        item = show(session, quarantine_key)
        detail = _compared(session, item)
        audit.append(session, actor=actor, action="quarantine.read", subject=quarantine_key)
        return detail


def _compared(session: Session, item: Quarantine) -> dict[str, Any]:
    if item.kind is QuarantineKind.PATIENT_MERGE:
        sides = ("surviving", "retired")
        return {side: _record(session, str(item.detail[side])) for side in sides if item.detail.get(side)}
    if item.kind not in IDENTITY_KINDS:
        return {}
    study = session.get(Study, item.study_key) if item.study_key else None
    if study is None:
        return {}
    told = ("patient_id", "issuer", "name", "birth_date", "sex")
    known = {k: v for k, v in study.identity.items() if k in told}
    return {"study": known, "instance": dict(item.detail.get("stated", {}))}


def _record(session: Session, patient_key: str) -> dict[str, Any]:
    family = [p.patient_key for p in family_of(session, patient_key)]
    return {
        "patient_key": patient_key,
        "identifiers": [[i.patient_id, i.issuer] for i in identifiers_in(session, [patient_key])],
        "studies": sum(_studies(session, key) for key in family),
    }


def _studies(session: Session, patient_key: str) -> int:
    counted = select(func.count()).select_from(Study).where(Study.patient_key == patient_key)
    return int(session.exec(counted).one())


def _rules(gateway: Gateway) -> IssuerRules:
    return IssuerRules.from_settings(gateway.settings.dicom, gateway.settings.identity)

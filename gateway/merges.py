"""A person's decisions about who is who, each with everything that follows from it in one transaction.

All of them may be repeated: what is so already changes nothing and leaves no link in the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from gateway import audit
from gateway.column_types import utc_now
from gateway.errors import NotAllowed
from gateway.identity import survivor_of
from gateway.identity_tables import Cause, PatientMerge, StudyAssignment
from gateway.ownership import lock_patients, owner_of
from gateway.rehoming import realign
from gateway.stages.refolding import refold
from gateway.tables import Study


@dataclass(frozen=True, slots=True)
class Change:
    """What a decision changed: whether anything, and which studies have another patient now."""

    changed: bool
    studies: tuple[str, ...] = ()


def merge(session: Session, surviving_key: str, retired_key: str, actor: str) -> Change:
    """Make the record `retired_key` part of `surviving_key`: both are the same person. The caller commits.

    Raises:
        NotFound: for an unknown key.
        NotAllowed: when both are the same record, when the retired one is part of a third, or when the surviving one
            is part of the retired.
    """
    if surviving_key == retired_key:
        raise NotAllowed("A record cannot be merged into itself.")
    _, retired = sorted(
        lock_patients(session, [surviving_key, retired_key]), key=lambda p: p.patient_key == retired_key
    )
    if retired.merged_into is not None:
        return _merged_before(session, surviving_key, retired_key)
    root = survivor_of(session, surviving_key)
    if root == retired_key:
        raise NotAllowed(f"{surviving_key} is part of {retired_key} already: unmerge it first to merge the other way.")
    lock_patients(session, [root])
    retired.merged_into = surviving_key
    session.add(retired)
    session.add(PatientMerge(surviving_key=surviving_key, retired_key=retired_key, made_by=actor[:64]))
    moved = realign(session, {root, retired_key}, Cause.MERGE)
    detail = {"retired": retired_key, "studies": moved}
    audit.append(session, actor=actor, action="patient.merge", subject=surviving_key, detail=detail)
    return Change(True, tuple(moved))


def _merged_before(session: Session, surviving_key: str, retired_key: str) -> Change:
    if survivor_of(session, retired_key) == survivor_of(session, surviving_key):
        return Change(False)
    raise NotAllowed(f"{retired_key} is part of another record: merge that one, or unmerge {retired_key} first.")


def unmerge(session: Session, retired_key: str, actor: str) -> Change:
    """Take a record out of the one it was merged into: they are two people after all. The caller commits.

    Studies that came in between go where their identifier, or a person's decision, says.

    Raises:
        NotFound: for an unknown key.
        NotAllowed: when the record was never merged.
    """
    (retired,) = lock_patients(session, [retired_key])
    merges = session.exec(
        select(PatientMerge).where(PatientMerge.retired_key == retired_key).order_by(col(PatientMerge.made_at).desc())
    ).all()
    if retired.merged_into is None:
        if merges:
            return Change(False)
        raise NotAllowed(f"{retired_key} is not merged into another record.")
    surviving_key, root = retired.merged_into, survivor_of(session, retired_key)
    lock_patients(session, [root])
    retired.merged_into = None
    session.add(retired)
    for row in merges:
        if row.unmade_at is None:
            row.unmade_at, row.unmade_by = utc_now(), actor[:64]
            session.add(row)
    moved = realign(session, {root, retired_key}, Cause.UNMERGE)
    detail = {"retired": retired_key, "studies": moved}
    audit.append(session, actor=actor, action="patient.unmerge", subject=surviving_key, detail=detail)
    return Change(True, tuple(moved))


def move_study(session: Session, study: Study, patient_key: str | None, actor: str) -> Change:
    """Give a study to another patient than its images say; None takes the decision back. The caller commits.

    What was sent out about the wrong patient is retracted.

    Raises:
        NotFound: for an unknown patient.
        NotAllowed: when the study has no patient yet: assign it in quarantine.
    """
    if study.patient_key is None:
        raise NotAllowed(f"Study {study.study_key} waits in quarantine for its patient: assign it there.")
    before = study.patient_key
    lock_patients(session, [before, *([patient_key] if patient_key else [])])
    session.refresh(study)
    if study.patient_key != before:
        raise NotAllowed(f"Study {study.study_key} changed its patient meanwhile: look again.")
    decided = session.get(StudyAssignment, study.study_key)
    if (decided.patient_key if decided else None) == patient_key:
        return Change(False)
    if decided is not None:
        session.delete(decided)
        session.flush()
    if patient_key is not None:
        session.add(StudyAssignment(study_key=study.study_key, patient_key=patient_key, made_by=actor[:64]))
        session.flush()
    owner = str(owner_of(session, study))
    lock_patients(session, [owner])
    moved = realign(session, {before}, Cause.MOVE)
    refold(session, owner, changed=None)
    detail = {"to": patient_key or "the patient its images state", "from": before}
    audit.append(session, actor=actor, action="study.move", subject=study.study_key, detail=detail)
    return Change(True, tuple(moved))

"""Tracking UIDs: minted once for each lesion of a person, kept through merges of records, never carried to another
person.

A lesion that came into a record by a merge keeps its UID and gets a number of its own there (`MergedLesion`), so that
two records with a "Lesion 1" each do not end up with two of that name.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, func, select

from gateway.identity_tables import Cause, MergedLesion
from gateway.rehoming import images_of, latest_analysis, rehomings
from gateway.tables import Lesion, Measurement, Study
from inference.encoding.identity import deterministic_uid
from inference.lesions import LesionMatch


def assign_tracking_uids(session: Session, study: Study, matches: Sequence[LesionMatch]) -> dict[int, str]:
    """Tracking UIDs by lesion index: that of the lesion it continues, else the one it had in a record that was merged
    into this one, else a new one, minted once and deterministically."""
    continued = {match.inherits for match in matches}
    kept = {index: uid for index, uid in _uids_before_merge(session, study).items() if uid not in continued}
    uids: dict[int, str] = {}
    for match in matches:
        uid = match.inherits or kept.get(match.index)
        uids[match.index] = _name(session, study, uid) if uid else _mint(session, study, match)
    for match in matches:
        _close(session, study, match.absorbed, uids[match.index])
    session.flush()
    return uids


def _uids_before_merge(session: Session, study: Study) -> dict[int, str]:
    """The UIDs that the lesions of the same masks had before the study came here by a merge, by lesion index."""
    history = rehomings(session, study.study_key, study.revision)
    if not history or history[-1].cause is not Cause.MERGE:
        return {}
    before = latest_analysis(session, study.study_key, before=history[-1].revision)
    now = latest_analysis(session, study.study_key)
    if before is None or now is None or images_of(before) != images_of(now):
        return {}
    rows = session.exec(
        select(Measurement).where(Measurement.study_key == study.study_key, Measurement.revision == before.revision)
    ).all()
    return {int(m.value["index"]): m.tracking_uid for m in rows if m.value is not None}


def _name(session: Session, study: Study, uid: str) -> str:
    """See that a lesion has a name in the record of the study's patient."""
    lesion = session.get_one(Lesion, uid)
    patient_key = str(study.patient_key)
    if lesion.patient_key != patient_key and session.get(MergedLesion, (patient_key, uid)) is None:
        number = _next_number(session, patient_key)
        session.add(
            MergedLesion(patient_key=patient_key, tracking_uid=uid, number=number, tracking_id=f"Lesion {number}")
        )
        session.flush()
    return uid


def _mint(session: Session, study: Study, match: LesionMatch) -> str:
    uid = deterministic_uid("lesion", study.study_instance_uid, str(study.revision), str(match.index))
    if session.get(Lesion, uid) is None:
        number = _next_number(session, str(study.patient_key))
        session.add(
            Lesion(
                tracking_uid=uid,
                patient_key=str(study.patient_key),
                number=number,
                tracking_id=f"Lesion {number}",
                first_study_key=study.study_key,
                parent_uid=match.parent,
            )
        )
        session.flush()
    return uid


def _next_number(session: Session, patient_key: str) -> int:
    own = session.exec(select(func.max(Lesion.number)).where(col(Lesion.patient_key) == patient_key)).one()
    merged = session.exec(
        select(func.max(MergedLesion.number)).where(col(MergedLesion.patient_key) == patient_key)
    ).one()
    return max(int(own or 0), int(merged or 0)) + 1


def _close(session: Session, study: Study, absorbed: Sequence[str], into: str) -> None:
    """Mark the lesions that grew into another one; those of a record that was merged in stay as they were there."""
    for uid in absorbed:
        lesion = session.get(Lesion, uid)
        if lesion is not None and lesion.patient_key == study.patient_key:
            lesion.closed_into = into
            session.add(lesion)

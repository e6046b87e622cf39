"""What the lesions of a record are called: their own, and those that came in by a merge."""

from __future__ import annotations

from sqlmodel import Session, select

from gateway.identity_tables import MergedLesion
from gateway.tables import Lesion


def names_of(session: Session, patient_key: str) -> dict[str, str]:
    """The names of all lesions of a record by tracking UID, in the order of their numbers there."""
    own = session.exec(select(Lesion).where(Lesion.patient_key == patient_key)).all()
    merged = session.exec(select(MergedLesion).where(MergedLesion.patient_key == patient_key)).all()
    lesions = [(row.number, row.tracking_uid, row.tracking_id) for row in own]
    lesions += [(row.number, row.tracking_uid, row.tracking_id) for row in merged]
    return {uid: name for _, uid, name in sorted(lesions)}

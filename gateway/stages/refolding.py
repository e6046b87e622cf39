"""Refold: what one study changes in the record of its patient is published again for the others.

A back-filled scan can be a new baseline or nadir; a stated tumour type changes the region that is followed, a
stated treatment where the baseline begins and what a forecast may know. The
digest of what the record says of each time point tells whose results changed.
"""

from __future__ import annotations

from sqlmodel import Session

from gateway.records import read_patient_record
from gateway.stages.progress import ORDER
from gateway.tables import Outbox, Study, StudyState
from gateway.values import fold_digest


def refold(session: Session, patient_key: str, changed: str | None) -> list[str]:
    """Fold the record of a patient; queue a new revision of every study whose results changed.

    `changed` is the study whose own job is under way and needs no other. Returns the keys of the studies that get a
    new revision.
    """
    patient = read_patient_record(session, patient_key)
    again = []
    for point, (row, study) in zip(patient.record.time_points, patient.rows, strict=True):
        digest = fold_digest(point, patient.stated.known_on(point.context.acquired))
        if row.detail.get("fold_digest") == digest:
            continue
        row.detail = {**row.detail, "fold_digest": digest}
        session.add(row)
        if study.study_key != changed and _was_encoded(study):
            queue_republication(session, study)
            again.append(study.study_key)
    return again


def queue_republication(session: Session, study: Study) -> None:
    """Give a study a new revision of its results from the same images and masks, and queue its job."""
    study.revision += 1
    study.state = StudyState.RECORDED
    session.add(study)
    session.add(
        Outbox(
            job=f"republish-{study.study_key}-{study.revision}",
            kind="republish",
            payload={"study_key": study.study_key, "revision": study.revision},
        )
    )


def _was_encoded(study: Study) -> bool:
    return study.state in ORDER and ORDER.index(study.state) >= ORDER.index(StudyState.FORECAST)

"""A study changes its patient: its place in the records, what was sent out about the wrong person, and the job that
makes its results again.

All in one transaction with the decision that caused it. What a record said of a study is never deleted: time points,
measurements and analyses stay under the patient they were made for and are current again when the study comes back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlmodel import Session, col, select

from gateway.completion import STUDY_JOB
from gateway.frames import Frame, frame_of_patient, root_of
from gateway.identity import stated_person, survivor_of
from gateway.identity_tables import Cause, Rehoming
from gateway.job_kinds import REHOME, RESTORE, RETRACT
from gateway.ownership import owner_of
from gateway.quarantine import put_study_aside
from gateway.stages.refolding import refold
from gateway.tables import Analysis, Delivery, DeliveryState, Outbox, QuarantineKind, Study, StudyState, TimePoint

_AT_REST = frozenset(
    {
        StudyState.RECEIVING,
        StudyState.QUARANTINED,
        StudyState.DISCARDED,
        StudyState.RETRACTED,
        StudyState.SUPERSEDED,
    }
)
"""States in which nothing is queued: the study waits for images or for a person, or is out of the record for good."""


def realign(session: Session, patient_keys: Collection[str], cause: Cause) -> list[str]:
    """Give every study of these patients to the patient it belongs to now; returns the keys of those that changed.

    The patients' rows are held by the caller (`gateway.ownership.lock_patients`).
    """
    session.flush()
    query = select(Study).where(col(Study.patient_key).in_(list(patient_keys))).order_by(col(Study.study_key))
    moved = []
    for study in session.exec(query.with_for_update().execution_options(populate_existing=True)).all():
        owner = owner_of(session, study)
        if owner is not None and owner != study.patient_key:
            rehome(session, study, owner, cause)
            moved.append(study.study_key)
        if cause is Cause.UNMERGE and _holds_two_people(session, study):
            reason = "Since records were unmerged the study holds images of two patient identities."
            put_study_aside(session, study, QuarantineKind.CONFLICTING_PATIENT, reason)
    session.flush()
    for patient_key in sorted(patient_keys):
        refold(session, patient_key, changed=None)
    return moved


def rehome(session: Session, study: Study, owner: str, cause: Cause) -> None:
    """Give a study to another patient. The records of both are folded anew by the caller."""
    before = str(study.patient_key)
    wrong = sent_about_others(session, study, owner) if cause.was_wrong else []
    study.revision += 1
    study.patient_key = owner
    session.add(
        Rehoming(
            study_key=study.study_key,
            from_key=before,
            to_key=owner,
            revision=study.revision,
            cause=cause,
            taken_back=[row.id for row in wrong if row.id is not None],
        )
    )
    at_rest = study.state in _AT_REST
    if cause.was_wrong or not at_rest:
        _stop_deliveries(session, study)
    if wrong:
        _queue(session, study, RETRACT)
        study.revision += 1  # the retraction has a revision of its own: it happens whatever becomes of the next one
    restored = _take_over_time_point(session, study, owner)
    if not at_rest:
        _queue_results(session, study, restored)
    session.add(study)


def _holds_two_people(session: Session, study: Study) -> bool:
    others = [stated_person(session, *pair) for pair in study.identity.get("also", [])]
    return any(person is not None and person != study.patient_key for person in others)


def _queue_results(session: Session, study: Study, restored: bool) -> None:
    if restored:
        study.state, study.reason = StudyState.RECORDED, ""
        _queue(session, study, RESTORE)
        return
    study.state, study.reason = StudyState.COMPLETE, ""
    images = analysed_images(session, study)
    _queue(session, study, REHOME if images is not None else STUDY_JOB)


def analysed_images(session: Session, study: Study) -> int | None:
    """The revision whose images the latest analysis is of; None where the study has later images, or no analysis."""
    latest = latest_analysis(session, study.study_key)
    if latest is None:
        return None
    images = images_of(latest)
    later = [f"{STUDY_JOB}-{study.study_key}-{revision}" for revision in range(images + 1, study.revision + 1)]
    waiting = session.exec(select(Outbox.id).where(col(Outbox.job).in_(later)).limit(1)).first() if later else None
    return None if waiting is not None else images


def latest_analysis(session: Session, study_key: str, before: int | None = None) -> Analysis | None:
    """The analysis of a study with the highest revision; below `before` where it is given."""
    query = select(Analysis).where(Analysis.study_key == study_key).order_by(col(Analysis.revision).desc()).limit(1)
    if before is not None:
        query = query.where(col(Analysis.revision) < before)
    return session.exec(query).first()


def images_of(analysis: Analysis) -> int:
    """The revision whose images were segmented for an analysis; a later one has its masks in another frame only."""
    return int(analysis.detail.get("images_of", analysis.revision))


def sent_about_others(session: Session, study: Study, owner: str) -> list[Delivery]:
    """What may have reached a destination about another person than `owner` and was not taken back yet.

    Every attempt counts, because one that ended without an answer can have been taken.
    """
    history = rehomings(session, study.study_key)
    settled = {row for h in history for row in h.taken_back}
    retracting = {h.revision for h in history if h.taken_back}
    query = select(Delivery).where(Delivery.study_key == study.study_key, col(Delivery.attempts) > 0)
    sent = session.exec(query.order_by(col(Delivery.revision), col(Delivery.id))).all()
    person = survivor_of(session, owner)
    owners = {row.revision: _patient_at(history, row.revision, str(study.patient_key)) for row in sent}
    wrong = {revision for revision, patient in owners.items() if survivor_of(session, patient) != person}
    return [row for row in sent if row.revision in wrong - retracting and row.id not in settled]


def about_the_same_person(session: Session, study: Study, rows: Sequence[Delivery]) -> list[Delivery]:
    """Of the deliveries of a study those that were made while it belonged to the person it belongs to now."""
    history = rehomings(session, study.study_key)
    person = survivor_of(session, str(study.patient_key))
    owners = {row.revision: _patient_at(history, row.revision, str(study.patient_key)) for row in rows}
    same = {revision for revision, owner in owners.items() if survivor_of(session, owner) == person}
    return [row for row in rows if row.revision in same]


def rehomings(session: Session, study_key: str, until: int | None = None) -> Sequence[Rehoming]:
    """How a study came from patient to patient, up to a revision where it is given, in order."""
    query = select(Rehoming).where(Rehoming.study_key == study_key).order_by(col(Rehoming.revision))
    return session.exec(query if until is None else query.where(col(Rehoming.revision) <= until)).all()


def _patient_at(history: Sequence[Rehoming], revision: int, now: str) -> str:
    """Whose a study was at a revision."""
    before = [h for h in history if h.revision <= revision]
    if before:
        return before[-1].to_key
    return history[0].from_key if history else now


def _stop_deliveries(session: Session, study: Study) -> None:
    waiting = select(Delivery).where(
        Delivery.study_key == study.study_key, col(Delivery.state).in_([DeliveryState.PENDING, DeliveryState.FAILED])
    )
    for row in session.exec(waiting.with_for_update()).all():
        row.state, row.next_try = DeliveryState.SUPERSEDED, None
        session.add(row)


def _take_over_time_point(session: Session, study: Study, owner: str) -> bool:
    """Take the study out of the record it was in; put it back into the owner's where it has a place there that was
    made of the present images. Tells whether it has."""
    images = analysed_images(session, study)
    rows = session.exec(
        select(TimePoint).where(TimePoint.study_key == study.study_key).order_by(col(TimePoint.revision))
    ).all()
    place = None
    for row in rows:
        row.current = False
        session.add(row)
        if row.patient_key == owner and images is not None and _is_of(session, row, images):
            place = row
    if place is None or not _fits(session, study, place):
        return False
    place.current = True
    return True


def _fits(session: Session, study: Study, place: TimePoint) -> bool:
    """Whether the lesions of a time point can be compared with those of the patient's other studies."""
    others = frame_of_patient(session, study)
    return others is None or root_of(session, others) == root_of(session, Frame(place.study_key, place.revision))


def _is_of(session: Session, row: TimePoint, images: int) -> bool:
    analysis = session.exec(
        select(Analysis).where(Analysis.study_key == row.study_key, Analysis.revision == row.revision)
    ).first()
    return analysis is not None and images_of(analysis) == images


def _queue(session: Session, study: Study, kind: str) -> None:
    session.add(
        Outbox(
            job=f"{kind}-{study.study_key}-{study.revision}",
            kind=kind,
            payload={"study_key": study.study_key, "revision": study.revision},
        )
    )

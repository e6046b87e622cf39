"""The relay hands the outbox to the engine, in order. A repeat changes nothing: job ids are deterministic."""

from __future__ import annotations

from sqlmodel import col, select

from gateway.column_types import utc_now
from gateway.completion import STUDY_JOB
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Job, JobQueue
from gateway.prior_studies import note_new_patient
from gateway.tables import Outbox, Study, StudyState

NO_PATIENT = "-"


def relay_outbox(gateway: Gateway, queue: JobQueue, limit: int = 50) -> int:
    """Submit what the outbox holds; returns how many jobs."""
    waiting = select(Outbox).where(col(Outbox.sent_at).is_(None)).order_by(col(Outbox.id)).limit(limit)
    with read_scope(gateway.database) as session:
        rows = session.exec(waiting).all()
        keys = [str(row.payload["study_key"]) for row in rows if "study_key" in row.payload]
        studies = session.exec(select(Study).where(col(Study.study_key).in_(keys))).all() if keys else []
    patients = {s.study_key: s.patient_key for s in studies}
    for row in rows:
        partition = patients.get(str(row.payload.get("study_key")))
        queue.submit(Job(row.job, row.kind, partition or NO_PATIENT, row.payload, order=row.id or 0))
    if rows:
        with session_scope(gateway.database) as session:
            for row in rows:
                _mark_sent(session.get(Outbox, row.id))
                study = session.get(Study, str(row.payload.get("study_key", "")))
                _mark_identified(study)
                if study is not None and row.kind == STUDY_JOB:
                    note_new_patient(session, study, gateway.settings)
    return len(rows)


def _mark_sent(row: Outbox | None) -> None:
    if row is not None:
        row.sent_at = utc_now()


def _mark_identified(study: Study | None) -> None:
    if study is not None and study.state is StudyState.COMPLETE:
        study.state = StudyState.IDENTIFIED

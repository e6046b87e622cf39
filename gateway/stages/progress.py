"""The state of a study revision as its steps move it on, and what ends the way early."""

from __future__ import annotations

import structlog
from sqlmodel import Session, select

from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments, JobHalted
from gateway.errors import NotFound, reason_of
from gateway.ownership import lock_patients
from gateway.quarantine import put_study_aside
from gateway.tables import QuarantineKind, Study, StudyState

ORDER = [
    StudyState.RECEIVING,
    StudyState.COMPLETE,
    StudyState.IDENTIFIED,
    StudyState.DEIDENTIFIED,
    StudyState.SEGMENTED,
    StudyState.MEASURED,
    StudyState.RECORDED,
    StudyState.FORECAST,
    StudyState.ENCODED,
    StudyState.DELIVERED,
    StudyState.COMMITTED,
    StudyState.PUBLISHED,
]
_log = structlog.get_logger()


def arguments_of(study_key: str, revision: int) -> Arguments:
    return {"study_key": study_key, "revision": revision}


def key_and_revision(arguments: Arguments) -> tuple[str, int]:
    return str(arguments["study_key"]), int(arguments["revision"])


def require_study(session: Session, study_key: str) -> Study:
    """The row of a study.

    Raises:
        NotFound: when there is none.
    """
    study = session.get(Study, study_key)
    if study is None:
        raise NotFound(f"study {study_key}")
    return study


def hold_revision(session: Session, study_key: str, revision: int) -> Study:
    """The row of a study for writing what one revision found: its patient and the study are held until the end of the
    transaction, so that neither a merge nor a later revision comes between.

    Raises:
        NotFound: when there is no such study.
        JobHalted: when a later revision has taken over, which a change of the patient makes too.
    """
    study = require_study(session, study_key)
    if study.patient_key is not None:
        lock_patients(session, [study.patient_key])
    query = select(Study).where(Study.study_key == study_key).with_for_update()
    held = session.exec(query.execution_options(populate_existing=True)).one()
    if held.revision != revision:
        raise JobHalted(f"revision {revision} of study {study_key} was taken over by revision {held.revision}")
    return held


def advance(gateway: Gateway, study_key: str, revision: int, state: StudyState) -> None:
    """Move a study on to `state`; never back, and not when a later revision has taken over."""
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
        reopened = study.due is not None  # late images have come: the study waits for its next revision
        if study.revision != revision or reopened or study.state not in ORDER:
            return
        if ORDER.index(state) > ORDER.index(study.state):
            study.state = state
            session.add(study)
    _log.info("study moved on", study_key=study_key, revision=revision, state=state.value)


def halt_if_superseded(gateway: Gateway, arguments: Arguments) -> None:
    """End the job of a revision that a later one has taken over: late images have reopened the study.

    Raises:
        JobHalted: when there is a later revision.
    """
    study_key, revision = key_and_revision(arguments)
    with read_scope(gateway.database) as session:
        latest = require_study(session, study_key).revision
    if latest != revision:
        raise JobHalted(f"revision {revision} of study {study_key} was taken over by revision {latest}")


def note_seconds(gateway: Gateway, arguments: Arguments, step: str, seconds: float) -> None:
    """Keep how long a step took beside the evidence of the study."""
    study_key, _ = key_and_revision(arguments)
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
        taken = dict(study.evidence.get("seconds", {}))
        study.evidence = {**study.evidence, "seconds": {**taken, step: round(seconds, 3)}}
        session.add(study)


def set_aside(
    gateway: Gateway, study_key: str, revision: int, kind: QuarantineKind, reason: str, remedy: str
) -> JobHalted:
    """Put a study into quarantine; raise what this returns to end its job."""
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
        put_study_aside(session, study, kind, reason, remedy)
    _log.warning("study set aside", study_key=study_key, revision=revision, kind=kind.value)
    return JobHalted(reason)


def fail(gateway: Gateway, arguments: Arguments, error: Exception) -> None:
    """Record that the job of a study failed for good; it waits for a replay. What a person has decided since stands."""
    study_key, revision = key_and_revision(arguments)
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
        if study.revision == revision and study.state in ORDER:
            study.state, study.reason = StudyState.FAILED, reason_of(error)[:500]
            session.add(study)
    _log.error("study failed", study_key=study_key, revision=revision, error=type(error).__name__)

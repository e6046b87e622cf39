"""What a person sees of priors and may do about them; plain JSON, our own keys, no patient ID."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from gateway import audit
from gateway.archive_tables import PriorSearch, PriorState, PriorStudy, SearchState
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.tables import Patient, Study


def list_searches(session: Session, limit: int = 200) -> list[dict[str, Any]]:
    """One line for each patient whose priors were searched for, the newest first."""
    rows = session.exec(select(PriorSearch).order_by(col(PriorSearch.created_at).desc()).limit(limit)).all()
    return [_line(row) for row in rows]


def show_search(session: Session, patient_key: str) -> dict[str, Any]:
    """The search for a patient's priors and each study that was fetched, the oldest first.

    Raises:
        NotFound: when none was made.
    """
    search = session.get(PriorSearch, patient_key)
    if search is None:
        raise NotFound(f"search for the priors of patient {patient_key}")
    priors = session.exec(
        select(PriorStudy, Study)
        .outerjoin(Study, col(Study.study_instance_uid) == col(PriorStudy.study_instance_uid))
        .where(PriorStudy.patient_key == patient_key)
        .order_by(col(PriorStudy.acquired), col(PriorStudy.study_instance_uid))
    ).all()
    owner = session.get_one(Study, search.study_key).patient_key  # after a merge another than that of the search
    return {**_line(search), "studies": [_study_line(prior, study, owner) for prior, study in priors]}


def ask_for_priors(gateway: Gateway, patient_key: str, actor: str) -> str:
    """Search for a patient's priors now, whether that was done before or not; what did not arrive is fetched again.

    Raises:
        NotFound: for an unknown patient, or one without any study here.
        NotAllowed: when no archive is configured for priors.
    """
    if not gateway.settings.priors.archive:
        raise NotAllowed("No archive is configured to fetch priors from (priors.archive).")
    with session_scope(gateway.database) as session:
        latest = session.exec(
            select(Study).where(Study.patient_key == patient_key).order_by(col(Study.acquired).desc()).limit(1)
        ).first()
        if session.get(Patient, patient_key) is None or latest is None:
            raise NotFound(f"studies of patient {patient_key}")
        search = session.get(PriorSearch, patient_key) or PriorSearch(
            patient_key=patient_key, study_key=latest.study_key
        )
        search.study_key, search.state, search.problem = latest.study_key, SearchState.DUE, ""
        search.attempts, search.next_try, search.created_at = 0, utc_now(), utc_now()
        session.add(search)
        for prior in session.exec(select(PriorStudy).where(PriorStudy.patient_key == patient_key)).all():
            if prior.state is PriorState.INCOMPLETE:
                prior.state, prior.attempts, prior.next_try = PriorState.WANTED, 0, utc_now()
                session.add(prior)
        audit.append(session, actor=actor, action="patient.ask-priors", subject=patient_key)
    return "The archive is asked for earlier studies of this patient."


def _line(search: PriorSearch) -> dict[str, Any]:
    return {
        "patient_key": search.patient_key,
        "study_key": search.study_key,
        "state": search.state.value,
        "counts": search.counts,
        "problem": search.problem,
        "since": search.created_at.isoformat(timespec="seconds"),
    }


def _study_line(prior: PriorStudy, study: Study | None, owner: str | None) -> dict[str, Any]:
    return {
        "study_instance_uid": prior.study_instance_uid,
        "study_key": study.study_key if study else None,
        "acquired": prior.acquired.isoformat(),
        "state": prior.state.value,
        "expected_images": sum(prior.series.values()),
        "arrived_images": prior.arrived,
        "attempts": prior.attempts,
        "problem": prior.problem,
        # its images may state another identifier than the archive does; then it is another record's
        "same_patient": None if study is None else study.patient_key == owner,
    }

"""What marks a study as fetched, and a patient as new here: the rules that keep priors from fetching priors."""

from __future__ import annotations

from sqlmodel import Session, col, select

from gateway.archive_tables import PriorSearch, PriorState, PriorStudy
from gateway.database import insert_or_ignore
from gateway.settings import Settings
from gateway.tables import Study


def note_new_patient(session: Session, study: Study, settings: Settings) -> bool:
    """Queue the search for priors when a study goes on its way whose patient is new here; True where it did.

    A fetched prior makes nobody new, nor does a second study, nor a patient who was searched for already.
    """
    if not settings.priors.archive or study.patient_key is None or _is_prior(session, study):
        return False
    others = select(Study.study_key).where(
        Study.patient_key == study.patient_key, Study.study_key != study.study_key, col(Study.revision) > 0
    )
    if study.revision != 1 or session.exec(others.limit(1)).first() is not None:
        return False
    return insert_or_ignore(session, PriorSearch(patient_key=study.patient_key, study_key=study.study_key))


def is_fetched_whole(session: Session, study: Study) -> bool:
    """Whether a study is a prior of which everything has arrived that the archive has: nothing more will come."""
    prior = session.get(PriorStudy, study.study_instance_uid)
    return prior is not None and prior.state is PriorState.ARRIVED


def _is_prior(session: Session, study: Study) -> bool:
    return session.get(PriorStudy, study.study_instance_uid) is not None

"""Priors: a patient who is new here gets the earlier MR studies of the brain that the archive holds, once.

The search is a row of its patient, written when the first study of the patient goes on its way. A fetched study has a
row too, so that it never makes anybody new, and is counted as it arrives by the same ways as every other study. Its
results are put into the record by the date of acquisition, like those of any study that comes late.
"""

from __future__ import annotations

import datetime as dt

import structlog
from sqlmodel import Session, col, func, select

from gateway.archive_query import ArchivedStudy, ArchiveSilent, archive_at
from gateway.archive_tables import PriorSearch, PriorState, PriorStudy, SearchState
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import insert_or_ignore, read_scope, session_scope
from gateway.delivery_progress import GIVE_UP_AFTER, wait_after
from gateway.identity import IssuerRules, PatientId, agree
from gateway.instance_facts import Identity
from gateway.prior_choice import Choice, Wish, choose
from gateway.prior_retrieval import Retrieved, retrieve
from gateway.settings import Peer, Settings
from gateway.tables import Instance, InstanceRole, Series, Study, StudyState

MOST_ATTEMPTS = 3
_CLAIM = dt.timedelta(minutes=10)
_PATTERN = frozenset("*?\\")
_log = structlog.get_logger(__name__)


def fetch_priors(gateway: Gateway) -> int:
    """Take the next step of everything that is due: search, fetch, count; returns how many steps were taken."""
    peer = gateway.settings.dicom.peer_named(gateway.settings.priors.archive)
    if not gateway.settings.priors.archive or peer is None:
        return 0
    return _search_next(gateway, peer) + _fetch_next(gateway, peer) + _count_arrived(gateway)


def _search_next(gateway: Gateway, peer: Peer) -> int:
    due = select(PriorSearch).where(PriorSearch.state == SearchState.DUE, col(PriorSearch.next_try) <= utc_now())
    with read_scope(gateway.database) as session:
        if session.exec(due).first() is None:
            return 0
    with session_scope(gateway.database) as session:
        search = session.exec(due.limit(1).with_for_update(skip_locked=True)).first()
        if search is None:
            return 0
        search.attempts, search.next_try = search.attempts + 1, utc_now() + _CLAIM
        session.add(search)
        study = session.get_one(Study, search.study_key)
        here = set(session.exec(select(Study.study_instance_uid).where(Study.patient_key == search.patient_key)).all())
    try:
        choice = _ask(gateway.settings, peer, study, here)
    except ArchiveSilent as silent:
        _note_silence(gateway, search, str(silent))
    else:
        _note_choice(gateway, search, choice)
    return 1


def _ask(settings: Settings, peer: Peer, study: Study, here: set[str]) -> Choice:
    patient_id = str(study.identity.get("patient_id", "")).strip()
    who = PatientId(*study.identity["normalised"])
    if not patient_id or _PATTERN & set(patient_id):
        raise ArchiveSilent("the patient ID holds characters that a query takes for a pattern")
    issuers = IssuerRules.from_settings(settings.dicom, settings.identity)

    def is_same_patient(found: ArchivedStudy) -> bool:
        stated = issuers.normalise(Identity(found.patient_id, found.issuer), peer.ae_title)
        return stated is not None and agree(stated, who)

    archive = archive_at(settings, peer)
    before = study.acquired or utc_now().date()
    return choose(archive, archive.studies(patient_id), Wish(settings.priors, before, here, is_same_patient))


def _note_silence(gateway: Gateway, search: PriorSearch, problem: str) -> None:
    with session_scope(gateway.database) as session:
        row = session.get_one(PriorSearch, search.patient_key)
        row.problem, row.next_try = problem[:500], utc_now() + wait_after(row.attempts)
        if utc_now() - row.created_at > GIVE_UP_AFTER:
            row.state, row.next_try = SearchState.FAILED, None
        session.add(row)
    _log.warning("priors not found out", patient_key=search.patient_key, problem=problem)


def _note_choice(gateway: Gateway, search: PriorSearch, choice: Choice) -> None:
    with session_scope(gateway.database) as session:
        row = session.get_one(PriorSearch, search.patient_key)
        for wanted in choice.wanted:
            prior = PriorStudy(
                study_instance_uid=wanted.study_instance_uid,
                patient_key=search.patient_key,
                acquired=wanted.acquired,
                series=wanted.series,
            )
            insert_or_ignore(session, prior)
        row.counts, row.problem, row.next_try = dict(sorted(choice.counts.items())), "", None
        row.state = SearchState.FETCHING  # done when nothing is left to fetch, which may be at once
        session.add(row)
    _log.info(
        "priors chosen", patient_key=search.patient_key, **{k.replace(" ", "_"): v for k, v in row.counts.items()}
    )


def _fetch_next(gateway: Gateway, peer: Peer) -> int:
    due = (
        select(PriorStudy)
        .where(PriorStudy.state == PriorState.WANTED, col(PriorStudy.next_try) <= utc_now())
        .order_by(col(PriorStudy.acquired))  # the oldest first: each next one is folded on top
    )
    with read_scope(gateway.database) as session:
        if session.exec(due).first() is None:
            return 0
    with session_scope(gateway.database) as session:
        prior = session.exec(due.limit(1).with_for_update(skip_locked=True)).first()
        if prior is None:
            return 0
        # asked for before it is asked: a worker that is killed here leaves one that is asked for again
        prior.attempts += 1
        prior.next_try = utc_now() + max(_CLAIM, dt.timedelta(seconds=gateway.settings.priors.wait_s))
        session.add(prior)
    retrieved = retrieve(gateway, peer, prior.study_instance_uid, sorted(prior.series))
    _note_retrieved(gateway, prior, retrieved)
    return 1


def _note_retrieved(gateway: Gateway, prior: PriorStudy, retrieved: Retrieved) -> None:
    now = utc_now()
    with session_scope(gateway.database) as session:
        row = session.get_one(PriorStudy, prior.study_instance_uid)
        row.problem = retrieved.problem[:500]
        if retrieved.completed:
            row.state = PriorState.ASKED
            row.next_try = now + dt.timedelta(seconds=gateway.settings.priors.wait_s)
        elif row.attempts < MOST_ATTEMPTS:
            row.next_try = now + wait_after(row.attempts)
        else:
            row.state, row.next_try = PriorState.INCOMPLETE, None
        session.add(row)
    _log.info(
        "prior asked for",
        patient_key=prior.patient_key,
        sent=retrieved.completed,
        failed=retrieved.failed,
        problem=retrieved.problem,
    )


def _count_arrived(gateway: Gateway) -> int:
    """Compare what has arrived of each study that was asked for; close the searches that nothing is left of."""
    open_searches = select(PriorSearch).where(PriorSearch.state == SearchState.FETCHING)
    with read_scope(gateway.database) as session:
        if session.exec(open_searches).first() is None:
            return 0
    steps = 0
    with session_scope(gateway.database) as session:
        asked = select(PriorStudy).where(PriorStudy.state == PriorState.ASKED).with_for_update(skip_locked=True)
        for prior in session.exec(asked).all():
            steps += _settle(session, gateway.settings, prior, utc_now())
        session.flush()
        for search in session.exec(open_searches.with_for_update(skip_locked=True)).all():
            steps += _close(session, search)
    return steps


def _settle(session: Session, settings: Settings, prior: PriorStudy, now: dt.datetime) -> bool:
    arrived = _arrived(session, prior.study_instance_uid)
    prior.arrived = sum(arrived.values())
    missing = sum(max(0, count - arrived.get(uid, 0)) for uid, count in prior.series.items())
    session.add(prior)
    if missing == 0:
        prior.state, prior.next_try, prior.problem = PriorState.ARRIVED, None, ""
        _decide_anew(session, settings, prior, now)
        return True
    if prior.next_try is not None and prior.next_try > now:
        return False
    prior.problem = prior.problem or f"{missing} images did not arrive"
    if prior.attempts < MOST_ATTEMPTS:
        prior.state, prior.next_try = PriorState.WANTED, now
    else:
        prior.state, prior.next_try = PriorState.INCOMPLETE, None
    return True


def _decide_anew(session: Session, settings: Settings, prior: PriorStudy, now: dt.datetime) -> None:
    """The study may be waiting for what it lacks until its force time: now it is known that nothing more will come."""
    query = select(Study).where(Study.study_instance_uid == prior.study_instance_uid).with_for_update()
    study = session.exec(query).one_or_none()
    if study is None or study.due is None or study.last_arrival is None or study.state is not StudyState.RECEIVING:
        return
    quiet = dt.timedelta(seconds=settings.study.of_source(study.source_ae).quiet_s)
    study.due = min(study.due, max(now, study.last_arrival + quiet))
    session.add(study)


def _close(session: Session, search: PriorSearch) -> bool:
    priors = session.exec(select(PriorStudy).where(PriorStudy.patient_key == search.patient_key)).all()
    states = [p.state for p in priors]
    if PriorState.WANTED in states or PriorState.ASKED in states:
        return False
    search.state = SearchState.DONE
    arrived = states.count(PriorState.ARRIVED)
    search.counts = {**search.counts, "arrived": arrived, "incomplete": len(states) - arrived}
    session.add(search)
    _log.info("priors fetched", patient_key=search.patient_key, arrived=arrived, incomplete=len(states) - arrived)
    return True


def _arrived(session: Session, study_instance_uid: str) -> dict[str, int]:
    counted = (
        select(Series.series_instance_uid, func.count())
        .join(Study, col(Study.study_key) == col(Series.study_key))
        .join(Instance, col(Instance.series_id) == col(Series.id))
        .where(Study.study_instance_uid == study_instance_uid, Instance.role == InstanceRole.IMAGE)
        .group_by(Series.series_instance_uid)
    )
    return {uid: int(count) for uid, count in session.exec(counted).all()}

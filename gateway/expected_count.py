"""How many images a study should have: the sender's archive is asked when the quiet time of the study has passed.

Asked outside any transaction, by whichever worker claims the question; the answer is a row that the decision about
the study reads. More images make the answer stale, and it is asked for again; so it is while images are missing. An
archive that stays silent holds a study up for `study.count_wait_s` and never beyond its force time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlmodel import Session, and_, col, func, or_, select

from gateway.archive_query import Archive, ArchivedSeries, ArchiveSilent, archive_at, archive_behind
from gateway.archive_tables import ArchiveCount
from gateway.column_types import utc_now
from gateway.completeness import LOOK_AGAIN, ArchiveSays
from gateway.context import Gateway
from gateway.database import insert_or_ignore, read_scope, session_scope
from gateway.settings import Peer, Settings
from gateway.sop_classes import ACCEPTED
from gateway.tables import Instance, InstanceRole, Series, Study, StudyState

ASK_AGAIN = dt.timedelta(seconds=30)
UNKNOWN_THERE = "the archive does not know this study"
_IMAGES = frozenset(uid for uid, role in ACCEPTED.items() if role is InstanceRole.IMAGE)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Question:
    study_key: str
    study_instance_uid: str
    peer: Peer
    received: Mapping[str, int]
    asked_at: dt.datetime


def ask_archives(gateway: Gateway, limit: int = 20) -> int:
    """Ask about each study whose quiet time is over and whose count is not known; returns how many were asked about."""
    questions = _claim(gateway, limit)
    for question in questions:
        try:
            archive = archive_at(gateway.settings, question.peer)
            counts = count_images(archive, question.study_instance_uid, question.received)
            problem = "" if counts is not None else UNKNOWN_THERE
        except ArchiveSilent as silent:
            counts, problem = None, str(silent)
        _note(gateway, question, counts, problem)
    return len(questions)


def count_images(archive: Archive, study_instance_uid: str, received: Mapping[str, int]) -> dict[str, int] | None:
    """MR images in an archive by Series Instance UID; None where it does not know the study.

    Raises:
        ArchiveSilent: where the archive gives no proper answer.
    """
    found = archive.series(study_instance_uid)
    return images_in(archive, study_instance_uid, found, received) if found else None


def images_in(
    archive: Archive, study_instance_uid: str, found: Sequence[ArchivedSeries], received: Mapping[str, int]
) -> dict[str, int]:
    """MR images in those series that an archive has described, by Series Instance UID.

    A series count may hold objects that are no images (spectra, raw data, presentation states). So where it is larger
    than what was received, the instances themselves are asked for and counted by SOP class.

    Raises:
        ArchiveSilent: where the archive gives no proper answer.
    """
    counts = {}
    for series in found:
        if series.modality != "MR":
            continue
        uid, stated = series.series_instance_uid, series.instances
        if stated is None or stated > received.get(uid, 0):
            classes = archive.sop_classes(study_instance_uid, uid)
            if classes or stated is None:
                stated = sum(1 for sop_class in classes if not sop_class or sop_class in _IMAGES)
        counts[uid] = stated
    return counts


def archive_says(session: Session, study: Study, settings: Settings, now: dt.datetime) -> ArchiveSays | None:
    """What the decision about a study has to know of its sender's archive; None where it is not to be asked."""
    peer = archive_behind(settings, study.source_ae)
    if peer is None:
        return None
    wait = dt.timedelta(seconds=settings.study.of_source(study.source_ae).count_wait_s)
    row = session.get(ArchiveCount, study.study_key)
    if row is None or _is_stale(row, study):
        return ArchiveSays(_name(peer), None, now + wait, "it has not been asked yet")
    if row.series is None:
        return ArchiveSays(row.archive, None, row.first_asked_at + wait, row.problem)
    received = _received(session, study.study_key)
    missing = sum(max(0, count - received.get(uid, 0)) for uid, count in row.series.items())
    return ArchiveSays(row.archive, sum(received.values()) + missing, asked_at=row.asked_at)


def _claim(gateway: Gateway, limit: int) -> list[_Question]:
    settings, now = gateway.settings, utc_now()
    senders = [p.ae_title.strip() for p in settings.dicom.peers if p.query]
    if not senders:
        return []
    quiet = dt.timedelta(seconds=settings.study.longest_quiet_s)
    unknown = or_(col(ArchiveCount.study_key).is_(None), col(ArchiveCount.asked_at) < col(Study.last_arrival))
    again = and_(col(Study.due).is_not(None), col(ArchiveCount.ask_at) <= now)
    due = (
        select(Study)
        .outerjoin(ArchiveCount, col(ArchiveCount.study_key) == col(Study.study_key))
        .where(
            Study.state == StudyState.RECEIVING,
            col(Study.source_ae).in_(senders),
            col(Study.on_hold).is_(False),
            or_(and_(unknown, col(Study.due) <= now + LOOK_AGAIN), and_(again, col(Study.last_arrival) <= now - quiet)),
        )
        .order_by(col(Study.last_arrival))
        .limit(limit)
    )
    with read_scope(gateway.database) as session:
        if session.exec(due).first() is None:
            return []
    questions = []
    with session_scope(gateway.database) as session:
        for study in session.exec(due.with_for_update(skip_locked=True, of=Study)).all():
            peer = archive_behind(settings, study.source_ae)
            if peer is not None:
                _begin(session, study, peer, now)
                received = _received(session, study.study_key)
                questions.append(_Question(study.study_key, study.study_instance_uid, peer, received, now))
    return questions


def _begin(session: Session, study: Study, peer: Peer, now: dt.datetime) -> None:
    insert_or_ignore(session, ArchiveCount(study_key=study.study_key, archive=_name(peer), first_asked_at=now))
    row = session.get_one(ArchiveCount, study.study_key)
    if _is_stale(row, study):
        row.series, row.first_asked_at = None, now
    if row.series is None:
        row.problem = "it has not answered yet"
    # a worker that is killed while it asks leaves a question that is due again
    row.archive, row.asked_at, row.ask_at = _name(peer), now, now + ASK_AGAIN
    session.add(row)


def _note(gateway: Gateway, question: _Question, counts: dict[str, int] | None, problem: str) -> None:
    with session_scope(gateway.database) as session:
        row = session.get_one(ArchiveCount, question.study_key)
        if row.asked_at != question.asked_at:
            return  # another worker has asked since
        missing = counts is None or any(n > question.received.get(uid, 0) for uid, n in counts.items())
        row.series, row.problem = counts, problem
        row.ask_at = utc_now() + ASK_AGAIN if missing else None
        session.add(row)
        study = session.exec(select(Study).where(Study.study_key == question.study_key).with_for_update()).one()
        if study.due is not None and study.state is StudyState.RECEIVING and not _is_stale(row, study):
            study.due = min(study.due, utc_now())  # decide anew
            session.add(study)
    _log.info(
        "archive asked",
        study_key=question.study_key,
        archive=_name(question.peer),
        images=sum(counts.values()) if counts else None,
        problem=problem,
    )


def _is_stale(row: ArchiveCount, study: Study) -> bool:
    return study.last_arrival is not None and row.asked_at < study.last_arrival


def _received(session: Session, study_key: str) -> dict[str, int]:
    counted = (
        select(Series.series_instance_uid, func.count())
        .join(Instance, col(Instance.series_id) == col(Series.id))
        .where(Series.study_key == study_key, Instance.role == InstanceRole.IMAGE)
        .group_by(Series.series_instance_uid)
    )
    return {uid: int(count) for uid, count in session.exec(counted).all()}


def _name(peer: Peer) -> str:
    return peer.name or peer.ae_title

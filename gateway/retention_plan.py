"""What retention would delete: which data are over their time and needed by nothing any more.

Only published studies are looked at: every delivery done (committed where a destination asks for that), nothing
waiting for a person, no timer running. What later work needs stays for ever: headers of images (results are published
again when the record changes), masks of the record and the analyses that others are registered to, the objects of the
present revision, reports and Bundles of all of them (a retraction names what was sent).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, func, select

from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import read_scope
from gateway.delivery_progress import is_done
from gateway.frames import Frame, analysis_folder
from gateway.object_names import SEG
from gateway.quarantine import list_open
from gateway.retention_tables import ReleasedImage
from gateway.settings import Settings
from gateway.tables import Analysis, CronSlot, Delivery, DeliveryState, Instance, Outbox, Study, StudyState, TimePoint

SCHEDULED = ("export", "housekeeping")
"""Kinds of jobs whose notes are of no use once they are done; those of studies tell what was done with which images."""
SCHEDULER_LOOKS_BACK = dt.timedelta(days=9)
PIXELS_REMOVED = "pixels_removed"


class DataClass(StrEnum):
    """What is kept for a time of its own."""

    ORIGINALS = "originals"
    WORKING = "working"
    RESULTS = "results"
    LOGS = "logs"


@dataclass(frozen=True)
class Removal:
    """Something whose time is over: of which class and study, how many objects and bytes, and why it may go. `where`
    names revisions for people."""

    data_class: DataClass
    study_key: str
    objects: int
    size_bytes: int
    why: str
    where: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(gateway: Gateway, now: dt.datetime | None = None) -> list[Removal]:
    """What would be deleted, and why. Changes nothing."""
    moment, settings = now or utc_now(), gateway.settings
    removals: list[Removal] = []
    with read_scope(gateway.database) as session:
        frames = frames_in_use(session)
        for study in session.exec(published_studies()).all():
            last = finished_since(session, study, settings)
            if last is not None:
                removals += _of_study(gateway, session, study, moment - last, frames)
        removals += _notes(session, settings, moment)
    return removals


def days_of(settings: Settings) -> Mapping[DataClass, int | None]:
    """Days that each class is kept; None is for ever."""
    kept = settings.retention
    return {
        DataClass.ORIGINALS: kept.originals_days,
        DataClass.WORKING: kept.working_days,
        DataClass.RESULTS: kept.results_days,
        DataClass.LOGS: kept.logs_days,
    }


def published_studies() -> Any:
    """Query for studies that nothing is left to do for."""
    return (
        select(Study)
        .where(Study.state == StudyState.PUBLISHED, col(Study.due).is_(None), col(Study.on_hold).is_(False))
        .order_by(col(Study.study_key))
    )


def finished_since(session: Session, study: Study, settings: Settings) -> dt.datetime | None:
    """The last thing that happened to a study; None while anything is left to do, or nothing was ever delivered."""
    rows = session.exec(select(Delivery).where(Delivery.study_key == study.study_key)).all()
    open_rows = [r for r in rows if not (is_done(r, settings) or r.state is DeliveryState.SUPERSEDED)]
    delivered = any(is_done(r, settings) for r in rows if r.revision == study.revision)
    if not delivered or open_rows or list_open(session, study.study_key):
        return None
    newest = select(Instance.received_at).where(Instance.study_key == study.study_key)
    received = session.exec(newest.order_by(col(Instance.received_at).desc()).limit(1)).all()
    return max(study.updated_at, *(r.updated_at for r in rows), *received)


def is_due(settings: Settings, data_class: DataClass, age: dt.timedelta) -> bool:
    """Whether a class is over its time at this age."""
    days = days_of(settings)[data_class]
    return days is not None and age >= dt.timedelta(days=days)


def _of_study(gateway: Gateway, session: Session, study: Study, age: dt.timedelta, frames: Set[Frame]) -> list[Removal]:
    settings, found = gateway.settings, []
    why = f"published, delivered and untouched for {age.days} days"
    if is_due(settings, DataClass.ORIGINALS, age):
        images = held_images(session, study.study_key)
        if images:
            size = sum(i.size_bytes for i in images)
            found.append(Removal(DataClass.ORIGINALS, study.study_key, len(images), size, f"{why}; the headers stay"))
    if is_due(settings, DataClass.WORKING, age):
        folders = working_folders(gateway, session, study, frames)
        if folders:
            size = sum(f.stat().st_size for folder in folders for f in folder.rglob("*") if f.is_file())
            names = ", ".join(f"{f.parent.name}/{f.name}" for f in folders)
            found.append(Removal(DataClass.WORKING, study.study_key, len(folders), size, why, names))
    if is_due(settings, DataClass.RESULTS, age):
        rows = old_segmentations(session, study)
        if rows:
            blobs = {str(r.blob) for r in rows}
            size = sum(gateway.results.path(b).stat().st_size for b in blobs if gateway.results.exists(b))
            where = f"revisions up to {max(r.revision for r in rows)}"
            reason = f"{why}; a later revision took their place, the headers stay"
            found.append(Removal(DataClass.RESULTS, study.study_key, len(blobs), size, reason, where))
    return found


def held_images(session: Session, study_key: str) -> list[Instance]:
    """Images of a study whose bytes are held."""
    query = (
        select(Instance)
        .outerjoin(ReleasedImage, col(ReleasedImage.instance_id) == col(Instance.id))
        .where(Instance.study_key == study_key, col(ReleasedImage.instance_id).is_(None))
        .order_by(col(Instance.id))
    )
    return list(session.exec(query).all())


def working_folders(gateway: Gateway, session: Session, study: Study, frames: Set[Frame]) -> list[Path]:
    """De-identified images of all revisions, and analyses that no later time point, merge or retraction looks at."""
    images = sorted((gateway.research_folder / "studies").glob(f"{study.study_key}-r*"))
    kept = _analyses_in_use(session, study.study_key, frames)
    rows = session.exec(select(Analysis.revision).where(Analysis.study_key == study.study_key)).all()
    old = [analysis_folder(gateway, study.study_key, r) for r in sorted(rows) if r not in kept]
    return [f for f in (*images, *old) if f.is_dir() and ".partial-" not in f.name]


def frames_in_use(session: Session) -> set[Frame]:
    """Analyses that others are registered to."""
    stated = (detail.get("frame") for detail in session.exec(select(Analysis.detail)).all())
    return {Frame(str(frame[0]), int(frame[1])) for frame in stated if frame}


def _analyses_in_use(session: Session, study_key: str, frames: Set[Frame]) -> set[int]:
    """Revisions of a study whose masks are needed: in the record, first or last of the study (what others are or will
    be registered to), or named by another analysis as its frame."""
    rows = session.exec(select(Analysis.revision).where(Analysis.study_key == study_key)).all()
    current = session.exec(
        select(TimePoint.revision).where(TimePoint.study_key == study_key, col(TimePoint.current).is_(True))
    ).all()
    named = {frame.revision for frame in frames if frame.study_key == study_key}
    return {*current, *named, *([min(rows), max(rows)] if rows else [])}


def old_segmentations(session: Session, study: Study) -> list[Delivery]:
    """Segmentation objects of earlier revisions that still hold their pixels."""
    rows = session.exec(
        select(Delivery).where(
            Delivery.study_key == study.study_key,
            Delivery.revision < study.revision,
            Delivery.object_name == SEG,
            col(Delivery.blob).is_not(None),
        )
    ).all()
    return [row for row in rows if not row.detail.get(PIXELS_REMOVED)]


def _notes(session: Session, settings: Settings, now: dt.datetime) -> list[Removal]:
    if settings.retention.logs_days is None:
        return []
    count = sum(session.exec(select(func.count()).where(*which)).one() for which in old_notes(settings, now))
    why = f"notes on scheduled jobs, done {settings.retention.logs_days} days ago or earlier"
    return [Removal(DataClass.LOGS, "", count, 0, why)] if count else []


def old_notes(settings: Settings, now: dt.datetime) -> list[list[Any]]:
    """Conditions for rows of the outbox and of the clock that are over their time."""
    before = now - max(dt.timedelta(days=settings.retention.logs_days or 0), SCHEDULER_LOOKS_BACK)
    return [[col(Outbox.kind).in_(SCHEDULED), col(Outbox.sent_at) < before], [col(CronSlot.slot) < before]]

"""Retention: what has been kept long enough and is needed no more (`gateway.retention_plan`) is deleted, by class.

Every removal first writes what stays and the rows that say so, then deletes; a kill in between leaves files that no
row refers to, which the next run or `gateway.orphans` finds.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Mapping
from types import MappingProxyType

import structlog
from sqlmodel import Session, col, delete, select

from gateway import audit
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import insert_or_ignore, read_scope, session_scope
from gateway.errors import BlobDamaged, BlobMissing, Unreadable
from gateway.header_copies import without_pixels
from gateway.retention_plan import (
    PIXELS_REMOVED,
    DataClass,
    Removal,
    finished_since,
    frames_in_use,
    held_images,
    is_due,
    old_notes,
    old_segmentations,
    plan,
    published_studies,
    working_folders,
)
from gateway.retention_tables import ReleasedImage
from gateway.stored_references import received_in_use, results_in_use
from gateway.tables import CronSlot, Instance, Outbox, Study

_log = structlog.get_logger(__name__)


def apply(gateway: Gateway, actor: str = "system", now: dt.datetime | None = None) -> list[Removal]:
    """Delete what is due; every study is looked at anew, under its lock, before anything of it goes."""
    moment = now or utc_now()
    _finish_interrupted(gateway)
    done = []
    for removal in plan(gateway, moment):
        if _removed(gateway, removal, moment):
            done.append(removal)
            with session_scope(gateway.database) as session:
                detail = {"class": removal.data_class.value, "objects": removal.objects, "bytes": removal.size_bytes}
                audit.append(session, actor=actor, action="retention.delete", subject=removal.study_key, detail=detail)
    _log.info("retention", removals=len(done), freed_bytes=sum(r.size_bytes for r in done))
    return done


def _removed(gateway: Gateway, removal: Removal, now: dt.datetime) -> bool:
    """Carry out a removal; one that finds a damaged or missing file leaves its study as it is."""
    try:
        return _REMOVERS[removal.data_class](gateway, removal, now)
    except (BlobMissing, BlobDamaged, Unreadable) as problem:
        _log.warning(
            "nothing was deleted",
            study_key=removal.study_key,
            kind=removal.data_class.value,
            error=type(problem).__name__,
        )
        return False


def _still_due(gateway: Gateway, session: Session, removal: Removal, now: dt.datetime) -> Study | None:
    """The study under its lock, where the removal is due as it was when it was planned."""
    query = published_studies().where(Study.study_key == removal.study_key).with_for_update(skip_locked=True)
    study: Study | None = session.exec(query).one_or_none()
    last = finished_since(session, study, gateway.settings) if study else None
    if study is None or last is None or not is_due(gateway.settings, removal.data_class, now - last):
        return None
    return study


def _remove_originals(gateway: Gateway, removal: Removal, now: dt.datetime) -> bool:
    with read_scope(gateway.database) as session:
        images = held_images(session, removal.study_key)
    headers = [gateway.results.put(without_pixels(gateway.received.read(image.blob))) for image in images]
    with session_scope(gateway.database) as session:
        if _still_due(gateway, session, removal, now) is None:
            return False
        for image, header in zip(images, headers, strict=True):
            insert_or_ignore(session, ReleasedImage(instance_id=image.id or 0, header_blob=header))
    _delete_received(gateway, [i.blob for i in images])
    return True


def _delete_received(gateway: Gateway, blobs: list[str]) -> None:
    for blob in blobs:
        with session_scope(gateway.database) as session:  # an image that comes in again now waits for this
            if blob not in received_in_use(session, [blob]):
                gateway.received.delete(blob)


def _remove_working(gateway: Gateway, removal: Removal, now: dt.datetime) -> bool:
    with session_scope(gateway.database) as session:
        study = _still_due(gateway, session, removal, now)
        if study is None:
            return False
        folders = working_folders(gateway, session, study, frames_in_use(session))
        # A folder disappears by its name at once; what a kill leaves of it is swept like any partial folder.
        doomed = [f.rename(f.with_name(f"{f.name}.partial-removed")) for f in folders]
    for folder in doomed:
        shutil.rmtree(folder)
    return True


def _remove_results(gateway: Gateway, removal: Removal, now: dt.datetime) -> bool:
    with session_scope(gateway.database) as session:
        study = _still_due(gateway, session, removal, now)
        if study is None:
            return False
        replaced = []
        for row in old_segmentations(session, study):
            blob = str(row.blob)
            row.blob = gateway.results.put(without_pixels(gateway.results.read(blob)))
            row.detail = {**row.detail, PIXELS_REMOVED: True}
            session.add(row)
            replaced.append(blob)
    for blob in replaced:
        with session_scope(gateway.database) as session:
            if blob not in results_in_use(session, [blob]):
                gateway.results.delete(blob)
    return True


def _remove_notes(gateway: Gateway, removal: Removal, now: dt.datetime) -> bool:
    del removal
    outbox, slots = old_notes(gateway.settings, now)
    with session_scope(gateway.database) as session:
        session.exec(delete(Outbox).where(*outbox))
        session.exec(delete(CronSlot).where(*slots))
    return True


def _finish_interrupted(gateway: Gateway) -> None:
    """Delete images that rows call released and that are still there: a run before this one was killed."""
    with read_scope(gateway.database) as session:
        released = session.exec(
            select(Instance.blob).join(ReleasedImage, col(ReleasedImage.instance_id) == col(Instance.id))
        ).all()
    _delete_received(gateway, [blob for blob in released if gateway.received.exists(blob)])
    for folder in gateway.research_folder.glob("*/*.partial-removed"):
        shutil.rmtree(folder)


_REMOVERS: Mapping[DataClass, Callable[[Gateway, Removal, dt.datetime], bool]] = MappingProxyType(
    {
        DataClass.ORIGINALS: _remove_originals,
        DataClass.WORKING: _remove_working,
        DataClass.RESULTS: _remove_results,
        DataClass.LOGS: _remove_notes,
    }
)

"""Orphans: files that no row knows, and rows whose file is gone. Found and reported; deleted only on request, only
files, and only those older than the grace time - a younger one may belong to a row that is just being written."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from gateway import audit
from gateway.blobs import BlobStore
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.retention_tables import ReleasedImage
from gateway.stored_references import received_in_use, results_in_use
from gateway.tables import Delivery, Instance, Quarantine, Study

InUse = Callable[[Session, Sequence[str]], set[str]]
_STUDY_FOLDER = re.compile(r"(?P<study>[a-z0-9]+)-r\d+")


@dataclass(frozen=True)
class StrayFile:
    """A file or folder that no row knows; `name` is its hash, or the folder under the research zone."""

    area: str
    name: str
    size_bytes: int
    age_hours: float


@dataclass(frozen=True)
class LostFile:
    """A row whose file is gone: `needed_for` says what the row is."""

    area: str
    name: str
    needed_for: str
    study_key: str | None


@dataclass(frozen=True)
class Orphans:
    """What a look at stores and index found."""

    stray: tuple[StrayFile, ...]
    lost: tuple[LostFile, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "files_without_rows": [asdict(s) for s in self.stray],
            "rows_without_files": [asdict(f) for f in self.lost],
        }


def find_orphans(gateway: Gateway) -> Orphans:
    """Compare stores and index, in both directions. Changes nothing."""
    with read_scope(gateway.database) as session:
        stray = [
            *_stray_blobs(session, "received", gateway.received, received_in_use),
            *_stray_blobs(session, "results", gateway.results, results_in_use),
            *_stray_folders(session, gateway.research_folder),
        ]
        lost = [*_lost_images(session, gateway.received), *_lost_results(session, gateway.results)]
    return Orphans(tuple(stray), tuple(lost))


def delete_strays(gateway: Gateway, found: Orphans, grace_hours: float, actor: str) -> list[StrayFile]:
    """Delete what no row knows and is older than the grace time; each is looked up again before it goes."""
    deleted = [s for s in found.stray if s.age_hours >= grace_hours and _delete(gateway, s)]
    if deleted:
        with session_scope(gateway.database) as session:
            detail = {"files": len(deleted), "bytes": sum(s.size_bytes for s in deleted)}
            audit.append(session, actor=actor, action="orphans.delete", subject="", detail=detail)
    return deleted


def _delete(gateway: Gateway, stray: StrayFile) -> bool:
    with session_scope(gateway.database) as session:
        if stray.area == "research":
            folder = gateway.research_folder / stray.name
            if _is_known(session, folder):
                return False
            shutil.rmtree(folder)
            return True
        store, in_use = (
            (gateway.received, received_in_use) if stray.area == "received" else (gateway.results, results_in_use)
        )
        if stray.name in in_use(session, [stray.name]):
            return False
        store.delete(stray.name)
        return True


def _stray_blobs(session: Session, area: str, store: BlobStore, in_use: InUse) -> Iterator[StrayFile]:
    for key in store.orphans(lambda batch: in_use(session, batch)):
        found = _described(area, key, store.path(key))
        if found is not None:
            yield found


def _stray_folders(session: Session, research: Path) -> Iterator[StrayFile]:
    for folder in sorted((*research.glob("studies/*"), *research.glob("analyses/*"))):
        if ".partial-" not in folder.name and not _is_known(session, folder):
            found = _described("research", f"{folder.parent.name}/{folder.name}", folder)
            if found is not None:
                yield found


def _is_known(session: Session, folder: Path) -> bool:
    named = _STUDY_FOLDER.fullmatch(folder.name)
    return named is not None and session.get(Study, named["study"]) is not None


def _described(area: str, name: str, path: Path) -> StrayFile | None:
    try:
        files = [f.stat() for f in path.rglob("*") if f.is_file()] if path.is_dir() else []
        own = path.stat()
    except FileNotFoundError:  # gone while we looked
        return None
    newest = max((s.st_mtime for s in files), default=own.st_mtime)
    size = sum(s.st_size for s in files) if path.is_dir() else own.st_size
    return StrayFile(area, name, size, round(max(time.time() - newest, 0.0) / 3600, 2))


def _lost_images(session: Session, store: BlobStore) -> Iterator[LostFile]:
    images = session.exec(
        select(Instance.blob, Instance.study_key)
        .outerjoin(ReleasedImage, col(ReleasedImage.instance_id) == col(Instance.id))
        .where(col(ReleasedImage.instance_id).is_(None))
        .order_by(col(Instance.id))
    ).all()
    kept = session.exec(select(Quarantine.blob, Quarantine.study_key).where(col(Quarantine.blob).is_not(None))).all()
    for blob, study_key in images:
        if not store.exists(blob):
            yield LostFile("received", blob, "image", study_key)
    for waiting, owner in kept:
        if waiting is not None and not store.exists(waiting):
            yield LostFile("received", waiting, "quarantine", owner)


def _lost_results(session: Session, store: BlobStore) -> Iterator[LostFile]:
    sent = session.exec(
        select(Delivery.blob, Delivery.study_key, Delivery.object_name)
        .where(col(Delivery.blob).is_not(None))
        .distinct()
    ).all()
    headers = session.exec(
        select(ReleasedImage.header_blob, Instance.study_key).join(
            Instance, col(Instance.id) == col(ReleasedImage.instance_id)
        )
    ).all()
    for blob, study_key, name in sent:
        if blob is not None and not store.exists(blob):
            yield LostFile("results", blob, name, study_key)
    for header, study_key in headers:
        if not store.exists(header):
            yield LostFile("results", header, "header of a released image", study_key)

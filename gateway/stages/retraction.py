"""Retract: what was sent out about the wrong person is taken back, whatever becomes of the study afterwards.

Archives get a rejection note on the objects they may hold, the FHIR server `entered-in-error` on what was published.
A row of each kind at the revision of the retraction; run again, it finds them there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO

import pydicom
import structlog
from sqlmodel import Session, col, select

from gateway import audit
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.errors import NotFound
from gateway.identity_tables import Rehoming
from gateway.object_names import BUNDLE, FHIR_DESTINATION, REJECTION
from gateway.stages.progress import key_and_revision
from gateway.tables import Delivery
from inference.encoding.rejection_note import encode_rejection_note
from timepoint_fhir.retraction import retraction_bundle

_log = structlog.get_logger()


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Queue the rejection note and the FHIR retraction of one change of patient."""
    study_key, revision = key_and_revision(arguments)
    with read_scope(gateway.database) as session:
        change = _change(session, study_key, revision)
        rows = session.exec(
            select(Delivery).where(col(Delivery.id).in_(change.taken_back)).order_by(col(Delivery.id))
        ).all()
    objects = [row for row in rows if row.blob is not None and row.destination != FHIR_DESTINATION]
    bundles = [row for row in rows if row.blob is not None and row.object_name == BUNDLE]
    note = _note(gateway, objects, change) if objects else None
    bundle = _bundle(gateway, bundles) if bundles else None
    with session_scope(gateway.database) as session:
        if not _queued(session, study_key, revision):
            if note is not None:
                for destination in sorted({row.destination for row in objects}):
                    session.add(_delivery(change, destination, REJECTION, *note))
            if bundle is not None and not _published_again(session, study_key, revision):
                session.add(_delivery(change, FHIR_DESTINATION, BUNDLE, "", bundle))
            detail = {"revision": revision, "objects": len({row.sop_instance_uid for row in objects})}
            audit.append(session, actor="system", action="study.retract", subject=study_key, detail=detail)
    _log.info("results retracted", study_key=study_key, revision=revision, objects=len(objects))


def note_failure(arguments: Arguments, error: Exception) -> None:
    """A retraction that cannot be made stands in the list of jobs until somebody retries it."""
    _log.error("a retraction failed", study_key=arguments.get("study_key"), error=type(error).__name__)


def _change(session: Session, study_key: str, revision: int) -> Rehoming:
    found = session.exec(select(Rehoming).where(Rehoming.study_key == study_key, Rehoming.revision == revision)).first()
    if found is None:
        raise NotFound(f"study {study_key} did not change its patient at revision {revision}")
    return found


def _note(gateway: Gateway, objects: Sequence[Delivery], change: Rehoming) -> tuple[str, str]:
    """SOP Instance UID and blob of the rejection note."""
    blobs = {row.sop_instance_uid: str(row.blob) for row in objects}
    headers = [
        pydicom.dcmread(BytesIO(gateway.results.read(blob)), stop_before_pixels=True)
        for _, blob in sorted(blobs.items())
    ]
    note = encode_rejection_note(headers, change.revision, change.created_at)
    buffer = BytesIO()
    note.save_as(buffer, enforce_file_format=True)
    return str(note.SOPInstanceUID), gateway.results.put(buffer.getvalue())


def _bundle(gateway: Gateway, bundles: Sequence[Delivery]) -> str:
    """The blob of the retraction of the last Bundle; each Bundle retracts what those before it said beyond it."""
    published = json.loads(gateway.results.read(str(bundles[-1].blob)))
    content = json.dumps(retraction_bundle(published), sort_keys=True, ensure_ascii=False).encode()
    return gateway.results.put(content)


def _queued(session: Session, study_key: str, revision: int) -> bool:
    query = select(Delivery.id).where(Delivery.study_key == study_key, Delivery.revision == revision)
    return session.exec(query.limit(1)).first() is not None


def _published_again(session: Session, study_key: str, revision: int) -> bool:
    """A later Bundle carries the retraction in itself; one that came after it would undo what it says."""
    query = select(Delivery.id).where(
        Delivery.study_key == study_key, col(Delivery.revision) > revision, Delivery.object_name == BUNDLE
    )
    return session.exec(query.limit(1)).first() is not None


def _delivery(change: Rehoming, destination: str, name: str, sop_instance_uid: str, blob: str) -> Delivery:
    return Delivery(
        study_key=change.study_key,
        revision=change.revision,
        destination=destination,
        object_name=name,
        sop_instance_uid=sop_instance_uid,
        blob=blob,
    )

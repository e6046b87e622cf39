"""What waits for a person: kept with its bytes, the reason and the remedy; listed, shown, and decided elsewhere
(`gateway.quarantine_decisions`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from gateway.column_types import utc_now
from gateway.database import insert_or_ignore
from gateway.errors import NotFound
from gateway.tables import Quarantine, QuarantineKind, Study, StudyState

REMEDIES: Mapping[QuarantineKind, str] = {
    QuarantineKind.UNREADABLE: "Ask the sender to send the instance again; discard this copy.",
    QuarantineKind.TRUNCATED: "Ask the sender to send the instance again; discard this copy.",
    QuarantineKind.NO_PIXEL_DATA: "Check the export of the sender; discard this copy.",
    QuarantineKind.MISSING_UID: "Have the sender correct the header and send it again; discard this copy.",
    QuarantineKind.CLASS_MISMATCH: "Check the sender: its request and its data disagree; discard this copy.",
    QuarantineKind.CONFLICTING_COPY: "Compare both: discard the new copy, or replace the stored one by it.",
    QuarantineKind.MISSING_PATIENT_ID: "Assign the patient ID and issuer, or discard the study.",
    QuarantineKind.CONFLICTING_PATIENT: "Discard the instance, or release it when both IDs are the same person.",
    QuarantineKind.INCOMPLETE: "Have the missing series sent, complete the study as it is, or discard it.",
    QuarantineKind.UNUSABLE: "Correct the cause and replay the study, or discard it.",
    QuarantineKind.PATIENT_MERGE: "Compare both records: merge them when they are one person, or discard the request.",
    QuarantineKind.HL7_MESSAGE: "Correct the sender, or merge the records here; discard this copy.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something for a person to decide. `dedup` makes the same finding one row, however often it is met; `remedy` is
    the usual one of the kind where it is left empty."""

    kind: QuarantineKind
    reason: str
    dedup: str
    remedy: str = ""
    study_key: str | None = None
    sop_instance_uid: str = ""
    blob: str | None = None
    source_ae: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


def keep(session: Session, finding: Finding) -> Quarantine:
    """Record a finding. One that is known stays as it is; one about a study that was settled is opened again."""
    row = Quarantine(
        kind=finding.kind,
        reason=finding.reason,
        remedy=finding.remedy or REMEDIES[finding.kind],
        dedup=f"{finding.kind}:{finding.dedup}",
        study_key=finding.study_key,
        sop_instance_uid=finding.sop_instance_uid[:64],
        blob=finding.blob,
        source_ae=finding.source_ae[:16],
        detail=dict(finding.detail),
    )
    if insert_or_ignore(session, row):
        return session.get_one(Quarantine, row.quarantine_key)
    known = session.exec(select(Quarantine).where(Quarantine.dedup == row.dedup)).one()
    if known.resolved_at is not None and finding.blob is None:
        known.resolved_at, known.resolved_by, known.resolution = None, "", ""
        known.reason, known.remedy, known.detail = row.reason, row.remedy, row.detail
    return known


def put_study_aside(session: Session, study: Study, kind: QuarantineKind, reason: str, remedy: str = "") -> Quarantine:
    """Quarantine a study as a whole: its timer stops until a person has decided, or new images settle the matter."""
    stop_study(study, reason)
    session.add(study)
    session.flush()
    return keep(session, Finding(kind, reason, dedup=study.study_key, remedy=remedy, study_key=study.study_key))


def stop_study(study: Study, reason: str) -> None:
    """Set the state of a study that waits for a decision; the quarantine row is the caller's."""
    study.state, study.reason, study.due, study.force_due = StudyState.QUARANTINED, reason, None, None


def list_open(
    session: Session, study_key: str | None = None, kind: QuarantineKind | None = None
) -> Sequence[Quarantine]:
    """What is undecided, oldest first; of one study, or of one kind, where they are given."""
    query = select(Quarantine).where(col(Quarantine.resolved_at).is_(None))
    if kind is not None:
        query = query.where(Quarantine.kind == kind)
    if study_key is not None:
        query = query.where(Quarantine.study_key == study_key)
    return session.exec(query.order_by(col(Quarantine.created_at), col(Quarantine.quarantine_key))).all()


def show(session: Session, quarantine_key: str) -> Quarantine:
    """One item.

    Raises:
        NotFound: for an unknown key.
    """
    row = session.get(Quarantine, quarantine_key)
    if row is None:
        raise NotFound(quarantine_key)
    return row


def settle(row: Quarantine, actor: str, resolution: str) -> None:
    """Close an item; the caller has done what the resolution says and writes the audit link."""
    row.resolved_at, row.resolved_by, row.resolution = utc_now(), actor[:64], resolution[:32]

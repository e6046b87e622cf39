"""A person's decision on what waits in quarantine, with everything that follows from it, in one transaction.

- `discard`: the instance stays out (its bytes are kept with the settled item); for a study as a whole, it is discarded.
- `release`: the instance belongs to its study after all, whatever patient ID it states; a study looks again at its
  completeness.
- `replace`: the new copy takes the place of the stored instance of the same UID.
- `assign`: the study belongs to the given patient ID and issuer.
- `merge`: two records are one person, as an HL7 message or an identity server said.

When nothing else of the study is undecided, its quiet time starts again and the next revision follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sqlmodel import Session, select

from gateway import audit
from gateway.arrivals import ArrivalRules, StoredInstance, await_images, index_instance
from gateway.blobs import BlobStore
from gateway.column_types import utc_now
from gateway.errors import NotAllowed
from gateway.identity import PatientId, patient_key_of
from gateway.instance_facts import NotIndexable, read_facts
from gateway.merges import merge
from gateway.part10 import EncodedInstance, read_part10
from gateway.quarantine import list_open, settle, show
from gateway.tables import Instance, Quarantine, QuarantineKind, Study, StudyState


class Action(StrEnum):
    """What a person can decide."""

    DISCARD = "discard"
    RELEASE = "release"
    REPLACE = "replace"
    ASSIGN = "assign"
    MERGE = "merge"


@dataclass(frozen=True)
class Decision:
    """An action by a person; `patient_id` and `issuer` belong to `assign`."""

    action: Action
    actor: str
    patient_id: str = ""
    issuer: str = ""


_BAD_BYTES = {Action.DISCARD}
_STUDY_LEVEL = {Action.DISCARD, Action.RELEASE}
ALLOWED: Mapping[QuarantineKind, frozenset[Action]] = MappingProxyType(
    {
        QuarantineKind.UNREADABLE: frozenset(_BAD_BYTES),
        QuarantineKind.TRUNCATED: frozenset(_BAD_BYTES),
        QuarantineKind.NO_PIXEL_DATA: frozenset(_BAD_BYTES),
        QuarantineKind.MISSING_UID: frozenset(_BAD_BYTES),
        QuarantineKind.CLASS_MISMATCH: frozenset(_BAD_BYTES),
        QuarantineKind.CONFLICTING_COPY: frozenset({Action.DISCARD, Action.REPLACE}),
        QuarantineKind.CONFLICTING_PATIENT: frozenset({Action.DISCARD, Action.RELEASE}),
        QuarantineKind.MISSING_PATIENT_ID: frozenset({Action.DISCARD, Action.ASSIGN}),
        QuarantineKind.INCOMPLETE: frozenset(_STUDY_LEVEL),
        QuarantineKind.UNUSABLE: frozenset(_STUDY_LEVEL),
        QuarantineKind.PATIENT_MERGE: frozenset({Action.DISCARD, Action.MERGE}),
        QuarantineKind.HL7_MESSAGE: frozenset(_BAD_BYTES),
    }
)
"""Which decisions a kind of item admits. An incomplete study is completed with `timepoint studies complete`."""


def resolve(
    session: Session, quarantine_key: str, decision: Decision, received: BlobStore, rules: ArrivalRules
) -> Quarantine:
    """Carry out a decision; the caller commits.

    Raises:
        NotFound: for an unknown key.
        NotAllowed: when the item is settled already, or its kind does not admit the action.
        BlobMissing: when the bytes are gone from the image store.
    """
    item = show(session, quarantine_key)
    if item.resolved_at is not None:
        raise NotAllowed(f"{quarantine_key} was settled already ({item.resolution}).")
    if decision.action not in ALLOWED[item.kind]:
        known = ", ".join(sorted(ALLOWED[item.kind]))
        raise NotAllowed(f"{quarantine_key} ({item.kind.value}) admits: {known}.")
    study = session.get(Study, item.study_key) if item.study_key else None
    settle(item, decision.actor, decision.action.value)
    session.add(item)
    _EFFECTS[decision.action](_Case(session, item, study, decision, received, rules))
    session.flush()
    if study is not None:
        _resume(session, study, rules)
    audit.append(session, decision.actor, f"quarantine.{decision.action}", quarantine_key, {"kind": item.kind.value})
    return item


@dataclass(frozen=True)
class _Case:
    session: Session
    item: Quarantine
    study: Study | None
    decision: Decision
    received: BlobStore
    rules: ArrivalRules


def _discard(case: _Case) -> None:
    """An item with bytes leaves the study as it is; one about the whole study ends it."""
    if case.item.blob is None and case.study is not None:
        case.study.state, case.study.reason = StudyState.DISCARDED, "Discarded by a person."


def _release(case: _Case) -> None:
    if case.item.blob is not None:
        index_instance(case.session, _stored(case), case.rules, identity_accepted=True)


def _replace(case: _Case) -> None:
    """Swap the bytes; the settled item keeps the old ones, so that they stay known and are not indexed again."""
    new, old_item = _stored(case), case.item
    known = case.session.exec(select(Instance).where(Instance.sop_instance_uid == new.facts.sop_instance_uid)).one()
    old_item.blob, known.blob = known.blob, new.blob
    known.dataset_sha256, known.size_bytes = new.dataset_sha256, new.size_bytes
    known.transfer_syntax_uid, known.source_ae = new.transfer_syntax_uid, new.source_ae
    known.header = dict(new.facts.geometry)
    case.session.add(known)


def _assign(case: _Case) -> None:
    if case.study is None:
        raise NotAllowed("There is no study to assign.")
    who = case.rules.issuers.decided(case.decision.patient_id, case.decision.issuer)
    if who is None:
        raise NotAllowed("Assigning needs a patient ID and its issuer.")
    case.study.identity = {**case.study.identity, "assigned": True, "normalised": [who.patient_id, who.issuer]}
    case.study.patient_key = patient_key_of(case.session, PatientId(who.patient_id, who.issuer))


def _merge(case: _Case) -> None:
    merge(case.session, case.item.detail["surviving"], case.item.detail["retired"], case.decision.actor)


_EFFECTS: Mapping[Action, Callable[[_Case], None]] = MappingProxyType(
    {
        Action.DISCARD: _discard,
        Action.RELEASE: _release,
        Action.REPLACE: _replace,
        Action.ASSIGN: _assign,
        Action.MERGE: _merge,
    }
)


def _stored(case: _Case) -> StoredInstance:
    if case.item.blob is None:
        raise NotAllowed("There are no bytes to decide on.")
    instance: EncodedInstance = read_part10(case.received.read(case.item.blob))
    try:
        facts, _ = read_facts(instance)
    except NotIndexable as problem:
        raise NotAllowed(str(problem)) from problem
    return StoredInstance(
        facts=facts,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        source_ae=instance.source_ae,
        blob=case.item.blob,
        dataset_sha256=hashlib.sha256(instance.dataset).hexdigest(),
        size_bytes=len(instance.dataset),
    )


def _resume(session: Session, study: Study, rules: ArrivalRules) -> None:
    if study.state is StudyState.QUARANTINED and not list_open(session, study.study_key):
        study.state, study.force_due = StudyState.RECEIVING, None
        await_images(study, rules, utc_now())
        session.add(study)

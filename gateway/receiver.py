"""From safe bytes to rows: what was received gets its place in the image store and in the index, or in quarantine.

C-STORE leaves synced files in an inbox, and `Receiver.take_files` indexes them after the response. Other ways in call
`Receiver.take`, which returns when the bytes are synced and the rows are committed. The rows need no sync of their own:
`rebuild_index` makes them again from inbox and image store.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import structlog
from pydicom.dataset import Dataset
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from gateway.alike_images import AlikeImages
from gateway.arrivals import ArrivalRules, Outcome, StoredInstance, Verdict, index_instance
from gateway.arrived_files import ArrivedFile, checked_facts, read_arrived
from gateway.associations import Carrier, broken, note_study
from gateway.blobs import BlobStore, explained
from gateway.database import read_scope, session_scope
from gateway.errors import BlobDamaged, BlobMissing, Retriable, Unreadable
from gateway.grouped_arrivals import index_group, known_uids
from gateway.inbox import InboxFile, abandoned_boxes, sync
from gateway.instance_copies import same_content
from gateway.instance_facts import InstanceFacts, NotIndexable
from gateway.part10 import EncodedInstance, read_file_header, read_part10
from gateway.quarantine import Finding, keep
from gateway.sop_classes import ACCEPTED
from gateway.tables import Delivery, Instance, InstanceRole, Quarantine, QuarantineKind

_LONGEST_FILE_HEADER = 1024
_AT_ONCE = 64
log = structlog.get_logger(__name__)


@dataclass
class Receiver:
    """Takes instances. `counts` says how many met which verdict since start."""

    engine: Engine
    blobs: BlobStore
    rules: ArrivalRules
    counts: Counter[Verdict] = field(default_factory=Counter)
    _counting: Lock = field(default_factory=Lock)
    _alike: AlikeImages = field(default_factory=AlikeImages)

    def take(self, instance: EncodedInstance, carrier: Carrier | None = None) -> Outcome:
        """Store an instance durably and index it, or keep it in quarantine with the reason.

        `carrier` is the association that it came in by.

        Raises:
            StorageFull: below the watermark or at the end of the disk; nothing was stored.
            StorageBroken: when the image store cannot be written.
            DatabaseNotReady: when the rows cannot be written; the sender tries again, the bytes may stay.
        """
        outcome = self._take(instance, carrier)
        if carrier is not None and outcome.study_key is not None and outcome.verdict is Verdict.DUPLICATE:
            # A sender that tries again may bring nothing but copies; new images were noted with their rows.
            with session_scope(self.engine) as session:
                note_study(session, carrier, outcome.study_key)
        with self._counting:
            self.counts[outcome.verdict] += 1
        return outcome

    def _take(self, instance: EncodedInstance, carrier: Carrier | None) -> Outcome:
        try:
            facts, dataset = checked_facts(instance)
        except NotIndexable as problem:
            return self._refuse(instance, problem, self.blobs.put(instance.file_header(), instance.dataset))
        digest = hashlib.sha256(instance.dataset).hexdigest()
        settled = self._settled_before(instance, facts, dataset, digest)
        if settled is not None:
            return settled
        blob = self.blobs.put(instance.file_header(), instance.dataset)
        return self._index(instance, facts, digest, blob, carrier)

    def take_stored(self, blob: str) -> Outcome:
        """Index what lies in the image store without a row: after a kill between the two, or a lost database."""
        try:
            instance = read_part10(self.blobs.read(blob))
        except (Unreadable, BlobDamaged) as problem:
            return self._keep_unreadable(blob, problem)
        try:
            facts, dataset = checked_facts(instance)
        except NotIndexable as problem:
            return self._refuse(instance, problem, blob)
        digest = hashlib.sha256(instance.dataset).hexdigest()
        settled = self._settled_before(instance, facts, dataset, digest)
        if settled is not None:
            self._drop_second_copy(blob)
            return settled
        return self._index(instance, facts, digest, blob)

    def take_files(self, arrivals: Sequence[tuple[InboxFile, Carrier]]) -> None:
        """Index files of an inbox, all in one transaction, and take them out of it.

        A file that cannot be taken for a reason of our own goes to quarantine alone; the others are indexed.

        Raises:
            StorageFull, StorageBroken, DatabaseNotReady: everything is as before; try again later.
        """
        try:
            sync([file for file, _ in arrivals])  # no row may outlive the bytes it speaks of
            self._take_files([new for arrival in arrivals if (new := self._read(*arrival)) is not None])
        except Retriable:
            raise
        except IntegrityError:  # another process stored the same instance at this moment
            self._take_one_by_one(arrivals)
        except Exception as error:  # noqa: BLE001 - the edge of the index: one instance is set aside, the rest goes on
            if len(arrivals) > 1:
                self._take_one_by_one(arrivals)
            else:
                self._set_aside(arrivals[0][0], error)

    def _read(self, file: InboxFile, carrier: Carrier) -> ArrivedFile | None:
        try:
            return read_arrived(file, carrier, self._alike)
        except FileNotFoundError:  # another receiver of this store took it for abandoned, and has indexed it
            log.warning("a file is no longer in the inbox", carrier=carrier.key)
            return None
        except OSError as error:
            raise explained(error) from error

    def _take_one_by_one(self, arrivals: Sequence[tuple[InboxFile, Carrier]]) -> None:
        for arrival in arrivals:
            self.take_files([arrival])

    def _take_files(self, batch: Sequence[ArrivedFile]) -> None:
        with session_scope(self.engine) as session:
            outcomes = self._enter_all(session, batch)
        for prepared in batch:
            Path(prepared.file.path).unlink(missing_ok=True)
        for outcome in outcomes:
            _tell(outcome)
        with self._counting:
            self.counts.update(outcome.verdict for outcome in outcomes)

    def _enter_all(self, session: Session, batch: Sequence[ArrivedFile]) -> list[Outcome]:
        """Study by study; one of which everything is usual goes in as a whole, the others instance by instance."""
        outcomes = []
        usual = _usual_studies(session, batch)
        for group in _by_study(batch):
            as_a_whole = group[0].study_uid in usual and self._enter_group(session, group)
            outcomes += as_a_whole or [self._enter(session, prepared) for prepared in group]
        return outcomes

    def _enter_group(self, session: Session, group: Sequence[ArrivedFile]) -> list[Outcome]:
        """Nothing where the group has to go in instance by instance."""
        study_key = index_group(session, [stored for new in group if (stored := new.stored()) is not None], self.rules)
        if study_key is None:
            return []
        for new in group:
            self.blobs.adopt(Path(new.file.path), new.blob)
        for carrier in {new.carrier.key: new.carrier for new in group}.values():
            note_study(session, carrier, study_key)
        return [Outcome(Verdict.STORED, study_key=study_key)] * len(group)

    def _enter(self, session: Session, new: ArrivedFile) -> Outcome:
        path, stored = Path(new.file.path), new.stored()
        if stored is None or new.facts is None:
            self.blobs.adopt(path, new.blob)
            problem = new.problem or NotIndexable(QuarantineKind.UNREADABLE, "It is no DICOM file.")
            return _refused(session, new.instance, problem, new.blob)
        outcome = self._settled_already(session, new.instance, new.facts, new.dataset, new.digest)
        if outcome is None:
            outcome = index_instance(session, stored, self.rules)
        if outcome.verdict in (Verdict.STORED, Verdict.KEPT_FOR_DECISION):
            self.blobs.adopt(path, new.blob)
        if outcome.study_key is not None:
            note_study(session, new.carrier, outcome.study_key)
        return outcome

    def _set_aside(self, file: InboxFile, error: Exception) -> None:
        """An instance that our own error keeps out of the index must not be lost, nor stop those behind it."""
        log.error("instance failed", error=type(error).__name__, exc_info=error)
        blob = hashlib.sha256(Path(file.path).read_bytes()).hexdigest()
        self.blobs.adopt(Path(file.path), blob)
        reason = f"The gateway failed on it ({type(error).__name__}); its log says where."
        with session_scope(self.engine) as session:
            keep(session, Finding(QuarantineKind.UNREADABLE, reason, dedup=blob, blob=blob))
        Path(file.path).unlink(missing_ok=True)

    def _settled_before(
        self, instance: EncodedInstance, facts: InstanceFacts, dataset: Dataset | None, digest: str
    ) -> Outcome | None:
        with read_scope(self.engine) as session:
            return self._settled_already(session, instance, facts, dataset, digest)

    def _settled_already(
        self, session: Session, instance: EncodedInstance, facts: InstanceFacts, dataset: Dataset | None, digest: str
    ) -> Outcome | None:
        """Our own result coming back, or an instance that is stored already: nothing to write."""
        if _is_own_result(facts, dataset) or _was_delivered(session, facts.sop_instance_uid):
            return Outcome(Verdict.OWN_RESULT)
        known = session.exec(select(Instance).where(Instance.sop_instance_uid == facts.sop_instance_uid)).one_or_none()
        if known is None or not self._holds_same(known, instance, digest):
            return None
        return Outcome(Verdict.DUPLICATE, study_key=known.study_key)

    def _holds_same(self, known: Instance, instance: EncodedInstance, digest: str) -> bool:
        if known.dataset_sha256 == digest and self.blobs.exists(known.blob):
            return True
        try:
            return same_content(read_part10(self.blobs.read(known.blob)), instance)
        except (BlobMissing, BlobDamaged, Unreadable):
            return False

    def _index(
        self,
        instance: EncodedInstance,
        facts: InstanceFacts,
        digest: str,
        blob: str,
        carrier: Carrier | None = None,
    ) -> Outcome:
        stored = StoredInstance(
            facts, instance.transfer_syntax_uid, instance.source_ae, blob, digest, len(instance.dataset)
        )
        try:
            outcome = self._write(stored, carrier)
        except IntegrityError:  # another association stored the same instance at this moment
            outcome = self._write(stored, carrier)
        if outcome.verdict is Verdict.DUPLICATE:
            self._drop_second_copy(blob)
        return outcome

    def _write(self, stored: StoredInstance, carrier: Carrier | None) -> Outcome:
        with session_scope(self.engine) as session:
            outcome = index_instance(session, stored, self.rules)
            if carrier is not None and outcome.study_key is not None:
                note_study(session, carrier, outcome.study_key)
        return outcome

    def _drop_second_copy(self, blob: str) -> None:
        if blob not in self.referenced([blob]):
            self.blobs.delete(blob)

    def referenced(self, blobs: list[str]) -> set[str]:
        """Which of these objects a row refers to."""
        with read_scope(self.engine) as session:
            indexed = session.exec(select(Instance.blob).where(col(Instance.blob).in_(blobs))).all()
            kept = session.exec(select(Quarantine.blob).where(col(Quarantine.blob).in_(blobs))).all()
        return {blob for blob in (*indexed, *kept) if blob}

    def _refuse(self, instance: EncodedInstance, problem: NotIndexable, blob: str) -> Outcome:
        with session_scope(self.engine) as session:
            return _refused(session, instance, problem, blob)

    def _keep_unreadable(self, blob: str, problem: Unreadable | BlobDamaged) -> Outcome:
        finding = Finding(QuarantineKind.UNREADABLE, problem.explanation, dedup=blob, blob=blob)
        with session_scope(self.engine) as session:
            keep(session, finding)
        return Outcome(Verdict.REFUSED, QuarantineKind.UNREADABLE, problem.explanation)


def _by_study(batch: Sequence[ArrivedFile]) -> list[list[ArrivedFile]]:
    """In order of arrival within each study. The studies come in one order, so that two receivers do not lock them
    crosswise; what has none comes last."""
    groups: dict[str, list[ArrivedFile]] = {}
    for new in batch:
        groups.setdefault(new.study_uid, []).append(new)
    return [groups[uid] for uid in sorted(groups, reverse=True)]


def _usual_studies(session: Session, batch: Sequence[ArrivedFile]) -> set[str]:
    """Studies of which only images have come that were never seen."""
    uids = [new.facts.sop_instance_uid for new in batch if new.facts is not None]
    if len(set(uids)) < len(uids):
        return set()
    known = known_uids(session, uids)
    odd = {new.study_uid for new in batch if not new.is_image or new.instance.sop_instance_uid in known}
    return {new.study_uid for new in batch} - odd


def _refused(session: Session, instance: EncodedInstance, problem: NotIndexable, blob: str) -> Outcome:
    finding = Finding(
        kind=problem.kind,
        reason=str(problem),
        dedup=blob,
        sop_instance_uid=instance.sop_instance_uid,
        blob=blob,
        source_ae=instance.source_ae,
    )
    keep(session, finding)
    return Outcome(Verdict.REFUSED, problem.kind, str(problem))


def _tell(outcome: Outcome) -> None:
    if outcome.kind is not None:
        log.warning("instance in quarantine", kind=outcome.kind.value, study_key=outcome.study_key)


def take_abandoned(receiver: Receiver) -> int:
    """Index what receivers that died had stored and not indexed; returns how many.

    Their senders may not know that it arrived, so each association counts as broken off.

    Raises:
        Retriable: what could not be indexed stays for another time.
    """
    found = 0
    for box in abandoned_boxes(receiver.blobs.folder):
        try:
            carriers = {file.carrier_key: Carrier(file.carrier_key, _source_ae(file)) for file in box.files}
            for first in range(0, len(box.files), _AT_ONCE):
                some = box.files[first : first + _AT_ONCE]
                receiver.take_files([(file, carriers[file.carrier_key]) for file in some])
            for carrier in carriers.values():
                broken(receiver.engine, carrier)
        finally:
            box.close()
        found += len(box.files)
    if found:
        log.info("indexed what a receiver left behind", instances=found)
    return found


def _source_ae(file: InboxFile) -> str:
    with Path(file.path).open("rb") as content:
        head = content.read(_LONGEST_FILE_HEADER)
    try:
        return read_file_header(head)[0].source_ae
    except Unreadable:
        return ""


def rebuild_index(receiver: Receiver) -> int:
    """Index every received object that no row knows; returns how many. Call it before the receiver listens."""
    receiver.blobs.remove_unfinished()
    left_behind = take_abandoned(receiver)
    found = 0
    in_order_of_arrival = sorted(
        receiver.blobs.orphans(receiver.referenced), key=lambda blob: receiver.blobs.path(blob).stat().st_mtime_ns
    )
    for blob in in_order_of_arrival:
        receiver.take_stored(blob)
        found += 1
    if found:
        log.info("index rebuilt from the image store", instances=found)
    return left_behind + found


def _is_own_result(facts: InstanceFacts, dataset: Dataset | None) -> bool:
    if ACCEPTED[facts.sop_class_uid] is not InstanceRole.MATERIAL or dataset is None:
        return False
    from inference.encoding.identity import is_own_object  # the encoders load slowly; MR images never need them

    return is_own_object(dataset)


def _was_delivered(session: Session, sop_instance_uid: str) -> bool:
    query = select(Delivery.id).where(Delivery.sop_instance_uid == sop_instance_uid).limit(1)
    return session.exec(query).first() is not None

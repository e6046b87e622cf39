"""Instances that come over STOW-RS: the rules of the receiving node, with an outcome for each (PS3.18 section 10.5).

Success means here what it means for C-STORE: the instance is durable before it is answered for.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.arrivals import Verdict
from gateway.associations import Carrier
from gateway.errors import Retriable, Unreadable
from gateway.part10 import EncodedInstance, read_part10
from gateway.receiver import Receiver
from gateway.sop_classes import ACCEPTED, TRANSFER_SYNTAXES
from gateway.store_status import CANNOT_UNDERSTAND, DATA_SET_MISMATCH, OUT_OF_RESOURCES, PROCESSING_FAILURE, STATUS_OF

SOP_CLASS_NOT_SUPPORTED = 0x0122
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
_log = structlog.get_logger(__name__)


@dataclass
class StoreTransaction:
    """One store request: takes its instances one by one and tells what became of them.

    With `study_instance_uid` only instances of that study are taken.
    """

    receiver: Receiver
    carrier: Carrier
    study_instance_uid: str = ""
    _stored: list[dict[str, Any]] = field(default_factory=list)
    _failed: list[dict[str, Any]] = field(default_factory=list)
    _unidentified: list[dict[str, Any]] = field(default_factory=list)
    _may_be_tried_again: bool = False

    def take(self, content: bytes) -> None:
        """Take a Part 10 file; whatever happens to it is in the answer."""
        try:
            instance = read_part10(content)
        except Unreadable:
            self._unidentified.append(_failure(CANNOT_UNDERSTAND))
            return
        # Not the AE title that the file states: the caller decides on the issuer of its patient IDs.
        self.take_instance(dataclasses.replace(instance, source_ae=self.carrier.source_ae))

    def take_instance(self, instance: EncodedInstance) -> int:
        """Take an instance; 0 when it is safe, else the reason to refuse it."""
        reason = self._reason_to_refuse(instance)
        named = {
            "00081150": {"vr": "UI", "Value": [instance.sop_class_uid]},
            "00081155": {"vr": "UI", "Value": [instance.sop_instance_uid]},
        }
        if reason is None:
            self._stored.append(named)
        else:
            self._failed.append({**named, **_failure(reason)})
        return reason or 0

    @property
    def stored(self) -> int:
        """How many instances are safe here."""
        return len(self._stored)

    @property
    def failed(self) -> int:
        """How many were refused."""
        return len(self._failed) + len(self._unidentified)

    @property
    def status(self) -> int:
        """The HTTP status: 200 all stored, 202 some, 409 none, 503 none but another try may succeed, 400 no parts."""
        if self.stored:
            return 202 if self.failed else 200
        if not self.failed:
            return 400
        return 503 if self._may_be_tried_again else 409

    def answer(self) -> dict[str, Any]:
        """The store instances response in the DICOM JSON model (PS3.18 I.2)."""
        sequences = (("00081199", self._stored), ("00081198", self._failed), ("0008119A", self._unidentified))
        return {tag: {"vr": "SQ", "Value": items} for tag, items in sequences if items}

    def _reason_to_refuse(self, instance: EncodedInstance) -> int | None:
        if instance.sop_class_uid not in ACCEPTED:
            return SOP_CLASS_NOT_SUPPORTED
        if instance.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            return TRANSFER_SYNTAX_NOT_SUPPORTED
        if self.study_instance_uid and not _is_of_study(instance, self.study_instance_uid):
            return DATA_SET_MISMATCH
        try:
            outcome = self.receiver.take(instance, self.carrier)
        except Retriable as problem:
            _log.error("instance refused", error=type(problem).__name__, reason=str(problem))
            self._may_be_tried_again = True
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - one instance must not end the request of the others
            _log.error("instance failed", error=type(error).__name__, exc_info=True)
            return PROCESSING_FAILURE
        if outcome.verdict is Verdict.REFUSED and outcome.kind is not None:
            return STATUS_OF[outcome.kind]
        return None


def _failure(reason: int) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [reason]}}


def _is_of_study(instance: EncodedInstance, study_instance_uid: str) -> bool:
    from gateway.instance_facts import NotIndexable, read_facts

    try:
        facts, _ = read_facts(instance)
    except NotIndexable:
        return True  # the receiver says what is wrong with it
    return facts.study_instance_uid == study_instance_uid

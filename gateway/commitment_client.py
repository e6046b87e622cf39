"""Storage commitment, push model, as its user (PS3.4 Annex J): ask an archive to answer for what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from gateway.dimse_client import RemoteAe, associate, why_not

REQUEST_COMMITMENT = 1
ALL_COMMITTED, FAILURES_EXIST = 1, 2
LINGER_S = 1.0
"""How long the association stays open for a report on it; archives that report later open one of their own."""

Reference = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""


@dataclass(frozen=True)
class CommitmentReport:
    """An N-EVENT-REPORT: what the archive answers for, and the failure reason of each instance it does not."""

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request. `retriable` says that the same request may succeed later."""

    accepted: bool
    retriable: bool
    detail: str


def read_report(information: Dataset) -> CommitmentReport:
    """Take an N-EVENT-REPORT's event information apart (PS3.4 J.3.3.1).

    Raises:
        ValueError: without a Transaction UID.
    """
    transaction_uid = str(information.get("TransactionUID") or "")
    if not transaction_uid:
        raise ValueError("the report names no transaction")
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or 0x0110)
        for item in information.get("FailedSOPSequence") or []
    }
    referenced = information.get("ReferencedSOPSequence") or []
    committed = frozenset(str(item.ReferencedSOPInstanceUID) for item in referenced) - set(failed)
    return CommitmentReport(transaction_uid, committed, failed)


def request_commitment(
    local_ae_title: str,
    remote: RemoteAe,
    transaction_uid: str,
    instances: Sequence[Reference],
    on_report: Callable[[Dataset], int],
    linger_s: float = LINGER_S,
) -> Asked:
    """N-ACTION for `instances`; `on_report` gets a report that comes on the same association, and returns its status.

    A report that is to come on another association reaches our receiving node (`gateway.commitment_reports`).
    """
    reported = threading.Event()

    def take(event: evt.Event) -> tuple[int, Dataset | None]:
        status = on_report(event.event_information)
        reported.set()
        return status, None

    ae = AE(ae_title=local_ae_title)
    ae.add_requested_context(StorageCommitmentPushModel)
    assoc = associate(ae, remote, 15.0)
    if not assoc.is_established:
        return Asked(False, not assoc.rejected_contexts, why_not(assoc))
    assoc.bind(evt.EVT_N_EVENT_REPORT, take)
    try:
        status: Any
        status, _ = assoc.send_n_action(
            _action_information(transaction_uid, instances),
            REQUEST_COMMITMENT,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        asked = _judge(status)
        if asked.accepted:
            reported.wait(linger_s)
    except (RuntimeError, ValueError) as error:
        return Asked(False, True, str(error))
    finally:
        if assoc.is_established:
            assoc.release()
    return asked


def _judge(status: Any) -> Asked:
    if "Status" not in status:
        return Asked(False, True, "the archive did not answer the commitment request")
    code = int(status.Status)
    if code == 0:
        return Asked(True, False, "")
    # PS3.7 C: 0110 processing failure, 0213 resource limitation; the others say that the request itself is not liked
    return Asked(False, code in (0x0110, 0x0213), f"the commitment request was refused with 0x{code:04X}")


def _action_information(transaction_uid: str, instances: Sequence[Reference]) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [_reference(*instance) for instance in instances]
    return information


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item

"""Storage commitment of deliveries: an archive that has taken a study's objects is asked to answer for them.

Each request is a transaction of its own in the database before it goes out. Its report may come on the same
association, on a new one to our receiver, or never: then the archive is asked again under a new transaction. A
delivery that waits for its report is `delivered` with a `next_try`, the time of the next request.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom
import structlog
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import Engine
from sqlmodel import Session, col, func, select

from gateway.archive_tables import Commitment, CommitmentState
from gateway.column_types import utc_now
from gateway.commitment_client import Asked, CommitmentReport, Reference, read_report, request_commitment
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.delivery_progress import GIVE_UP_AFTER, archive_named, settle_study, to_be_committed, wait_after
from gateway.dimse_client import RemoteAe
from gateway.errors import Retriable
from gateway.settings import Destination, Settings
from gateway.tables import Delivery, DeliveryState, Study

SUCCESS, PROCESSING_FAILURE, INVALID_ARGUMENT = 0x0000, 0x0110, 0x0115
NO_SUCH_INSTANCE = 0x0112
REASONS = {
    0x0110: "processing failure",
    0x0112: "no such instance",
    0x0119: "class and instance do not match",
    0x0122: "SOP class not supported",
    0x0131: "duplicate transaction",
    0x0213: "resource limitation",
}
"""Failure Reason (0008,1197) of the storage commitment service (PS3.3 C.14.1.1)."""
_ASK_AGAIN = frozenset({0x0110, 0x0131, 0x0213})
_log = structlog.get_logger(__name__)
_Group = tuple[str, str, int]


@dataclass(frozen=True)
class _Request:
    destination: Destination
    transaction_uid: str
    study_key: str
    instances: Sequence[Reference]


def ask_for_commitment(gateway: Gateway, limit: int = 200) -> int:
    """Ask archives to commit what they have stored and not yet answered for; returns how many requests went out."""
    due = select(Delivery).where(
        Delivery.state == DeliveryState.DELIVERED, col(Delivery.next_try) <= utc_now()
    ).order_by(col(Delivery.id)).limit(limit)  # fmt: skip
    with read_scope(gateway.database) as session:
        if session.exec(due).first() is None:
            return 0
    with session_scope(gateway.database) as session:
        groups: dict[_Group, list[Delivery]] = defaultdict(list)
        for row in session.exec(due.with_for_update(skip_locked=True)).all():
            groups[row.destination, row.study_key, row.revision].append(row)
        requests = [r for group, rows in groups.items() if (r := _claim(gateway, session, group, rows)) is not None]
    for request in requests:
        _ask(gateway, request)
    return len(requests)


def take_report(engine: Engine, settings: Settings, senders: Sequence[str], information: Dataset) -> int:
    """Take an N-EVENT-REPORT from any of the destinations named `senders`; returns the status to answer with."""
    try:
        report = read_report(information)
        with session_scope(engine) as session:
            known = _settle(session, settings, senders, report)
    except (ValueError, AttributeError) as error:
        _log.warning("commitment report not understood", error=type(error).__name__)
        return INVALID_ARGUMENT
    except Retriable as error:
        _log.error("commitment report not taken", error=type(error).__name__)
        return PROCESSING_FAILURE
    if not known:
        _log.warning("commitment report of an unknown transaction", destinations=list(senders))
        return INVALID_ARGUMENT
    return SUCCESS


def _claim(gateway: Gateway, session: Session, group: _Group, rows: Sequence[Delivery]) -> _Request | None:
    """Write the transaction for what is due of one study on one destination; None where nothing is to be asked."""
    destination, study_key, revision = group
    wanted = to_be_committed(gateway.settings).get(destination)
    if wanted is None:
        _let_go(session, gateway.settings, rows)
        return None
    if any(row.state is DeliveryState.PENDING for row in _of_group(session, group)):
        return None  # asked when all objects of the revision are there
    _forget_unanswered(session, group)
    now = utc_now()
    overdue = [row for row in rows if now - row.created_at > GIVE_UP_AFTER]
    for row in overdue:
        _give_up(row, "the archive has not committed this instance in time")
    asked = [row for row in rows if row not in overdue]
    if not asked:
        return None
    uid = str(generate_uid(prefix=None))
    instances = [row.sop_instance_uid for row in asked]
    session.add(
        Commitment(
            transaction_uid=uid, destination=destination, study_key=study_key, revision=revision, instances=instances
        )
    )
    for row in asked:
        row.next_try = now + dt.timedelta(seconds=wanted.commitment_wait_s)
        session.add(row)
    references = [(_sop_class(gateway, row), row.sop_instance_uid) for row in asked]
    return _Request(wanted, uid, study_key, references)


def _ask(gateway: Gateway, request: _Request) -> None:
    to = request.destination
    asked = request_commitment(
        gateway.settings.dicom.ae_title,
        RemoteAe.of(to),
        request.transaction_uid,
        request.instances,
        lambda information: take_report(gateway.database, gateway.settings, [to.name], information),
    )
    _log.info(
        "commitment asked for" if asked.accepted else "commitment not asked for",
        study_key=request.study_key,
        destination=to.name,
        objects=len(request.instances),
        detail=asked.detail,
    )
    if not asked.accepted:
        with session_scope(gateway.database) as session:
            _note_refusal(session, request.transaction_uid, asked)


def _note_refusal(session: Session, transaction_uid: str, asked: Asked) -> None:
    commitment = session.get_one(Commitment, transaction_uid)
    if commitment.state is not CommitmentState.ASKED:
        return
    commitment.state, commitment.detail = CommitmentState.REFUSED, {"reason": asked.detail}
    session.add(commitment)
    group = (commitment.destination, commitment.study_key, commitment.revision)
    wait = wait_after(_times_asked(session, group))
    for row in _of_group(session, group):
        if row.state is DeliveryState.DELIVERED and row.sop_instance_uid in commitment.instances:
            if asked.retriable:
                row.next_try, row.last_error = utc_now() + wait, asked.detail[:500]
            else:
                _give_up(row, asked.detail)
            session.add(row)


def _settle(session: Session, settings: Settings, senders: Sequence[str], report: CommitmentReport) -> bool:
    """Note what a report says of each instance; False where the transaction is not known from that sender."""
    query = select(Commitment).where(Commitment.transaction_uid == report.transaction_uid).with_for_update()
    commitment = session.exec(query).one_or_none()
    if commitment is None or commitment.destination not in senders:
        return False
    # A success is good news whenever it comes; a failure counts only as the answer to the latest question.
    current = commitment.state is CommitmentState.ASKED
    group = (commitment.destination, commitment.study_key, commitment.revision)
    wait = wait_after(_times_asked(session, group))
    for row in _of_group(session, group):
        uid = row.sop_instance_uid
        if uid not in commitment.instances or row.state is DeliveryState.SUPERSEDED:
            continue
        if uid in report.committed:
            row.state, row.next_try, row.last_error = DeliveryState.COMMITTED, None, ""
        elif uid in report.failed and current and row.state is DeliveryState.DELIVERED:
            _note_failure(session, row, report.failed[uid], wait)
        session.add(row)
    commitment.state, commitment.answered_at = CommitmentState.ANSWERED, utc_now()
    commitment.detail = {
        "committed": len(report.committed),
        "failed": {uid: f"0x{reason:04X}" for uid, reason in sorted(report.failed.items())},
    }
    session.add(commitment)
    session.flush()
    settle_study(session, commitment.study_key, settings)
    _log.info(
        "commitment reported",
        study_key=commitment.study_key,
        destination=commitment.destination,
        committed=len(report.committed),
        failed=len(report.failed),
    )
    return True


def _note_failure(session: Session, row: Delivery, reason: int, wait: dt.timedelta) -> None:
    said = f"storage commitment failed: {REASONS.get(reason, 'reason')} (0x{reason:04X})"
    if utc_now() - row.created_at > GIVE_UP_AFTER or (reason not in _ASK_AGAIN and reason != NO_SUCH_INSTANCE):
        _give_up(row, said)
    elif reason in _ASK_AGAIN:
        row.next_try, row.last_error = utc_now() + wait, said
    elif session.get_one(Study, row.study_key).revision == row.revision:
        row.state, row.next_try, row.last_error = DeliveryState.PENDING, utc_now() + wait, said  # sent once more
    else:
        row.state, row.next_try, row.last_error = DeliveryState.SUPERSEDED, None, said


def _let_go(session: Session, settings: Settings, rows: Sequence[Delivery]) -> None:
    """The destination need not commit any more (or is gone): what it has stored counts as it is."""
    for row in rows:
        row.next_try = None
        if archive_named(settings, row.destination) is None:
            _give_up(row, "this destination is not configured")
        session.add(row)
    session.flush()
    settle_study(session, rows[0].study_key, settings)


def _give_up(row: Delivery, why: str) -> None:
    row.state, row.next_try, row.last_error = DeliveryState.FAILED, None, why[:500]


def _forget_unanswered(session: Session, group: _Group) -> None:
    for commitment in session.exec(_transactions(group).where(Commitment.state == CommitmentState.ASKED)).all():
        commitment.state = CommitmentState.UNANSWERED
        session.add(commitment)


def _times_asked(session: Session, group: _Group) -> int:
    count = select(func.count()).select_from(_transactions(group).subquery())
    return max(1, int(session.exec(count).one()))


def _transactions(group: _Group):  # type: ignore[no-untyped-def]  # sqlmodel's statement types are not public
    destination, study_key, revision = group
    return select(Commitment).where(
        Commitment.study_key == study_key, Commitment.revision == revision, Commitment.destination == destination
    )


def _of_group(session: Session, group: _Group) -> Sequence[Delivery]:
    destination, study_key, revision = group
    rows = select(Delivery).where(
        Delivery.study_key == study_key, Delivery.revision == revision, Delivery.destination == destination
    )
    return session.exec(rows.with_for_update()).all()


def _sop_class(gateway: Gateway, row: Delivery) -> str:
    file = gateway.results.path(str(row.blob))
    meta = pydicom.dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True).file_meta
    return str(meta.MediaStorageSOPClassUID)

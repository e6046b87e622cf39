"""The courier: takes every pending delivery to its destination, waits longer after each failure, gives up in the end.

Each object on each destination is a row of its own, so one destination that is down holds up nothing else. A row is
claimed by moving its next try forward in a transaction; a courier that is killed leaves a row that is due again.
What was given up waits as a dead letter for a replay.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from itertools import groupby

import structlog
from sqlmodel import col, or_, select

from gateway import stow_client
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.delivery_progress import GIVE_UP_AFTER, archive_named, settle_study, to_be_committed, wait_after
from gateway.dimse_client import RemoteAe, StoreOutcome, store
from gateway.fhir_access import fhir_token
from gateway.object_names import FHIR_DESTINATION
from gateway.settings import DestinationKind
from gateway.tables import Delivery, DeliveryState
from timepoint_fhir.backend_services import forget_tokens
from timepoint_fhir.client import FhirClient
from timepoint_fhir.errors import FhirError, FhirRejected, FhirUnavailable

CLAIM_S = 300
UNAUTHORISED = 401
_log = structlog.get_logger()


def deliver_due(gateway: Gateway, limit: int = 50) -> int:
    """Deliver what is due now; returns how many objects were taken up."""
    rows = _claim(gateway, limit)
    for (destination, study_key), group in groupby(rows, key=lambda r: (r.destination, r.study_key)):
        batch = list(group)
        outcomes = _send_fhir(gateway, batch) if destination == FHIR_DESTINATION else _send_objects(gateway, batch)
        _settle(gateway, batch, outcomes)
        _log.info(
            "delivered" if all(o.stored for o in outcomes) else "delivery failed",
            study_key=study_key,
            destination=destination,
            objects=len(batch),
            detail=next((o.detail for o in outcomes if not o.stored), ""),
        )
    return len(rows)


def _claim(gateway: Gateway, limit: int) -> list[Delivery]:
    now = utc_now()
    due = (
        select(Delivery)
        .where(
            Delivery.state == DeliveryState.PENDING,
            or_(col(Delivery.next_try).is_(None), col(Delivery.next_try) <= now),
        )
        .order_by(col(Delivery.destination), col(Delivery.study_key), col(Delivery.id))
        .limit(limit)
    )
    with read_scope(gateway.database) as session:
        if session.exec(due).first() is None:
            return []
    with session_scope(gateway.database) as session:
        rows = list(session.exec(due.with_for_update(skip_locked=True)).all())
        for row in rows:
            row.next_try = now + dt.timedelta(seconds=CLAIM_S)
            row.attempts += 1
            session.add(row)
    return rows


def _send_objects(gateway: Gateway, rows: Sequence[Delivery]) -> list[StoreOutcome]:
    to = archive_named(gateway.settings, rows[0].destination)
    if to is None:
        return [StoreOutcome(r.sop_instance_uid, False, False, "this destination is not configured") for r in rows]
    files = [gateway.results.path(str(r.blob)) for r in rows]
    if to.kind is DestinationKind.STOW:
        return stow_client.store(to, files)
    return store(gateway.settings.dicom.ae_title, RemoteAe.of(to), files)


def _send_fhir(gateway: Gateway, rows: Sequence[Delivery]) -> list[StoreOutcome]:
    options = gateway.settings.fhir
    if not options.base_url:
        return [StoreOutcome("", False, False, "no FHIR server is configured") for _ in rows]
    outcomes = []
    try:
        token = fhir_token(options)
    except FhirError as error:
        return [StoreOutcome("", False, isinstance(error, FhirUnavailable), str(error)) for _ in rows]
    except ValueError as error:
        return [StoreOutcome("", False, False, str(error)) for _ in rows]
    with FhirClient(options.base_url, token) as client:
        for row in rows:
            try:
                references = client.post_transaction(json.loads(gateway.results.read(str(row.blob))))
            except FhirError as error:
                if isinstance(error, FhirRejected) and error.status == UNAUTHORISED:
                    forget_tokens()
                outcomes.append(StoreOutcome("", False, isinstance(error, FhirUnavailable), str(error)))
            else:
                row.detail = {"references": references}
                outcomes.append(StoreOutcome("", True, False, f"{len(references)} resources"))
    return outcomes


def _settle(gateway: Gateway, rows: Sequence[Delivery], outcomes: Sequence[StoreOutcome]) -> None:
    now = utc_now()
    with session_scope(gateway.database) as session:
        for row, outcome in zip(rows, outcomes, strict=True):
            stored = session.get(Delivery, row.id)
            if stored is None or stored.state is not DeliveryState.PENDING:
                continue
            stored.last_error = "" if outcome.stored else outcome.detail[:500]
            stored.detail = row.detail
            if outcome.stored:
                # what has to be committed stays due: `gateway.commitment` takes it from here
                commit = stored.destination in to_be_committed(gateway.settings)
                stored.state, stored.next_try = DeliveryState.DELIVERED, now if commit else None
            elif outcome.retriable and now - stored.created_at < GIVE_UP_AFTER:
                stored.next_try = now + wait_after(stored.attempts)
            else:
                stored.state, stored.next_try = DeliveryState.FAILED, None
            session.add(stored)
        session.flush()
        settle_study(session, rows[0].study_key, gateway.settings)


def replay(gateway: Gateway, study_key: str) -> int:
    """Make every delivery of a study that was given up due again; returns how many."""
    with session_scope(gateway.database) as session:
        rows = session.exec(
            select(Delivery).where(Delivery.study_key == study_key, Delivery.state == DeliveryState.FAILED)
        ).all()
        for row in rows:
            row.state, row.next_try, row.created_at = DeliveryState.PENDING, None, utc_now()
            session.add(row)
    return len(rows)

"""A gateway with an encoded study whose two objects wait to be delivered."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pydicom.data
from gateway_receive.node import Node
from sqlmodel import select

from gateway.column_types import utc_now
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.settings import Settings
from gateway.tables import Delivery, DeliveryState, Study, StudyState

STUDY_KEY = "s1"
UIDS = ("2.25.101", "2.25.102")


def small_image(uid: str) -> pydicom.Dataset:
    """pydicom's small MR image under a SOP Instance UID of ours."""
    image = pydicom.dcmread(str(pydicom.data.get_testdata_file("MR_small.dcm")))
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    return image


@contextmanager
def gateway_with_deliveries(settings: Settings) -> Iterator[Gateway]:
    """Open a gateway and queue the two objects for each of its destinations."""
    gateway = open_gateway(settings)
    with session_scope(gateway.database) as session:
        session.add(Study(study_key=STUDY_KEY, study_instance_uid="2.25.1", state=StudyState.ENCODED, revision=1))
        session.flush()
        for destination in settings.destinations:
            for uid in UIDS:
                _queue(gateway, session, destination.name, uid)
    try:
        yield gateway
    finally:
        gateway.database.dispose()


def _queue(gateway: Gateway, session, destination: str, uid: str) -> None:  # type: ignore[no-untyped-def]
    buffer = io.BytesIO()
    small_image(uid).save_as(buffer, enforce_file_format=True)
    row = Delivery(study_key=STUDY_KEY, revision=1, destination=destination, object_name=uid, sop_instance_uid=uid)
    row.blob = gateway.results.put(buffer.getvalue())
    session.add(row)


def as_node(gateway: Gateway) -> Node:
    """The receiving side of the same gateway."""
    return Node(gateway.settings, gateway.database, gateway.received)


def rows(gateway: Gateway) -> dict[str, Delivery]:
    with read_scope(gateway.database) as session:
        return {row.sop_instance_uid: row for row in session.exec(select(Delivery)).all()}


def states(gateway: Gateway) -> list[DeliveryState]:
    return [row.state for _, row in sorted(rows(gateway).items())]


def study_state(gateway: Gateway) -> StudyState:
    with read_scope(gateway.database) as session:
        return session.get_one(Study, STUDY_KEY).state


def make_due(gateway: Gateway) -> None:
    """Let the time run out that deliveries wait for."""
    with session_scope(gateway.database) as session:
        for row in session.exec(select(Delivery)).all():
            if row.next_try is not None:
                row.next_try = utc_now()
                session.add(row)


def listing(folder: Path) -> Settings:
    return Settings(data_dir=folder)

"""Deliveries: each object to each destination on its own, again when it failed, given up at last, replayed by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from peers.ports import free_port
from sqlmodel import select

from gateway.column_types import utc_now
from gateway.context import Gateway, open_gateway
from gateway.courier import deliver_due, replay
from gateway.database import read_scope, session_scope
from gateway.delivery_progress import GIVE_UP_AFTER
from gateway.settings import Destination, Settings
from gateway.tables import Delivery, DeliveryState, Study, StudyState
from timepoint.small_pacs import running_small_pacs

# pynetdicom leaves its socket unclosed where a connection is refused, which is what these tests provoke.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with two destinations on ports where nobody listens yet."""
    destinations = tuple(Destination(name=n, host="127.0.0.1", port=free_port(), ae_title="PACS") for n in ("a", "b"))
    opened = open_gateway(Settings(data_dir=tmp_path / "data", destinations=destinations))
    _queue(opened)
    yield opened
    opened.database.dispose()


def _queue(gateway: Gateway) -> None:
    file = Path(str(pydicom.data.get_testdata_file("MR_small.dcm")))
    uid = str(pydicom.dcmread(file).SOPInstanceUID)
    blob = gateway.results.put(file.read_bytes())
    with session_scope(gateway.database) as session:
        session.add(Study(study_key="s1", study_instance_uid="2.25.1", state=StudyState.ENCODED, revision=1))
        session.flush()
        for destination in ("a", "b"):
            session.add(
                Delivery(
                    study_key="s1",
                    revision=1,
                    destination=destination,
                    object_name="seg",
                    sop_instance_uid=uid,
                    blob=blob,
                )
            )


def _rows(gateway: Gateway) -> dict[str, Delivery]:
    with read_scope(gateway.database) as session:
        return {row.destination: row for row in session.exec(select(Delivery)).all()}


def _state(gateway: Gateway) -> StudyState:
    with read_scope(gateway.database) as session:
        return session.get_one(Study, "s1").state


def _make_due(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        for row in session.exec(select(Delivery)).all():
            row.next_try = utc_now()
            session.add(row)


def test_a_destination_that_is_down_holds_up_no_other(gateway: Gateway, tmp_path: Path) -> None:
    port = gateway.settings.destinations[0].port
    with running_small_pacs(tmp_path / "pacs", "PACS", port) as pacs:
        deliver_due(gateway)
        assert len(list(pacs.folder.glob("*.dcm"))) == 1
    rows = _rows(gateway)
    assert rows["a"].state is DeliveryState.DELIVERED
    assert rows["b"].state is DeliveryState.PENDING
    assert "connection failed" in rows["b"].last_error
    assert _state(gateway) is StudyState.ENCODED


def test_it_is_tried_again_later_each_time_and_then_the_study_is_published(gateway: Gateway, tmp_path: Path) -> None:
    waits = []
    for _ in range(3):
        _make_due(gateway)
        before = utc_now()
        deliver_due(gateway)
        due = _rows(gateway)["b"].next_try
        assert due is not None
        waits.append((due - before).total_seconds())
    assert waits == sorted(waits) and waits[-1] > 3 * waits[0]
    ports = [d.port for d in gateway.settings.destinations]
    with running_small_pacs(tmp_path / "a", "PACS", ports[0]), running_small_pacs(tmp_path / "b", "PACS", ports[1]):
        _make_due(gateway)
        deliver_due(gateway)
    assert {row.state for row in _rows(gateway).values()} == {DeliveryState.DELIVERED}
    assert _state(gateway) is StudyState.PUBLISHED


def test_nothing_is_sent_before_it_is_due(gateway: Gateway) -> None:
    deliver_due(gateway)
    assert deliver_due(gateway) == 0


def test_what_is_given_up_waits_for_a_replay(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        for row in session.exec(select(Delivery)).all():
            row.created_at = utc_now() - GIVE_UP_AFTER - dt.timedelta(minutes=1)
            session.add(row)
    deliver_due(gateway)
    assert {row.state for row in _rows(gateway).values()} == {DeliveryState.FAILED}
    assert replay(gateway, "s1") == 2
    assert {row.state for row in _rows(gateway).values()} == {DeliveryState.PENDING}
    assert deliver_due(gateway) == 2


def test_a_destination_taken_out_of_the_configuration_is_said_to_be(gateway: Gateway, tmp_path: Path) -> None:
    without = open_gateway(Settings(data_dir=gateway.settings.data_dir))
    deliver_due(without)
    without.database.dispose()
    assert {row.last_error for row in _rows(gateway).values()} == {"this destination is not configured"}

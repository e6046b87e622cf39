"""What the reports of an archive do to deliveries: reasons, strange senders, no service, a report on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gateway_archive.deliveries import UIDS, gateway_with_deliveries, make_due, rows, states, study_state
from gateway_receive.node import wait_until
from peers.ports import free_port
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from sqlmodel import select

from gateway.archive_tables import Commitment, CommitmentState
from gateway.commitment import INVALID_ARGUMENT, SUCCESS, ask_for_commitment, take_report
from gateway.context import Gateway
from gateway.courier import deliver_due, replay
from gateway.database import read_scope
from gateway.settings import Settings
from gateway.tables import DeliveryState, StudyState

Failures = dict[str, int]


@contextmanager
def an_archive(port: int, reply: Callable[[Dataset], Dataset | None], offers_commitment: bool = True) -> Iterator[None]:
    """An archive that stores all and reports on the association of the request what `reply` makes of it."""
    ae = AE("ARCHIVE")
    ae.add_supported_context(MRImageStorage)
    if offers_commitment:
        ae.add_supported_context(StorageCommitmentPushModel)

    def report(event: evt.Event) -> None:
        information = reply(event.action_information)
        if information is not None:
            kind = 2 if "FailedSOPSequence" in information else 1
            event.assoc.send_n_event_report(
                information, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )

    def act(event: evt.Event) -> tuple[int, Dataset | None]:
        import threading

        threading.Timer(0.05, report, [event]).start()  # the response to the request goes out first
        return 0x0000, None

    handlers: list[Any] = [(evt.EVT_C_STORE, lambda event: 0x0000), (evt.EVT_N_ACTION, act)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield
    finally:
        server.shutdown()


def _report(request: Dataset, failed: Failures | None = None) -> Dataset:
    report = Dataset()
    report.TransactionUID = request.TransactionUID
    asked = [(str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID)) for i in request.ReferencedSOPSequence]
    report.ReferencedSOPSequence = [_item(*i) for i in asked if i[1] not in (failed or {})]
    if failed:
        report.FailedSOPSequence = [_item(*i, failed[i[1]]) for i in asked if i[1] in failed]
    return report


def _item(sop_class: str, uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        item.FailureReason = reason
    return item


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    destination = {
        "name": "pacs", "host": "127.0.0.1", "port": free_port(), "ae_title": "ARCHIVE", "commitment": "required",
    }  # fmt: skip
    with gateway_with_deliveries(Settings(data_dir=tmp_path / "data", destinations=(destination,))) as opened:
        yield opened


def _port(gateway: Gateway) -> int:
    return gateway.settings.destinations[0].port


def _transactions(gateway: Gateway) -> list[Commitment]:
    with read_scope(gateway.database) as session:
        return list(session.exec(select(Commitment)).all())


def test_a_report_on_the_same_association_counts(gateway: Gateway) -> None:
    with an_archive(_port(gateway), _report):
        deliver_due(gateway)
        ask_for_commitment(gateway)
    assert states(gateway) == [DeliveryState.COMMITTED] * 2
    assert study_state(gateway) is StudyState.PUBLISHED


def test_the_reason_decides_what_follows_for_each_instance(gateway: Gateway) -> None:
    failures = {UIDS[0]: 0x0122, UIDS[1]: 0x0213}
    with an_archive(_port(gateway), lambda request: _report(request, failures)):
        deliver_due(gateway)
        ask_for_commitment(gateway)
    first, second = rows(gateway)[UIDS[0]], rows(gateway)[UIDS[1]]
    assert first.state is DeliveryState.FAILED, "trying again cannot help"
    assert "SOP class not supported (0x0122)" in first.last_error
    assert second.state is DeliveryState.DELIVERED and second.next_try is not None, "it is asked for again"
    assert "resource limitation (0x0213)" in second.last_error
    assert study_state(gateway) is StudyState.ENCODED
    assert _transactions(gateway)[0].detail["failed"] == {UIDS[0]: "0x0122", UIDS[1]: "0x0213"}
    # a person replays the dead letter once the archive takes the class
    assert replay(gateway, "s1") == 1
    with an_archive(_port(gateway), _report):
        deliver_due(gateway)
        make_due(gateway)
        ask_for_commitment(gateway)
    assert states(gateway) == [DeliveryState.COMMITTED] * 2
    assert study_state(gateway) is StudyState.PUBLISHED


def test_an_archive_without_the_service_is_a_dead_letter_with_the_reason(gateway: Gateway) -> None:
    with an_archive(_port(gateway), _report, offers_commitment=False):
        deliver_due(gateway)
        ask_for_commitment(gateway)
    assert states(gateway) == [DeliveryState.FAILED] * 2
    assert "accepts none of these SOP classes" in rows(gateway)[UIDS[0]].last_error
    assert study_state(gateway) is StudyState.ENCODED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_archive_that_is_down_is_asked_later(gateway: Gateway) -> None:
    with an_archive(_port(gateway), _report):
        deliver_due(gateway)
    ask_for_commitment(gateway)
    assert states(gateway) == [DeliveryState.DELIVERED] * 2
    assert ask_for_commitment(gateway) == 0, "not before its time"
    assert _transactions(gateway)[0].state is CommitmentState.REFUSED
    with an_archive(_port(gateway), _report):
        make_due(gateway)
        ask_for_commitment(gateway)
    assert states(gateway) == [DeliveryState.COMMITTED] * 2


def test_a_report_counts_only_from_where_the_request_went(gateway: Gateway) -> None:
    requests: list[Dataset] = []
    with an_archive(_port(gateway), lambda request: requests.append(request)):  # type: ignore[func-returns-value]
        deliver_due(gateway)
        ask_for_commitment(gateway)
        wait_until(lambda: len(requests) == 1)
    report = _report(requests[0])
    assert take_report(gateway.database, gateway.settings, ["another"], report) == INVALID_ARGUMENT
    assert states(gateway) == [DeliveryState.DELIVERED] * 2
    unknown = _report(requests[0])
    unknown.TransactionUID = "2.25.999"
    assert take_report(gateway.database, gateway.settings, ["pacs"], unknown) == INVALID_ARGUMENT
    assert take_report(gateway.database, gateway.settings, ["pacs"], Dataset()) == INVALID_ARGUMENT
    assert take_report(gateway.database, gateway.settings, ["pacs"], report) == SUCCESS
    assert take_report(gateway.database, gateway.settings, ["pacs"], report) == SUCCESS, "twice is the same as once"
    assert states(gateway) == [DeliveryState.COMMITTED] * 2


def test_an_old_transactions_failure_does_not_undo_the_new_question(gateway: Gateway) -> None:
    requests: list[Dataset] = []
    with an_archive(_port(gateway), lambda request: requests.append(request)):  # type: ignore[func-returns-value]
        deliver_due(gateway)
        ask_for_commitment(gateway)
        make_due(gateway)
        ask_for_commitment(gateway)
        wait_until(lambda: len(requests) == 2)
    late = _report(requests[0], {UIDS[0]: 0x0122})
    assert take_report(gateway.database, gateway.settings, ["pacs"], late) == SUCCESS
    assert states(gateway) == [DeliveryState.DELIVERED, DeliveryState.COMMITTED]


def test_no_commitment_is_asked_of_a_destination_that_need_not(gateway: Gateway) -> None:
    with an_archive(_port(gateway), _report):
        deliver_due(gateway)
    waived = tuple(d.model_copy(update={"commitment": "waived"}) for d in gateway.settings.destinations)
    relaxed = Gateway(
        gateway.settings.model_copy(update={"destinations": waived}),
        gateway.database,
        gateway.received,
        gateway.results,
    )
    assert ask_for_commitment(relaxed) == 0
    assert states(gateway) == [DeliveryState.DELIVERED] * 2
    assert study_state(gateway) is StudyState.PUBLISHED, "what waited for a commitment is let go"

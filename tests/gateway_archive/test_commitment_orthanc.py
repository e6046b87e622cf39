"""Storage commitment with a real archive: Orthanc reports on a second association, to our receiving node."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_archive.deliveries import (
    UIDS,
    as_node,
    gateway_with_deliveries,
    make_due,
    rows,
    small_image,
    states,
    study_state,
)
from gateway_receive.node import wait_until
from gateway_receive.senders import associate
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.sop_class import StorageCommitmentPushModel

from gateway.archive_tables import Commitment, CommitmentState
from gateway.commitment import ask_for_commitment
from gateway.courier import deliver_due
from gateway.settings import Settings
from gateway.tables import DeliveryState, StudyState

pytestmark = pytest.mark.peer


def _settings(folder: Path, archive_port: int, ae_title: str = "ORTHANC") -> Settings:
    destination = {
        "name": "pacs", "host": "127.0.0.1", "port": archive_port, "ae_title": ae_title, "commitment": "required",
    }  # fmt: skip
    return Settings(data_dir=folder, dicom={"port": free_port()}, destinations=(destination,))


def _delete(pacs: Orthanc, uid: str) -> None:
    import urllib.request

    (found,) = pacs.find("Instance", {"SOPInstanceUID": uid})
    request = urllib.request.Request(f"{pacs.base_url}/instances/{found['ID']}", method="DELETE")
    with urllib.request.urlopen(request, timeout=30):
        pass


def test_a_delivery_is_done_when_the_archive_has_committed_it(tmp_path: Path) -> None:
    port = free_port()
    with gateway_with_deliveries(_settings(tmp_path / "data", port)) as gateway:
        node = as_node(gateway)
        with node.listening() as scp, running_orthanc(scp.port, dicom_port=port, route=False):
            assert ask_for_commitment(gateway) == 0, "nothing is stored yet"
            deliver_due(gateway)
            assert states(gateway) == [DeliveryState.DELIVERED] * 2
            assert study_state(gateway) is StudyState.ENCODED, "stored is not yet committed"
            assert ask_for_commitment(gateway) == 1
            wait_until(lambda: states(gateway) == [DeliveryState.COMMITTED] * 2)
            assert ask_for_commitment(gateway) == 0
        (transaction,) = node.rows(Commitment)
        assert transaction.state is CommitmentState.ANSWERED
        assert transaction.detail == {"committed": 2, "failed": {}}
        assert study_state(gateway) is StudyState.PUBLISHED


def test_an_instance_that_the_archive_lost_is_sent_once_more(tmp_path: Path) -> None:
    port = free_port()
    with gateway_with_deliveries(_settings(tmp_path / "data", port)) as gateway:
        node = as_node(gateway)
        with node.listening() as scp, running_orthanc(scp.port, dicom_port=port, route=False) as pacs:
            deliver_due(gateway)
            _delete(pacs, UIDS[0])
            ask_for_commitment(gateway)
            wait_until(lambda: states(gateway) == [DeliveryState.PENDING, DeliveryState.COMMITTED])
            assert "no such instance (0x0112)" in rows(gateway)[UIDS[0]].last_error
            assert study_state(gateway) is StudyState.ENCODED
            make_due(gateway)
            deliver_due(gateway)
            ask_for_commitment(gateway)
            wait_until(lambda: states(gateway) == [DeliveryState.COMMITTED] * 2)
            assert len(pacs.find("Instance", {})) == 2
        assert [sorted(t.instances) for t in sorted(node.rows(Commitment), key=lambda t: t.asked_at)] == [
            list(UIDS),
            [UIDS[0]],
        ]


def test_a_report_that_found_nobody_is_asked_for_again(tmp_path: Path) -> None:
    port = free_port()
    with gateway_with_deliveries(_settings(tmp_path / "data", port)) as gateway:
        node = as_node(gateway)
        # the archive accepts the request while our receiver is down: its report is lost
        with running_orthanc(gateway.settings.dicom.port, dicom_port=port, route=False) as pacs:
            deliver_due(gateway)
            assert ask_for_commitment(gateway) == 1
            pacs.wait_until(lambda: all(j["State"] in ("Success", "Failure") for j in pacs.jobs()))
            assert states(gateway) == [DeliveryState.DELIVERED] * 2
            assert ask_for_commitment(gateway) == 0, "it is given its time"
            with node.listening():
                make_due(gateway)
                assert ask_for_commitment(gateway) == 1
                wait_until(lambda: states(gateway) == [DeliveryState.COMMITTED] * 2)
        by_state = {t.state for t in node.rows(Commitment)}
        assert by_state == {CommitmentState.UNANSWERED, CommitmentState.ANSWERED}
        assert len({t.transaction_uid for t in node.rows(Commitment)}) == 2


def test_reports_are_taken_from_the_destination_alone(tmp_path: Path) -> None:
    with (
        gateway_with_deliveries(_settings(tmp_path / "data", free_port())) as gateway,
        as_node(gateway).listening() as scp,
    ):
        wanted = [
            (StorageCommitmentPushModel, ExplicitVRLittleEndian),
            (small_image("2.25.9").SOPClassUID, ExplicitVRLittleEndian),
        ]
        association = associate(scp.port, wanted, calling="STRANGER")
        offered = {str(c.abstract_syntax) for c in association.accepted_contexts}
        association.release()
        assert offered == {str(wanted[1][0])}
        association = associate(scp.port, wanted, calling="ORTHANC")
        offered = {str(c.abstract_syntax) for c in association.accepted_contexts}
        association.release()
        assert offered == {str(wanted[0][0]), str(wanted[1][0])}

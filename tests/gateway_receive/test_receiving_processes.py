"""Associations shared out among processes: one index, one limit, and a process that dies takes nothing with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from gateway_receive.mr_images import encoded, mr_image, mr_study
from gateway_receive.node import Node, make_node, wait_until
from gateway_receive.senders import associate, send
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from gateway.associations import new_carrier
from gateway.inbox import Inbox
from gateway.part10 import EncodedInstance
from gateway.process_tables import OpenAssociation
from gateway.tables import Instance, Study
from tools.fuzzing.ledger import rss_kb
from tools.fuzzing.receiver_under_test import Client

STUDY = "1.2.826.0.1.3680043.10.21"
CONTEXTS = [(MRImageStorage, ExplicitVRLittleEndian)]


@pytest.fixture
def shared(tmp_path: Path) -> Node:
    return make_node(tmp_path / "data", dicom={"processes": 2, "max_associations": 3})


def children(of: int = 0) -> set[int]:
    """Receiving processes of a process, or of this one."""
    parent = of or os.getpid()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent and b"gateway.receive_process" in command:
            found.add(int(folder.name))
    return found


def is_running(pid: int) -> bool:
    try:
        return b"gateway.receive_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_one_study_over_all_processes_and_one_limit(shared: Node) -> None:
    images = mr_study(STUDY)
    with shared.listening() as scp:
        opened = [associate(scp.port, CONTEXTS) for _ in range(3)]
        for order, image in enumerate(images):
            assert opened[order % 3].send_c_store(image).Status == 0
        one_more = associate(scp.port, CONTEXTS)
        assert one_more.is_rejected
        assert one_more.acceptor.primitive is not None
        assert one_more.acceptor.primitive.result == 2  # transient: the sender tries again
        for association in opened:
            association.release()
        wait_until(lambda: scp.open_associations == 0)
        wait_until(lambda: not shared.rows(OpenAssociation))
    assert shared.study().instance_count == 20
    assert children() == set()


def test_a_process_that_is_killed_is_replaced_and_its_association_broke_off(shared: Node) -> None:
    images = mr_study(STUDY)
    with shared.listening() as scp:
        first, second = associate(scp.port, CONTEXTS), associate(scp.port, CONTEXTS)
        assert first.send_c_store(images[0]).Status == second.send_c_store(images[1]).Status == 0
        before = children()
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: first.is_aborted or second.is_aborted)
        wait_until(lambda: len([r for r in shared.rows(OpenAssociation) if r.broke_at]) == 1)
        wait_until(lambda: len(children()) == 2 and children() != before)
        assert send(scp.port, images[2:]) == [0] * 18
        for association in (first, second):
            if association.is_established:
                association.release()
    assert len(shared.rows(Instance)) == 20


def test_processes_refuse_while_the_index_stands_still(shared: Node) -> None:
    image = mr_image(study=STUDY, series=STUDY, number=1)
    with shared.listening() as scp:
        association = associate(scp.port, CONTEXTS)
        assert scp._pool is not None
        scp._pool.announce(True)
        wait_until(lambda: association.send_c_store(image).Status == 0xA700)
        scp._pool.announce(False)
        wait_until(lambda: association.send_c_store(image).Status == 0)
        association.release()
    assert len(shared.rows(Study)) == 1


def test_what_a_dead_process_left_is_indexed_while_others_go_on_sending(node: Node) -> None:
    """Its sender was told success: however busy the receiver is, no study may be closed without it."""
    left, *others = mr_study(STUDY)
    with node.listening() as scp:
        owner = Inbox(node.received.folder, 0)
        header = EncodedInstance(left.SOPClassUID, left.SOPInstanceUID, ExplicitVRLittleEndian, "PACS", b"")
        owner.put(new_carrier("PACS").key, [header.file_header(), encoded(left)], sync=True)
        os.close(owner._lock)  # as the kernel does at the end of a process

        def found() -> bool:
            assert send(scp.port, [others[0]]) == [0]
            return left.SOPInstanceUID in {row.sop_instance_uid for row in node.rows(Instance)}

        wait_until(found)


def test_ended_associations_leave_no_memory_behind(tmp_path: Path) -> None:
    node, content = make_node(tmp_path / "data", dicom={"processes": 1}), encoded(mr_study(STUDY)[0])
    with node.listening() as scp:
        (serving,) = children()

        def serve(associations: int) -> int:
            for number in range(associations):
                with Client(scp.port) as client:
                    client.associate()
                    client.store(number, "1.2.3", content, 16000)
            wait_until(lambda: scp.open_associations == 0)
            return rss_kb(serving)

        # What ended is collected now and then: the level falls again and again, and its lowest points do not rise.
        levels = [serve(70) for _ in range(6)]
        assert min(levels[3:]) - min(levels[:3]) < 16 * 1024

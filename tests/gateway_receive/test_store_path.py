"""The C-STORE path of our own: byte for byte what was sent, whatever the fragments, and nothing of what broke off."""

from __future__ import annotations

import datetime as dt
import random
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gateway_receive.mr_images import encoded, mr_image, mr_series, mr_study, write
from gateway_receive.node import Node, make_node, wait_until
from gateway_receive.raw_scu import ABORT, COMMAND, DATA, LAST, RawScu, send_all
from gateway_receive.senders import associate, storescu
from gateway_receive.test_receiving_processes import children
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.column_types import utc_now
from gateway.completion import close_due_studies
from gateway.disk_sync import sync_files
from gateway.part10 import read_part10
from gateway.process_tables import OpenAssociation
from gateway.settings import Durability
from gateway.tables import Instance, Outbox, Quarantine, QuarantineKind
from longitudinal.types import Contrast

STUDY = "1.2.826.0.1.3680043.10.31"


def stored(node: Node) -> dict[str, bytes]:
    return {r.sop_instance_uid: read_part10(node.received.read(r.blob)).dataset for r in node.rows(Instance)}  # type: ignore[misc]


def large_image(number: int, size: int = 512) -> tuple[str, bytes]:
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=number, size=size)
    return str(image.SOPInstanceUID), encoded(image)


@pytest.mark.peer
@pytest.mark.parametrize("pdu", [16384, 131072])
@pytest.mark.parametrize("associations", [1, 8])
def test_what_dcmtk_sends_is_stored_byte_for_byte(node: Node, tmp_path: Path, pdu: int, associations: int) -> None:
    images = [mr_image(study=STUDY, series=f"{STUDY}.1", number=n, size=256) for n in range(1, 17)]
    files = write(tmp_path / "out", images)
    groups = [files[i::associations] for i in range(associations)]
    with node.listening() as scp, ThreadPoolExecutor(associations) as pool:
        results = pool.map(lambda group: storescu(scp.port, group, "-pdu", str(pdu)), groups)
        assert [code for code, _ in results] == [0] * associations
    assert stored(node) == {str(i.SOPInstanceUID): encoded(i) for i in images}


@pytest.mark.parametrize("fragment", [1, 7, 100, 16378, 131066])
def test_commands_and_data_sets_in_fragments_of_any_size(node: Node, fragment: int) -> None:
    uid, content = large_image(1, 16)
    with node.listening() as scp:
        scu = RawScu(scp.port)
        command = scu.command(uid)
        pieces = [command[at : at + fragment] for at in range(0, len(command), fragment)]
        for piece in pieces[:-1]:
            scu.send((COMMAND, piece))
        # the end of the command and the beginning of the data set share a PDU
        data = list(scu.fragments(content, max(fragment, 64)))
        scu.send((COMMAND | LAST, pieces[-1]), *data[:2])
        for value in data[2:]:
            scu.send(value)
        assert scu.status() == 0
        scu.release()
    assert stored(node) == {uid: content}


def test_a_data_set_that_comes_byte_by_byte_over_the_network(node: Node) -> None:
    uid, content = large_image(1, 16)
    with node.listening() as scp:
        scu = RawScu(scp.port)
        sent: list[bytes] = []
        real, scu.connection = scu.connection, Recorder(sent)  # type: ignore[assignment]
        scu.send((COMMAND | LAST, scu.command(uid)))
        scu.send((DATA | LAST, content))
        scu.connection = real
        whole = b"".join(sent)
        for at in range(0, len(whole), 97):
            real.sendall(whole[at : at + 97])
            time.sleep(0.001)  # each piece is a segment of its own
        assert scu.status() == 0
        scu.release()
    assert stored(node) == {uid: content}


class Recorder:
    def __init__(self, sent: list[bytes]) -> None:
        self.sendall = sent.append


def test_echo_between_the_instances_of_an_association(node: Node) -> None:
    images = mr_series(STUDY, Contrast.T1C, 4)
    with node.listening() as scp:
        contexts = [(MRImageStorage, ExplicitVRLittleEndian), (Verification, ExplicitVRLittleEndian)]
        association = associate(scp.port, contexts)
        for image in images:
            assert association.send_c_store(image).Status == 0
            assert association.send_c_echo().Status == 0
        association.release()
    assert len(node.rows(Instance)) == 4


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize("size", [256, 3000])
def test_of_a_data_set_that_breaks_off_nothing_is_stored(node: Node, how: str, size: int) -> None:
    """3000 x 3000 pixels are 18 MB: part of them is in a file already when the connection ends."""
    uid, content = large_image(1, size)
    with node.listening() as scp:
        scu = RawScu(scp.port)
        scu.send((COMMAND | LAST, scu.command(uid)))
        for control, piece in list(scu.fragments(content, 131066))[:-1]:
            scu.send((control, piece))
        if how == "abort":
            scu.connection.sendall(ABORT)
        scu.close()
        wait_until(lambda: scp.open_associations == 0)
        assert node.rows(Instance) == []
        assert list((node.received.folder / "inbox").glob("*/*")) == []
        assert send_all(scp.port, [(uid, content)]) == [0]
    assert stored(node) == {uid: content}


def test_a_huge_object_is_streamed_in_bounded_memory(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data", dicom={"processes": 1})
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1, size=256)
    image.SOPClassUID = EnhancedMRImageStorage
    image.NumberOfFrames = 800
    image.PixelData = bytes(bytearray(range(256)) * (256 * 2 * 800))
    content = encoded(image)
    assert len(content) > 100 * 2**20
    with node.listening() as scp:
        warm = large_image(2, 16)
        assert send_all(scp.port, [warm]) == [0]
        (pid,) = children()
        before = peak_mb(pid)
        scu = RawScu(scp.port, EnhancedMRImageStorage)
        assert scu.store(str(image.SOPInstanceUID), content, 131066) == 0
        scu.release()
        assert peak_mb(pid) - before < 24
        node.settle()
    assert stored(node)[str(image.SOPInstanceUID)] == content


def peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def test_the_response_keeps_to_the_longest_pdu_of_the_peer(node: Node) -> None:
    uid, content = large_image(1, 16)
    with node.listening() as scp:
        scu = RawScu(scp.port, max_pdu=64)
        scu.send((COMMAND | LAST, scu.command(uid)))
        scu.send((DATA | LAST, content))
        kind, body = scu.pdu()
        assert (kind, len(body) <= 64) == (4, True)
        assert scu.status() == 0  # in the fragments that follow
        scu.release()


def test_bad_order_ends_the_association_and_nothing_else(node: Node) -> None:
    uid, content = large_image(1, 16)
    with node.listening() as scp:
        for attempt in range(6):
            scu = RawScu(scp.port)
            command = scu.command(uid)
            if attempt == 0:
                scu.send((DATA | LAST, content))
            elif attempt == 1:
                scu.send((COMMAND | LAST, command), (COMMAND | LAST, command))
            elif attempt == 2:
                scu.send((COMMAND | LAST, command), context_id=3)
            elif attempt == 3:
                scu.send((COMMAND | LAST, command[:-3]))
            elif attempt == 4:
                scu.connection.sendall(b"\4\0\x7f\xff\xff\xff")  # a PDU of 2 GB
            else:
                scu.connection.sendall(b"\4\0\0\0\0\x08\0\0\xff\xff\1\3ab")  # longer inside than outside
            assert scu.pdu()[0] in (0, 7)  # A-ABORT, unless the connection went first
            scu.close()
        assert send_all(scp.port, [(uid, content)]) == [0]
    assert list(stored(node)) == [uid]
    assert node.rows(OpenAssociation) == []


def test_a_request_without_a_data_set_is_answered(node: Node) -> None:
    with node.listening() as scp:
        scu = RawScu(scp.port)
        scu.send((COMMAND | LAST, scu.command("1.2.3", data_set=0x0101)))
        assert scu.status() == 0xC000
        scu.send((COMMAND | LAST, scu.command("1.2.3")), (DATA | LAST, b""))
        assert scu.status() == 0xC000
        assert scu.store(*large_image(1, 16)) == 0
        scu.release()
    assert len(node.rows(Instance)) == 1


def test_a_request_for_another_class_than_its_context_is_answered_and_kept(node: Node) -> None:
    uid, content = large_image(1, 16)
    with node.listening() as scp:
        scu = RawScu(scp.port)
        scu._sop_class = EnhancedMRImageStorage
        assert scu.store(uid, content) == 0xA900
        scu.release()
    (item,) = node.rows(Quarantine)
    assert item.kind is QuarantineKind.CLASS_MISMATCH


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("associations", [1, 4, 512])
def test_512_instances_shuffled_and_twice_are_one_study_and_one_job(
    tmp_path: Path, associations: int, processes: int
) -> None:
    node = make_node(tmp_path / "data", dicom={"processes": processes})
    images = [(str(i.SOPInstanceUID), encoded(i)) for i in mr_study(STUDY, slices=128)]
    assert len(images) == 512
    twice = [*images, *images[::2]]
    random.Random(17).shuffle(twice)
    groups = [twice[i::associations] for i in range(associations)]
    with node.listening() as scp, ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda group: send_all(scp.port, group), groups))
        assert {status for group in statuses for status in group} == {0}
        wait_until(lambda: scp.open_associations == 0)
        assert node.study().instance_count == 512
        quiet = utc_now() + dt.timedelta(seconds=node.settings.study.quiet_s + 1)
        for _ in range(3):
            close_due_studies(node.database, node.settings, quiet)
    assert node.study().revision == 1
    assert [job.payload["revision"] for job in node.rows(Outbox)] == [1]
    assert stored(node) == dict(images)
    assert len(list(node.received.keys())) == 512
    assert node.rows(Quarantine) == []
    assert node.rows(OpenAssociation) == []


@pytest.mark.parametrize("count", [5, 20])
def test_files_are_on_disk_before_the_release_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """With durability `association`; `instance` syncs each before its response."""
    synced: list[str] = []
    lock = threading.Lock()

    def noting(paths: Sequence[str]) -> None:
        sync_files(paths)
        with lock:
            synced.extend(paths)

    monkeypatch.setattr("gateway.inbox.sync_files", noting)
    node = make_node(tmp_path / "data", dicom={"durability": Durability.ASSOCIATION})
    images = [large_image(n, 16) for n in range(1, count + 1)]
    with node.listening() as scp:
        assert send_all(scp.port, images) == [0] * count
        assert len({p for p in synced if ".n" in p}) == count
    assert stored(node) == dict(images)

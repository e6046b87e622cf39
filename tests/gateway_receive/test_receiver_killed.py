"""The receiver is killed while images come in: what it acknowledged is there, and every study has its timer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_receive.mr_images import mr_study
from gateway_receive.node import Node, make_node, wait_until
from gateway_receive.senders import associate
from gateway_receive.test_receiving_processes import children, is_running
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from sqlalchemy import text

from gateway.database import session_scope
from gateway.part10 import read_part10
from gateway.receiver import rebuild_index
from gateway.tables import Instance, Quarantine, Study

PROGRAM = Path(__file__).with_name("receiver_process.py")
ROOT = Path(__file__).resolve().parents[2]
SEED = 20260301


@contextmanager
def receiver(node: Node, processes: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    url = node.database.url.render_as_string(hide_password=False)
    command = [sys.executable, str(PROGRAM), str(node.settings.data_dir), url, "60", str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def send_until_killed(
    port: int, images: list[Dataset], acknowledged: set[str], reached: threading.Event, at: int
) -> None:
    association = associate(port, [(MRImageStorage, ExplicitVRLittleEndian)])
    if not association.is_established:
        return
    assert association.dul.socket is not None
    connection = association.dul.socket.socket
    try:
        for image in images:
            try:
                status = association.send_c_store(image)
            except RuntimeError:  # the connection was lost between two images
                return
            if "Status" not in status or status.Status == 0xA700:  # a process may outlive its receiver for a moment
                return
            assert status.Status == 0
            acknowledged.add(str(image.SOPInstanceUID))
            if len(acknowledged) >= at:
                reached.set()
        association.release()
    finally:
        association.kill()
        assert connection is not None
        connection.close()  # pynetdicom leaves it open when the peer was killed


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("processes", [0, 2])
def test_acknowledged_is_stored_whenever_the_receiver_is_killed(node: Node, kills: int, processes: int) -> None:
    rng = random.Random(SEED)
    studies = [f"1.2.840.99.{n}" for n in range(kills)]
    images = [image for study in studies for image in mr_study(study)]
    acknowledged: set[str] = set()
    for _ in range(kills):
        rest = [i for i in images if i.SOPInstanceUID not in acknowledged]
        rng.shuffle(rest)
        reached = threading.Event()
        with receiver(node, processes) as (process, port):
            at = len(acknowledged) + rng.randint(1, 9)
            sender = threading.Thread(target=send_until_killed, args=[port, rest, acknowledged, reached, at])
            sender.start()
            assert reached.wait(60)
            served_by = children(process.pid)
            process.send_signal(signal.SIGKILL)
            sender.join(60)
            assert len(served_by) == processes
            wait_until(lambda pids=served_by: not any(map(is_running, pids)))  # type: ignore[misc]
    assert kills <= len(acknowledged) < len(images)
    with receiver(node):
        pass  # a start indexes what the last one had stored and not indexed
    rows = {i.sop_instance_uid: i for i in node.rows(Instance)}
    assert acknowledged <= rows.keys()
    for row in rows.values():
        assert read_part10(node.received.read(row.blob)).sop_instance_uid == row.sop_instance_uid
    assert all(s.due is not None for s in node.rows(Study))
    with receiver(node) as (_, port):
        send_until_killed(port, images, acknowledged, threading.Event(), 10**9)
    with receiver(node):
        pass
    assert sorted(s.instance_count for s in node.rows(Study)) == [20] * kills
    assert node.rows(Quarantine) == []
    assert len(list(node.received.keys())) == len(images)


def test_the_index_is_rebuilt_from_the_image_store(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    images = mr_study("1.2.840.99.1")
    bad = images.pop()
    del bad.PixelData
    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)], calling="SCANNER")
        statuses = [association.send_c_store(i).Status for i in [*images, bad]]
        association.release()
    assert statuses == [0] * 19 + [0xC000]
    before = {(i.sop_instance_uid, i.blob, i.dataset_sha256, i.source_ae, str(i.header)) for i in node.rows(Instance)}
    lost = make_node(tmp_path / "data", f"sqlite:///{tmp_path / 'another.db'}")
    with lost.listening() as scp:
        assert rebuild_index(scp.receiver) == 0  # the start has done it
    after = {(i.sop_instance_uid, i.blob, i.dataset_sha256, i.source_ae, str(i.header)) for i in lost.rows(Instance)}
    assert after == before
    assert [q.kind for q in lost.rows(Quarantine)] == [q.kind for q in node.rows(Quarantine)]
    assert lost.study().instance_count == 19
    assert lost.study().due is not None


def test_what_came_first_stays_first_when_the_index_is_rebuilt(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    for number in range(6):
        first, second = (mr_study(f"1.2.840.99.{number}", slices=1)[0] for _ in range(2))
        second.PixelData = bytes(reversed(second.PixelData))
        with node.listening() as scp:
            association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)])
            assert [association.send_c_store(i).Status for i in (first, second)] == [0, 0]
            association.release()
    lost = make_node(tmp_path / "data", f"sqlite:///{tmp_path / 'another.db'}")
    with lost.listening():
        pass
    assert {i.blob for i in lost.rows(Instance)} == {i.blob for i in node.rows(Instance)}
    assert {q.blob for q in lost.rows(Quarantine)} == {q.blob for q in node.rows(Quarantine)}


def test_rows_that_were_lost_in_a_power_cut_come_back_at_the_next_start(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    images = mr_study("1.2.840.99.1")
    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)])
        assert {association.send_c_store(i).Status for i in images} == {0}
        association.release()
    with session_scope(node.database) as session:
        session.connection().execute(text("DELETE FROM instance WHERE id > 12"))
    with node.listening():
        pass
    assert len(node.rows(Instance)) == 20


def test_a_damaged_object_is_found_and_told(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    key = node.received.put(b"not a DICOM file")
    with node.listening():
        pass
    (item,) = node.rows(Quarantine)
    assert (item.kind.value, item.blob) == ("unreadable", key)


def test_the_receiver_imports_nothing_heavy() -> None:
    heavy = {"torch", "monai", "highdicom", "scipy", "SimpleITK", "matplotlib", "dbos", "fastapi"}
    program = f"import sys, gateway.storage_scp; print(*sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

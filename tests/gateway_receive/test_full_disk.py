"""A disk that is full, and one that cannot sync: A700, nothing acknowledged lost, and it goes on by itself.

The disk is a real one of a few megabytes (tmpfs). Mounting needs root; anybody else runs the tests again in a user and
mount namespace of their own, and fails where the machine allows neither.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node, make_node, wait_until
from gateway_receive.senders import associate, send
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.association import Association

from gateway.part10 import read_part10
from gateway.tables import Instance, Quarantine

ROOT = Path(__file__).resolve().parents[2]
STUDY = "1.2.840.99.1"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def in_a_namespace(request: pytest.FixtureRequest, tmp_path: Path) -> bool:
    """Run the test again as root of a namespace where this is not root; true when that has been done."""
    if os.geteuid() == 0:
        return False
    again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'again'}"]
    done = subprocess.run(
        ["unshare", "-Urm", *again, request.node.nodeid], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"neither root nor a namespace of our own: {done.stdout}{done.stderr}"
    return True


def image(number: int, size: int = 256) -> Dataset:
    return mr_image(study=STUDY, series=STUDY, number=number, size=size)


def opened(port: int) -> Association:
    return associate(port, [(MRImageStorage, ExplicitVRLittleEndian)])


def send_until_refused(association: Association, first: int) -> tuple[list[Dataset], Dataset]:
    """The images that were acknowledged, and what the first other one was answered."""
    sent: list[Dataset] = []
    for number in range(first, first + 200):
        status = association.send_c_store(image(number))
        if status.Status != 0:
            return sent, status
        sent.append(image(number))
    raise AssertionError("the disk never got full")


def assert_all_stored(node: Node, sent: list[Dataset]) -> None:
    rows = {row.sop_instance_uid: row for row in node.rows(Instance)}
    assert rows.keys() == {str(i.SOPInstanceUID) for i in sent}
    for one in sent:
        assert read_part10(node.received.read(rows[one.SOPInstanceUID].blob)).dataset == encoded(one)
    assert node.rows(Quarantine) == []


@pytest.mark.parametrize("database_on_it", [False, True])
def test_a_disk_that_is_full_is_told_and_recovers(
    request: pytest.FixtureRequest, tmp_path: Path, database_on_it: bool
) -> None:
    if in_a_namespace(request, tmp_path):
        return
    with small_disk(tmp_path / "disk", 6) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2 * 2**20))
        url = "" if database_on_it else f"sqlite:///{tmp_path / 'node.db'}"
        node = make_node(disk / "data", url, storage={"min_free_mb": 0})
        with node.listening() as scp:
            association = opened(scp.port)
            sent, refused = send_until_refused(association, 1)
            assert refused.Status == 0xA700
            assert refused.ErrorComment in ("StorageFull", "DatabaseNotReady")
            assert len(sent) > 5
            ballast.unlink()
            wait_until(lambda: scp.accepts)
            assert association.send_c_store(image(900)).Status == 0
            association.release()
            assert_all_stored(node, [*sent, image(900)])
            assert not [f for f in node.received.folder.rglob("*") if f.is_file() and "inbox" in f.parts]
        node.database.dispose()


def test_below_the_watermark_images_are_refused_before_the_disk_is_full(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if in_a_namespace(request, tmp_path):
        return
    with small_disk(tmp_path / "disk", 40) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(8 * 2**20))
        storage = {"min_free_mb": 30, "url": f"file://{disk}"}
        node = make_node(tmp_path / "data", storage=storage)
        with node.listening() as scp:
            association = opened(scp.port)
            sent, refused = send_until_refused(association, 1)
            assert (refused.Status, refused.ErrorComment) == (0xA700, "StorageFull")
            assert shutil.disk_usage(disk).free > 10 * 2**20
            ballast.unlink()
            assert association.send_c_store(image(900)).Status == 0
            association.release()
            assert_all_stored(node, [*sent, image(900)])
        node.database.dispose()


def failing_fsync(real: Callable[[int], None]) -> Callable[[int], None]:
    """As a disk with a broken sector has it: only for files of the inbox, the database's own are left alone."""

    def fsync(descriptor: int) -> None:
        if "/inbox/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    return fsync


def test_an_image_that_cannot_be_synced_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = make_node(tmp_path / "data")
    with node.listening() as scp:
        association = opened(scp.port)
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", failing_fsync(os.fsync))
            refused = association.send_c_store(image(1))
            assert (refused.Status, refused.ErrorComment) == (0xA700, "StorageBroken")
        assert node.rows(Instance) == []
        assert association.send_c_store(image(1)).Status == 0
        association.release()
        assert_all_stored(node, [image(1)])


def test_a_release_is_not_answered_for_images_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(tmp_path / "data", dicom={"durability": "association"})
    with node.listening() as scp:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", failing_fsync(os.fsync))
            association = opened(scp.port)
            assert association.send_c_store(image(1)).Status == 0
            association.release()
            assert association.is_aborted
            assert not association.is_released
            wait_until(lambda: not scp.accepts)
        wait_until(lambda: scp.accepts)
        assert send(scp.port, [image(1)]) == [0]
        assert_all_stored(node, [image(1)])

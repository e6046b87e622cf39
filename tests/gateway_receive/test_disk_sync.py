"""Many files at once: one call for all where the file system passes errors on, each for itself where it fails."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from gateway import disk_sync
from gateway.disk_sync import sync_files


def files(folder: Path, count: int) -> list[str]:
    paths = [folder / f"{n}.dcm" for n in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    return list(map(str, paths))


@pytest.mark.parametrize("count", [3, 20])
def test_a_failing_call_for_all_leaves_it_to_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """What cannot be synced must not be called safe because one of two ways has failed."""

    def failing(_: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk_sync, "_syncfs", lambda: failing)
    paths = files(tmp_path, count)
    sync_files(paths)
    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        sync_files(paths)


def test_other_file_systems_are_synced_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(disk_sync, "_file_system", lambda _: "fuse.sshfs")
    monkeypatch.setattr(disk_sync, "_descriptors", {})
    monkeypatch.setattr(disk_sync, "sync_one", lambda path, _: synced.append(path))
    paths = files(tmp_path, 20)
    sync_files(paths)
    assert synced == paths


def test_files_that_are_gone_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_sync, "_syncfs", lambda: None)
    sync_files([*files(tmp_path, 12), str(tmp_path / "gone")])

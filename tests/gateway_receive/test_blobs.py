"""The image store: immutable, addressed by content, safe against half-written files and odd keys."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from gateway.blobs import BlobStore, open_blobs
from gateway.errors import BlobDamaged, BlobMissing, StorageBroken, StorageFull


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def test_put_and_read(store: BlobStore) -> None:
    key = store.put(b"head", memoryview(b"body"))
    assert key == hashlib.sha256(b"headbody").hexdigest()
    assert store.read(key) == b"headbody"
    assert store.exists(key)
    assert list(store.keys()) == [key]
    assert list((store.folder / "tmp").iterdir()) == []


def test_the_same_content_is_one_object_that_is_not_written_again(store: BlobStore) -> None:
    key = store.put(b"x")
    before = store.path(key).stat()
    assert store.put(b"x") == key
    assert store.path(key).stat().st_mtime_ns == before.st_mtime_ns


def test_file_and_folder_are_synced_before_put_returns(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real, synced = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd)))
    key = store.put(b"x")
    assert [Path(p).parent.name for p in synced[:1]] == ["tmp"]
    assert synced[1:] == [str(store.path(key).parent)]


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_a_key_that_is_no_hash_names_nothing(store: BlobStore, key: str) -> None:
    with pytest.raises(BlobMissing):
        store.path(key)


def test_missing_and_damaged_objects_are_told_apart(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        store.read("0" * 64)
    key = store.put(b"x")
    store.path(key).write_bytes(b"y")
    with pytest.raises(BlobDamaged):
        store.read(key)


def test_below_the_watermark_nothing_is_written(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store", min_free_bytes=2**60)
    with pytest.raises(StorageFull):
        store.put(b"x")
    assert list(store.keys()) == []


@pytest.mark.parametrize(("code", "expected"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageBroken)])
def test_a_failing_disk_leaves_nothing_behind(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Exception]
) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(expected):
        store.put(b"x")
    assert list(store.keys()) == []
    assert list((store.folder / "tmp").iterdir()) == []


def test_a_read_only_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(StorageBroken):
        BlobStore(tmp_path / "store").put(b"x")


def test_orphans_are_what_no_row_knows(store: BlobStore) -> None:
    known, orphan = store.put(b"known"), store.put(b"orphan")
    assert list(store.orphans(lambda keys: {k for k in keys if k == known})) == [orphan]


def test_only_old_unfinished_files_are_removed(store: BlobStore) -> None:
    store.put(b"x")
    fresh, old = store.folder / "tmp" / "fresh", store.folder / "tmp" / "old"
    fresh.write_bytes(b""), old.write_bytes(b"")
    os.utime(old, (0, 0))
    assert store.remove_unfinished() == 1
    assert fresh.exists()


def test_areas_of_one_url_are_apart(tmp_path: Path) -> None:
    url = (tmp_path / "with space").as_uri()
    key = open_blobs(url, "received").put(b"x")
    assert not open_blobs(url, "results").exists(key)
    assert (tmp_path / "with space" / "received" / key[:2] / key).is_file()

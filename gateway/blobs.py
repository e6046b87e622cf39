"""Immutable objects in a local folder, addressed by their SHA-256.

A write is durable when it returns: temporary file, fsync, rename, fsync of the folder. Paths come from the hash alone,
never from a DICOM value. An *area* keeps objects of one kind apart, so that what was received can be listed and
indexed again without looking at results.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from gateway.errors import BlobDamaged, BlobMissing, StorageBroken, StorageFull

_SHA256 = re.compile(r"[0-9a-f]{64}")
Buffer = bytes | bytearray | memoryview

RECEIVED = "received"
"""Area of the instances as they arrived (Part 10 files)."""

RESULTS = "results"
"""Area of everything that is made here: analyses, SEG, SR, bundles."""


@dataclass(frozen=True)
class BlobStore:
    """The objects of one area. `min_free_bytes` is the watermark below which nothing new is accepted."""

    folder: Path
    min_free_bytes: int = 0

    def put(self, *parts: Buffer) -> str:
        """Store the concatenation of `parts` durably and return its hex SHA-256; a known object costs one look.

        Raises:
            StorageFull: below the watermark or at the end of the disk.
            StorageBroken: when the folder cannot be written.
        """
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        key = digest.hexdigest()
        if not self.exists(key):
            self._write(key, parts)
        return key

    def _write(self, key: str, parts: Iterable[Buffer]) -> None:
        self.require_space()
        target = self.path(key)
        temporary = self.folder / "tmp" / f"{key}.{secrets.token_hex(4)}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise explained(error) from error

    def adopt(self, file: Path, key: str) -> None:
        """Give a synced file of this file system, whose SHA-256 is `key`, its name in the store; the old one stays.

        Raises:
            StorageFull, StorageBroken: when that cannot be done.
        """
        target = self.path(key)
        try:
            try:
                os.link(file, target)
            except FileNotFoundError:  # the first object of its folder
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, target)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise explained(error) from error
            self.put(file.read_bytes())  # a file system without hard links

    def read(self, key: str) -> bytes:
        """The bytes of an object, checked against its hash.

        Raises:
            BlobMissing: when there is no such object.
            BlobDamaged: when the bytes have changed since they were stored.
        """
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(key) from None
        if hashlib.sha256(content).hexdigest() != key:
            raise BlobDamaged(key)
        return content

    def path(self, key: str) -> Path:
        """Where an object lies, for libraries that read files; treat it as read-only."""
        if not _SHA256.fullmatch(key):
            raise BlobMissing("The key is no SHA-256.")
        return self.folder / key[:2] / key

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def keys(self) -> Iterator[str]:
        """All objects, in order of their key."""
        for branch in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            yield from sorted(f.name for f in branch.iterdir() if _SHA256.fullmatch(f.name))

    def delete(self, key: str) -> None:
        """Remove an object; absence is not an error. The caller knows that nothing refers to it any more."""
        self.path(key).unlink(missing_ok=True)

    def orphans(self, referenced: Callable[[list[str]], set[str]]) -> Iterator[str]:
        """Objects that no row refers to. `referenced` tells, for a batch of keys, which ones rows know."""
        batch: list[str] = []
        for key in self.keys():
            batch.append(key)
            if len(batch) == 500:
                yield from sorted(set(batch) - referenced(batch))
                batch = []
        yield from sorted(set(batch) - referenced(batch))

    def remove_unfinished(self, older_than_s: float = 3600.0) -> int:
        """Remove what a killed process left half written, and nothing that is being written. Returns how many."""
        oldest = time.time() - older_than_s
        leftovers = [f for f in (self.folder / "tmp").glob("*") if f.stat().st_mtime <= oldest]
        for file in leftovers:
            file.unlink(missing_ok=True)
        return len(leftovers)

    def free_bytes(self) -> int:
        """Free disk space for this store."""
        existing = next(p for p in (self.folder, *self.folder.parents) if p.exists())
        return shutil.disk_usage(existing).free

    def require_space(self) -> None:
        """Refuse below the watermark.

        Raises:
            StorageFull: with the free and the required space.
        """
        free = self.free_bytes()
        if free < self.min_free_bytes:
            raise StorageFull(f"{free // 2**20} MB are free, {self.min_free_bytes // 2**20} MB are required.")


def open_blobs(url: str, area: str, min_free_mb: int = 0) -> BlobStore:
    """The store of one area under a `file:///` URL."""
    return BlobStore(Path(unquote(urlparse(url).path)) / area, min_free_mb * 2**20)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explained(error: OSError) -> StorageFull | StorageBroken:
    """An error of the disk in the operator's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The disk has no space left.")
    return StorageBroken(os.strerror(error.errno or 0) + ".")

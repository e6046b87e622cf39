"""Where an instance lies between its C-STORE response and its row: whole files, written once, named by what they hold.

Each receiving process has a folder (box) of its own, which it holds a lock on. A name states when the instance came,
by which association, and how long the file is: a file of another length was never acknowledged. One fsync makes the
file safe together with its name on ext4, XFS and btrfs, because a new name travels in the same journal transaction.
What lies in a box without an owner was left by a process that died; `abandoned_boxes` hands it to the next one.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.blobs import Buffer, explained
from gateway.column_types import new_key
from gateway.disk_sync import sync_files, sync_one
from gateway.errors import StorageFull

_FOLDER = "inbox"
_NAME = re.compile(r"([0-9a-f]{16})\.([a-z0-9]{1,16})\.\d+\.(\d+)")
_IOV_MAX = 1000
_LOOK_AT_SPACE_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A whole file in an inbox: where it lies, which association brought it, when (nanoseconds since 1970), how long it
    is, and whether it is on the disk already."""

    path: str
    carrier_key: str
    received_ns: int
    length: int
    synced: bool


class Inbox:
    """The box of this process under `root` (the folder of the image store). Use it from any thread."""

    def __init__(self, root: Path, min_free_bytes: int) -> None:
        """Make the box and lock it.

        Raises:
            StorageFull, StorageBroken: when the folder cannot be made.
        """
        self._min_free_bytes = min_free_bytes
        self._space_seen_at = -1.0
        self._numbers = itertools.count()
        try:
            self.folder, self._lock = _new_box(root / _FOLDER)
        except OSError as error:
            raise explained(error) from error

    def put(self, carrier_key: str, parts: Sequence[Buffer], *, sync: bool) -> InboxFile:
        """Store the concatenation of `parts` as a file, on disk when it returns if `sync`.

        Raises:
            StorageFull: below the watermark or at the end of the disk.
            StorageBroken: when the file cannot be written or synced.
        """
        self.require_space()
        file = self._file(carrier_key, sum(map(len, parts)), sync)
        try:
            descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, parts)
                if sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _remove(file.path)
            raise explained(error) from error
        return file

    def begin(self, carrier_key: str) -> Growing:
        """Start a file whose length is not known yet.

        Raises:
            StorageFull, StorageBroken: as `put`.
        """
        self.require_space()
        path = f"{self.folder}/{time.time_ns():016x}.{carrier_key}.{next(self._numbers)}.part"
        try:
            return Growing(self, carrier_key, path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            raise explained(error) from error

    def require_space(self) -> None:
        """Refuse below the watermark. The disk is asked a few times a second; a full one each time.

        Raises:
            StorageFull: with the free and the required space.
        """
        now = time.monotonic()
        if now - self._space_seen_at < _LOOK_AT_SPACE_EVERY_S:
            return
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise explained(error) from error
        if free < self._min_free_bytes:
            raise StorageFull(f"{free // 2**20} MB are free, {self._min_free_bytes // 2**20} MB are required.")
        self._space_seen_at = now

    def close(self) -> None:
        """Give the box back; one that is not empty is left to whoever looks after abandoned ones."""
        with suppress(OSError):
            self.folder.rmdir()
        os.close(self._lock)

    def _file(self, carrier_key: str, length: int, synced: bool) -> InboxFile:
        now = time.time_ns()
        path = f"{self.folder}/{now:016x}.{carrier_key}.{next(self._numbers)}.{length}"
        return InboxFile(path, carrier_key, now, length, synced)

    def finished(self, growing: Growing, synced: bool) -> InboxFile:
        """Name a grown file by its length; the caller has synced it, or not."""
        file = self._file(growing.carrier_key, growing.length, synced)
        Path(growing.path).rename(file.path)
        return file


@dataclass
class Growing:
    """A file that is written piece by piece, for instances that are too large for memory."""

    inbox: Inbox
    carrier_key: str
    path: str
    descriptor: int
    length: int = 0
    header_length: int = 0

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append.

        Raises:
            StorageFull, StorageBroken: the file is gone then.
        """
        try:
            self.inbox.require_space()
            _write(self.descriptor, parts)
        except OSError as error:
            self.discard()
            raise explained(error) from error
        except StorageFull:
            self.discard()
            raise
        self.length += sum(map(len, parts))

    def finish(self, *, sync: bool) -> InboxFile:
        """Sync and give it its name.

        Raises:
            StorageFull, StorageBroken: the file is gone then.
        """
        try:
            if sync:
                os.fsync(self.descriptor)
            file = self.inbox.finished(self, sync)
            if sync:
                sync_one(str(self.inbox.folder), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            self.discard()
            raise explained(error) from error
        self._close()
        return file

    def discard(self) -> None:
        """Remove what was written; nothing to do where it was finished."""
        if self.descriptor >= 0:
            self._close()
            _remove(self.path)

    def _close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1


@dataclass
class AbandonedBox:
    """What a process that died had received and not indexed, in order of arrival; locked until `close`."""

    folder: Path
    lock: int
    files: list[InboxFile] = field(default_factory=list)

    def close(self) -> None:
        """Remove the box where everything in it was taken away."""
        with suppress(OSError):
            self.folder.rmdir()
        os.close(self.lock)


def sync(files: Sequence[InboxFile]) -> None:
    """Bring files to the disk that were put without; those that left the inbox meanwhile were synced before.

    Raises:
        StorageBroken: when one of them cannot be synced.
    """
    try:
        sync_files([file.path for file in files if not file.synced])
    except OSError as error:
        raise explained(error) from error


def abandoned_boxes(root: Path) -> Iterator[AbandonedBox]:
    """Boxes whose owners are gone. What was never acknowledged is removed from them; the caller closes each box."""
    folders = sorted((root / _FOLDER).iterdir()) if (root / _FOLDER).is_dir() else []
    for folder in folders:
        lock = _locked(folder)
        if lock is None:
            continue
        files = []
        for entry in sorted(folder.iterdir()):
            name = _NAME.fullmatch(entry.name)
            if name is None or entry.stat().st_size != int(name[3]):
                entry.unlink(missing_ok=True)
                continue
            files.append(InboxFile(str(entry), name[2], int(name[1], 16), int(name[3]), synced=False))
        yield AbandonedBox(folder, lock, files)


def _new_box(parent: Path) -> tuple[Path, int]:
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = parent / new_key("b")
        folder.mkdir()
        sync_one(str(parent), os.O_RDONLY | os.O_DIRECTORY)
        lock = _locked(folder)
        if lock is not None and folder.is_dir():  # somebody may have taken the new, still unlocked box for abandoned
            return folder, lock


def _locked(folder: Path) -> int | None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # removed by its owner in this moment
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _write(descriptor: int, parts: Sequence[Buffer]) -> None:
    for first in range(0, len(parts), _IOV_MAX):
        group = parts[first : first + _IOV_MAX]
        written = os.writev(descriptor, group)
        for part in group:  # a short write goes on part by part
            rest = memoryview(part)[min(written, len(part)) :]
            written -= len(part) - len(rest)
            while len(rest):
                rest = rest[os.write(descriptor, rest) :]


def _remove(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink(missing_ok=True)

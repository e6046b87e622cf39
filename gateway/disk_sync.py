"""Brings many files to the disk at once where the system can do that reliably, else one after the other.

`fsync` of each of a hundred files is a hundred commits of the journal; `syncfs` is one. It tells of errors since
Linux 5.8, and it is used on ext4 and XFS only: network and user-space file systems need not pass it on.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_RELIABLE_SINCE = (5, 8)
_RELIABLE_ON = frozenset(("ext4", "xfs"))
_WORTH_IT = 8
_MOUNTS = Path("/proc/self/mountinfo")
_descriptors: dict[int, int | None] = {}


def sync_files(paths: Sequence[str]) -> None:
    """Return when the content of these files is on the disk; those that are gone are left out.

    Raises:
        OSError: when one of them cannot be synced.
    """
    if len(paths) >= _WORTH_IT and _sync_file_system(paths):
        return
    for path in paths:
        with suppress(FileNotFoundError):
            sync_one(path, os.O_RDONLY)


def sync_one(path: str, flags: int) -> None:
    """`fsync` of a file, or of a folder with O_DIRECTORY."""
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(paths: Sequence[str]) -> bool:
    """False where that is not possible, or failed: then each file says for itself how it stands."""
    folders = {folder.stat().st_dev: folder for folder in {Path(path).parent for path in paths}}
    descriptors = [_watched(device, folder) for device, folder in folders.items()]
    syncfs = _syncfs()
    return syncfs is not None and all(d is not None and syncfs(d) == 0 for d in descriptors)


def _watched(device: int, folder: Path) -> int | None:
    """A descriptor that stays open, because it is what the kernel remembers errors for; None on other file systems."""
    if device not in _descriptors:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        _descriptors[device] = os.open(folder, flags) if _file_system(device) in _RELIABLE_ON else None
    return _descriptors[device]


@lru_cache(maxsize=1)
def _syncfs() -> ctypes._NamedFuncPointer | None:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if os.uname().sysname != "Linux" or release is None or (int(release[1]), int(release[2])) < _RELIABLE_SINCE:
        return None
    try:
        return ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        return None


def _file_system(device: int) -> str:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            if before.split()[2:3] == [wanted]:
                return after.split()[0]
    return ""

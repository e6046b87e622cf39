"""A file system of its own for a run: ext4 makes files slowly where others were deleted within the last minutes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fresh_disk(folder: Path, gigabytes: int) -> Iterator[Path]:
    """A new ext4 in a sparse file under `folder`, mounted until the end.

    Raises:
        PermissionError: when this is not root.
    """
    if os.geteuid() != 0:
        raise PermissionError("--fresh-disk mounts a file system: run it as root, or leave it out")
    image, mount = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(gigabytes * 2**30)
    mount.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)
        image.unlink()

"""How many associations one peer may have open: places that are held by locks of the kernel.

Whoever serves an association of the peer locks one byte of a file: the receiver and all its receiving processes see the
same places, and those of a process that dies are free at once. Several machines count each for itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.settings import Peer, Settings

PLACES_OF_A_PEER = 1000
_HANDOVER_S = 0.5
_POLL_S = 0.01
_TAKEN = {errno.EAGAIN, errno.EACCES}


class Place:
    """A place that is held until `free`, or until this process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def free(self) -> None:
        os.close(self._descriptor)


class PeerPlaces:
    """The places of all peers of a node; a peer without a limit needs none."""

    def __init__(self, settings: Settings) -> None:
        self._peers: Sequence[Peer] = settings.dicom.peers
        self._file: Path = settings.data_dir / "associations.lock"

    def take(self, peer: Peer) -> Place | None:
        """A place for one more association of `peer`, or None when all are taken.

        A sender opens its next association as soon as the release is answered, a moment before the place of the last
        one is free: that long it is waited for.
        """
        if peer.max_associations is None:
            raise ValueError("a peer without a limit has no places")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        first = self._peers.index(peer) * PLACES_OF_A_PEER
        until = time.monotonic() + _HANDOVER_S
        while not any(_lock(descriptor, first + n) for n in range(peer.max_associations)):
            if time.monotonic() > until:
                os.close(descriptor)
                return None
            time.sleep(_POLL_S)
        return Place(descriptor)


def _lock(descriptor: int, byte: int) -> bool:
    """Lock a byte for this open file, which threads do not share (Linux: open file description locks)."""
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True

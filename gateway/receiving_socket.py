"""The socket of an association that is received from: large reads into reused memory, PDUs as views of it.

pynetdicom reads 4 kB at a time and copies each PDU several times. Here the kernel fills chunks of half a megabyte, and
fragments of a data set stay where they arrived until they are written to their file.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AssociationSocket

if TYPE_CHECKING:
    from pynetdicom.association import Association

_CHUNK_BYTES = 2**19
_SPARE_CHUNKS = 2
_PDU_HEADER = 6
_LONGEST_OTHER_PDU = 2**20
"""No A-ASSOCIATE-RQ is longer; more is an attack or no DICOM."""

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class ReceivingSocket(AssociationSocket):
    """Reads and sends for one association; all reading is done by its DUL thread.

    `pinned` is set while views of received PDUs are in use: the memory under them is left alone until `unpin`.
    """

    def __init__(self, association: Association, client: socket.socket, max_pdu: int, timeout_s: float) -> None:
        super().__init__(association, client_socket=client)
        self._connection = client
        self._max_pdu = max(max_pdu, _LONGEST_OTHER_PDU)
        self._size = max(_CHUNK_BYTES, self._max_pdu + _PDU_HEADER)
        self._chunk = memoryview(b"")
        self._start = self._end = 0
        self._held: list[memoryview] = []
        self._spare: list[memoryview] = []
        self.pinned = False
        prepare(client, timeout_s)

    @property
    def ready(self) -> bool:
        """Whether something can be read without waiting."""
        return self._end > self._start or self.secured_pending or bool(super().ready)

    @property
    def secured_pending(self) -> bool:
        """Whether TLS holds decrypted bytes that the poll of the file descriptor does not show."""
        return (
            isinstance(self._connection, ssl.SSLSocket) and self.socket is not None and self._connection.pending() > 0
        )

    @property
    def partial(self) -> bool:
        """Whether a PDU has begun to arrive."""
        return self._end > self._start

    def next_pdu(self) -> tuple[int, int] | None:
        """Type and length of the PDU that comes next, once it is here as a whole.

        Raises:
            ValueError: when it is longer than any that is allowed.
        """
        if self._end - self._start < _PDU_HEADER:
            return None
        kind, _, length = struct.unpack_from(">BBI", self._chunk, self._start)
        if length > self._max_pdu:
            raise ValueError("a PDU is too long")
        return (kind, length) if self._end - self._start >= _PDU_HEADER + length else None

    def take_pdu(self, length: int) -> memoryview:
        """The content of the next PDU, as a view."""
        at = self._start + _PDU_HEADER
        self._start = at + length
        return self._chunk[at : self._start]

    def fill(self) -> int:
        """Receive what there is; 0 when the peer has closed the connection.

        Raises:
            OSError: when the connection is lost, or nothing came for the whole timeout.
        """
        self._make_room()
        count = self._connection.recv_into(self._chunk[self._end :])
        self._end += count
        return count

    def acknowledge(self) -> None:
        """Let the peer go on sending: to be called after `fill` unless something is sent at once, which tells it too.

        The kernel falls back to delayed acknowledgements by itself; a sender with Nagle on then waits 40 ms.
        """
        if _QUICKACK is not None:
            self._connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def unpin(self) -> None:
        """Nobody looks at received PDUs any more."""
        self.pinned = False
        self._spare = [*self._spare, *self._held][:_SPARE_CHUNKS]
        self._held = []

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly so many bytes, fewer at the end of the connection: for pynetdicom's own reading of PDUs.

        Raises:
            OSError: when the connection is lost, or the peer announces more than is allowed.
        """
        if nr_bytes > self._max_pdu:
            raise OSError("a PDU is too long")
        while self._end - self._start < nr_bytes:
            if not self.fill():
                break
            self.acknowledge()
        stop = min(self._start + nr_bytes, self._end)
        taken = bytearray(self._chunk[self._start : stop])
        self._start = stop
        return taken

    def send_now(self, content: bytes) -> None:
        """Send from the DUL thread, past the queues.

        Raises:
            OSError: when the connection is lost or the peer takes nothing.
        """
        self._connection.sendall(content)

    def interrupt(self) -> None:
        """Wake a thread that waits for the peer: it finds the connection closed."""
        try:
            self._connection.shutdown(socket.SHUT_RD)
        except OSError:
            return

    def _make_room(self) -> None:
        """See that the PDU which is on its way fits into the current chunk."""
        waiting = self._end - self._start
        if not waiting and not self.pinned:
            self._start = self._end = 0
        needed = _PDU_HEADER
        if waiting >= _PDU_HEADER:
            needed += int.from_bytes(self._chunk[self._start + 2 : self._start + _PDU_HEADER], "big")
        if self._end < len(self._chunk) and self._start + min(needed, self._size) <= len(self._chunk):
            return
        old, rest = self._chunk, self._chunk[self._start : self._end]
        if self.pinned or not len(old):
            self._chunk = self._spare.pop() if self._spare else memoryview(bytearray(self._size))
            if len(old):
                self._held.append(old)
        self._chunk[:waiting] = rest
        self._start, self._end = 0, waiting


def prepare(connection: socket.socket, timeout_s: float) -> None:
    """Send small PDUs at once, and let the kernel end a read or write that the peer keeps waiting.

    Timeouts of the kernel, because those of Python cost a poll for each read.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds = int(timeout_s)
    value = struct.pack("ll", seconds, int((timeout_s - seconds) * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def readable(poller: Any, timeout_s: float | None) -> set[int]:
    """Descriptors that are ready, waiting at most so long (None: for ever)."""
    return {descriptor for descriptor, _ in poller.poll(None if timeout_s is None else max(timeout_s, 0) * 1000)}


def new_poller(*descriptors: int) -> Any:
    """A poll object over descriptors to be read from."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return poller

"""A Storage SCU on a bare socket, for what libraries refuse to send: odd fragments, broken order, half data sets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence

from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

COMMAND, DATA, LAST = 1, 0, 2
ABORT = b"\7\0\0\0\0\4\0\0\0\0"
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"


class RawScu:
    """An association with one presentation context (id 1), established when made."""

    def __init__(
        self, port: int, sop_class: str = MRImageStorage, syntax: str = ExplicitVRLittleEndian, max_pdu: int = 16384
    ) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.sendall(_associate_rq(sop_class, syntax, max_pdu))
        assert self.pdu()[0] == 2, "the association was not accepted"
        self._sop_class = sop_class

    def send(self, *values: tuple[int, bytes], context_id: int = 1) -> None:
        """One P-DATA-TF PDU with presentation data values (control, fragment)."""
        body = b"".join(struct.pack(">IBB", len(v) + 2, context_id, control) + v for control, v in values)
        self.connection.sendall(struct.pack(">BBI", 4, 0, len(body)) + body)

    def store(self, uid: str, content: bytes, fragment: int = 16378) -> int:
        """Send an instance and return the status of the response."""
        self.send((COMMAND | LAST, self.command(uid)))
        for control, piece in self.fragments(content, fragment):
            self.send((control, piece))
        return self.status()

    def command(self, uid: str, command: int = 1, data_set: int = 1) -> bytes:
        """The command set of a C-STORE-RQ, or of another request with the same elements."""
        elements = (
            element(2, even(self._sop_class)) + number(0x100, command) + number(0x110, 7)
            + number(0x700, 0) + number(0x800, data_set) + element(0x1000, even(uid))
        )  # fmt: skip
        return element(0, struct.pack("<I", len(elements))) + elements

    @staticmethod
    def fragments(content: bytes, size: int) -> Iterator[tuple[int, bytes]]:
        for at in range(0, len(content), size):
            yield (DATA | LAST if at + size >= len(content) else DATA), content[at : at + size]

    def response(self) -> bytes:
        """The command set of the next response, put together."""
        whole = b""
        while True:
            kind, body = self.pdu()
            assert kind == 4, f"PDU {kind} in place of a response"
            at = 0
            while at < len(body):
                length, _, control = struct.unpack_from(">IBB", body, at)
                whole += body[at + 6 : at + 4 + length]
                at += 4 + length
            if control & LAST:
                return whole

    def status(self) -> int:
        response = self.response()
        at = response.index(struct.pack("<HHI", 0, 0x900, 2)) + 8
        return int.from_bytes(response[at : at + 2], "little")

    def pdu(self) -> tuple[int, bytes]:
        """Type and content of the next PDU; type 0 when the connection was closed."""
        header = self._exactly(6)
        if len(header) < 6:
            return 0, b""
        return header[0], self._exactly(int.from_bytes(header[2:], "big"))

    def release(self) -> None:
        self.connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        assert self.pdu()[0] == 6
        self.connection.close()

    def close(self) -> None:
        self.connection.close()

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            try:
                more = self.connection.recv(count - len(content))
            except ConnectionResetError:
                return content
            if not more:
                return content
            content += more
        return content


def send_all(port: int, images: Sequence[tuple[str, bytes]]) -> list[int]:
    """Send (SOP Instance UID, data set) over one association; the status of each."""
    scu = RawScu(port)
    statuses = [scu.store(uid, content) for uid, content in images]
    scu.release()
    return statuses


def element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, tag, len(value)) + value


def number(tag: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0, tag, 2, value)


def even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def _associate_rq(sop_class: str, syntax: str, max_pdu: int) -> bytes:
    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(content)) + content

    syntaxes = item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
    user = item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.826.0.1.3680043.8.498.1")
    items = item(0x10, _APPLICATION_CONTEXT) + item(0x20, b"\1\0\0\0" + syntaxes) + item(0x50, user)
    body = struct.pack(">HH16s16s32x", 1, 0, b"TIMEPOINT".ljust(16), b"RAW".ljust(16)) + items
    return struct.pack(">BBI", 1, 0, len(body)) + body

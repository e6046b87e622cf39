"""A Storage SCU that costs next to nothing: PDUs are made in memory before the clock starts, and sent as they are.

Each association is a process of its own. The time of each C-STORE is taken from its first byte to its response.
"""

from __future__ import annotations

import multiprocessing as mp
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
EXPLICIT = "1.2.840.10008.1.2.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
LONGEST_PDU = 131072
_SUCCESS = b"\0\0\0\x09\2\0\0\0\0\0"


@dataclass(frozen=True)
class Sent:
    """What a run measured: seconds from the first byte to the last response, and each response's time in ms."""

    instances: int
    seconds: float
    response_ms: tuple[float, ...]
    failures: int

    @property
    def per_second(self) -> float:
        return self.instances / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.response_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def blast(
    port: int, groups: Sequence[Sequence[tuple[str, bytes]]], sop_class: str = MR, host: str = "127.0.0.1"
) -> Sent:
    """Send each group of (SOP Instance UID, data set) over an association of its own, all at the same time."""
    context = mp.get_context("fork")
    ready, results = context.Barrier(len(groups) + 1), context.SimpleQueue()
    senders = [context.Process(target=_send, args=[host, port, g, sop_class, ready, results]) for g in groups]
    for sender in senders:
        sender.start()
    ready.wait()
    parts = [results.get() for _ in senders]
    for sender in senders:
        sender.join()
    first, last = min(p[0] for p in parts), max(p[1] for p in parts)
    times = tuple(t for p in parts for t in p[2])
    return Sent(len(times), last - first, times, sum(p[3] for p in parts))


def store_all(port: int, instances: Iterable[tuple[str, bytes]], longest_pdu: int) -> set[str]:
    """Send one after the other over one association, made as they go; returns the UIDs that success was answered to."""
    connection, longest = open_association("127.0.0.1", port)
    stored = set()
    for number, (uid, data) in enumerate(instances, 1):
        connection.sendall(b"".join(_message(MR, uid, number, data, min(longest, longest_pdu))))
        header = _exactly(connection, 6)
        if _SUCCESS in _exactly(connection, int.from_bytes(header[2:], "big")):
            stored.add(uid)
    release(connection)
    return stored


def open_association(host: str, port: int, sop_class: str = MR) -> tuple[socket.socket, int]:
    """An established association and the longest PDU that the peer takes."""
    connection = socket.create_connection((host, port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_associate_rq(sop_class))
    header = _exactly(connection, 6)
    body = _exactly(connection, int.from_bytes(header[2:], "big"))
    if header[0] != 2:
        raise ConnectionRefusedError("the association was not accepted")
    at = body.find(b"\x51\x00\x00\x04")
    longest = int.from_bytes(body[at + 4 : at + 8], "big") if at >= 0 else 0
    return connection, min(longest or LONGEST_PDU, LONGEST_PDU)


def release(connection: socket.socket) -> None:
    connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")
    _exactly(connection, 10)
    connection.close()


def _send(host: str, port: int, group: Sequence[tuple[str, bytes]], sop_class: str, ready, results) -> None:  # type: ignore[no-untyped-def]
    connection, longest = open_association(host, port, sop_class)
    prepared = [b"".join(_message(sop_class, uid, n, data, longest)) for n, (uid, data) in enumerate(group, 1)]
    ready.wait()
    times, failures = [], 0
    first = time.perf_counter()
    for message in prepared:
        begin = time.perf_counter()
        connection.sendall(message)
        header = _exactly(connection, 6)
        response = _exactly(connection, int.from_bytes(header[2:], "big"))
        times.append(1000 * (time.perf_counter() - begin))
        failures += _SUCCESS not in response
    last = time.perf_counter()
    release(connection)
    results.put((first, last, times, failures))


def _message(sop_class: str, uid: str, number: int, data: bytes, longest: int) -> list[bytes]:
    command = (
        _element(2, _even(sop_class)) + _number(0x100, 1) + _number(0x110, number & 0xFFFF)
        + _number(0x700, 0) + _number(0x800, 1) + _element(0x1000, _even(uid))
    )  # fmt: skip
    command = _element(0, struct.pack("<I", len(command))) + command
    step = longest - 6
    fragments = [data[at : at + step] for at in range(0, len(data), step)]
    data_pdus = [_pdu(2 if i == len(fragments) - 1 else 0, f) for i, f in enumerate(fragments)]
    return [_pdu(3, command), *data_pdus]


def _pdu(control: int, content: bytes) -> bytes:
    return struct.pack(">BBIIBB", 4, 0, len(content) + 6, len(content) + 2, 1, control) + content


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _number(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, value)


def _even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def _associate_rq(sop_class: str) -> bytes:
    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(content)) + content

    syntaxes = item(0x30, sop_class.encode()) + item(0x40, EXPLICIT.encode())
    user = item(0x51, struct.pack(">I", LONGEST_PDU)) + item(0x52, b"1.2.826.0.1.3680043.8.498.1")
    items = item(0x10, APPLICATION_CONTEXT.encode()) + item(0x20, b"\1\0\0\0" + syntaxes) + item(0x50, user)
    body = struct.pack(">HH16s16s32x", 1, 0, b"TIMEPOINT".ljust(16), b"BLAST".ljust(16)) + items
    return struct.pack(">BBI", 1, 0, len(body)) + body


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        more = connection.recv(count - len(content))
        if not more:
            raise ConnectionResetError("the peer closed the connection")
        content += more
    return content

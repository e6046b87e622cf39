"""What the receiver and its receiving processes say to each other: short lists over a socket pair.

The socket keeps messages whole and in order (SOCK_SEQPACKET), so that many threads may send; a connection travels
beside the message that speaks of it. Both ends are the same program, so that the interpreter's own encoding will do.
"""

from __future__ import annotations

import marshal
import socket
from typing import Any

from gateway.associations import Carrier
from gateway.inbox import InboxFile

SERVE, STOPPED, FINISH = "serve", "stopped", "finish"
STORED, ENDED, CLOSED = "stored", "ended", "closed"
_LONGEST = 2**17


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def say(line: socket.socket, word: str, *values: Any, connection: socket.socket | None = None) -> None:
    """Send a message.

    Raises:
        OSError: when the other process is gone.
    """
    message = marshal.dumps([word, *values])
    if connection is None:
        line.send(message)
    else:
        socket.send_fds(line, [message], [connection.fileno()])


def hear(line: socket.socket) -> tuple[str, list[Any], socket.socket | None] | None:
    """The next message and the connection that came with it; None when the other process is gone."""
    try:
        message, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 1)
    except ConnectionResetError:
        return None
    if not message:
        return None
    word, *values = marshal.loads(message)  # noqa: S302 - from a process of our own
    return word, values, socket.socket(fileno=descriptors[0]) if descriptors else None


def stored_values(file: InboxFile, carrier: Carrier) -> list[Any]:
    """An arrival as values of a message."""
    return [file.path, file.carrier_key, file.received_ns, file.length, file.synced, carrier.source_ae]


def arrival(values: list[Any]) -> tuple[InboxFile, Carrier]:
    """`stored_values`, read again."""
    *file, source_ae = values
    return InboxFile(*file), Carrier(values[1], source_ae)

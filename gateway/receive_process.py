"""A receiving process: serves the connections that the receiver hands over, and tells it what was stored.

Started by `gateway.receive_pool` as `python -m gateway.receive_process DESCRIPTOR`; it ends with the receiver.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from gateway.association_host import AssociationHost
from gateway.associations import Carrier
from gateway.blobs import RECEIVED
from gateway.database import open_database
from gateway.errors import DatabaseNotReady
from gateway.inbox import InboxFile
from gateway.logs import configure_logging
from gateway.receive_messages import CLOSED, ENDED, FINISH, SERVE, STOPPED, STORED, hear, say, stored_values
from gateway.settings import Settings

_COLLECT_EVERY = 50


class _Line:
    """The way to the index in the receiver."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self._closed = itertools.count(1)
        self.stopped = False

    def stored(self, file: InboxFile, carrier: Carrier) -> None:
        try:
            say(self._receiver, STORED, *stored_values(file, carrier))
        except OSError as error:
            raise DatabaseNotReady("The receiver has ended.") from error

    def ended(self, carrier: Carrier, *, released: bool) -> None:
        say(self._receiver, ENDED, {"key": carrier.key, "source_ae": carrier.source_ae}, released)

    def closed(self) -> None:
        # An ended association is a cycle of few objects that may hold megabytes: the number of objects that starts the
        # search for garbage by itself is reached too late.
        if next(self._closed) % _COLLECT_EVERY == 0:
            gc.collect()
        with suppress(OSError):  # the receiver is gone, and this process ends
            say(self._receiver, CLOSED)


def main() -> None:
    """Serve until told to finish, or until the receiver is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the receiver decides when
    receiver = socket.socket(fileno=int(sys.argv[1]))
    first = hear(receiver)
    if first is None:
        return
    settings = Settings.model_validate_json(first[1][0])
    configure_logging(settings.log)
    line = _Line(receiver)
    database = open_database(settings.database.url, settings.database.password_file)
    gc.freeze()  # what was imported stays; looking through it again and again costs a tenth of the time
    gc.set_threshold(20_000, 20, 20)
    folder = Path(unquote(urlparse(settings.storage.url).path)) / RECEIVED
    _serve(receiver, line, AssociationHost(settings, database, folder, line))
    sys.stdout.flush()
    os._exit(0)  # threads that a peer still holds up would keep the process


def _serve(receiver: socket.socket, line: _Line, host: AssociationHost) -> None:
    """Returns at once when the receiver is gone: nothing can be acknowledged any more, and a sender that loses the
    connection turns to the next receiver, where one that is refused image by image stays here."""
    while (message := hear(receiver)) is not None:
        word, values, connection = message
        if word == SERVE and connection is not None:
            host.serve(connection, _address(values[0]), line.closed, over_limit=values[1])
        elif word == STOPPED:
            line.stopped = values[0]
        elif word == FINISH:
            host.stop(values[0])
            return


def _address(value: list[Any]) -> tuple[Any, ...]:
    return tuple(value)


if __name__ == "__main__":
    main()

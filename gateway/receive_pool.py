"""Receiving processes: each serves its share of the connections, so that the interpreter lock is not shared."""

from __future__ import annotations

import select
import selectors
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.associations import Carrier
from gateway.indexer import Indexer
from gateway.receive_messages import CLOSED, ENDED, FINISH, SERVE, STOPPED, STORED, arrival, hear, pair, say
from gateway.settings import Settings

_AGAIN_S = 1.0
_KILL_AFTER_S = 10.0
_PAUSE_S = 0.005
_MOST_AT_ONCE = 200
_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Child:
    """A process, how many connections it serves, and the associations of it that have stored something."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    connections: int = 0
    carriers: dict[str, Carrier] = field(default_factory=dict)


class ReceivePool:
    """Processes that serve connections, between `start` and `stop`. What they store is told to the indexer.

    A process that dies is replaced; its associations count as broken off.
    """

    def __init__(self, settings: Settings, indexer: Indexer) -> None:
        self._settings, self._indexer = settings, indexer
        self._children: list[_Child] = []
        self._changing = threading.RLock()
        self._ending = False
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._listen, name="receive-pool", daemon=True)

    @property
    def connections(self) -> int:
        with self._changing:
            return sum(child.connections for child in self._children)

    @property
    def unheard(self) -> bool:
        """Whether a process has said something that the indexer does not know yet."""
        with self._changing:
            return any(_readable(child.line) for child in self._children)

    def start(self) -> None:
        for _ in range(self._settings.dicom.processes):
            self._add_child()
        self._thread.start()

    def serve(self, client: socket.socket, address: Any, *, over_limit: bool) -> None:
        """Hand a connection to the process that has the fewest."""
        with self._changing:
            for child in sorted(self._children, key=lambda c: c.connections):
                try:
                    say(child.line, SERVE, address, over_limit, connection=client)
                except OSError:
                    continue  # it has just died; `_listen` replaces it
                child.connections += 1
                break
        client.close()

    def announce(self, stopped: bool) -> None:
        """Tell the processes that instances are to be refused for now, or taken again."""
        with self._changing:
            for child in self._children:
                _try_to_say(child.line, STOPPED, stopped)

    def stop(self, grace_s: float) -> None:
        """Let open associations finish for `grace_s`; returns when all processes have ended."""
        with self._changing:
            self._ending = True
            children = list(self._children)
        for child in children:
            _try_to_say(child.line, FINISH, grace_s)
        deadline = time.monotonic() + grace_s + _KILL_AFTER_S
        for child in children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("a receiving process did not stop in time and is killed", pid=child.process.pid)
                child.process.kill()
                child.process.wait()
        if self._thread.is_alive():
            self._thread.join(_KILL_AFTER_S)

    def _add_child(self) -> None:
        ours, theirs = pair()
        command = [sys.executable, "-m", "gateway.receive_process", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        child = _Child(process, ours)
        _try_to_say(ours, "settings", self._settings.model_dump_json())
        _try_to_say(ours, STOPPED, self._indexer.stopped)
        with self._changing:
            self._children.append(child)
            self._selector.register(ours, selectors.EVENT_READ, child)

    def _listen(self) -> None:
        """Look now and then while much is said: to be woken for each instance costs more than to hear of it."""
        while self._selector.get_map() or not self._ending:
            ready = self._selector.select(_AGAIN_S)
            for key, _ in ready:
                self._hear(key.data)
            if ready and not self._ending:
                time.sleep(_PAUSE_S)

    def _hear(self, child: _Child) -> None:
        with self._changing:  # `unheard` must not look between the message and the indexer
            for _ in range(_MOST_AT_ONCE):
                message = hear(child.line)
                if message is None:
                    break
                self._act(child, message[0], message[1])
                if not _readable(child.line):
                    return
            else:
                return
            self._bury(child)
            if self._ending:
                return
        _log.error("a receiving process ended and is started again", exit=child.process.wait())
        threading.Timer(_AGAIN_S, self._replace).start()

    def _replace(self) -> None:
        with self._changing:
            if not self._ending:
                self._add_child()

    def _act(self, child: _Child, word: str, values: list[Any]) -> None:
        if word == STORED:
            file, carrier = arrival(values)
            child.carriers[carrier.key] = carrier
            self._indexer.stored(file, carrier)
        elif word == ENDED:
            carrier = Carrier(**values[0])
            child.carriers.pop(carrier.key, None)
            self._indexer.ended(carrier, released=values[1])
        elif word == CLOSED:
            child.connections -= 1

    def _bury(self, child: _Child) -> None:
        self._selector.unregister(child.line)
        child.line.close()
        self._children.remove(child)
        for carrier in child.carriers.values():
            self._indexer.ended(carrier, released=False)


def _readable(line: socket.socket) -> bool:
    poller = select.poll()
    poller.register(line, select.POLLIN)
    return bool(poller.poll(0))


def _try_to_say(line: socket.socket, word: str, *values: Any) -> None:
    try:
        say(line, word, *values)
    except OSError:
        _log.warning("a receiving process does not listen", word=word)

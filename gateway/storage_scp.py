"""The DICOM node that studies are sent to: Verification and Storage SCP (PS3.4 A and B.2).

Success (0000H) is answered when the instance is safe: a synced file in an inbox, from which the rows are written after
the response and, if this process dies, at its next start. What the statuses mean is in `gateway.store_status` and the
conformance statement.
"""

from __future__ import annotations

import datetime as dt
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import structlog
from sqlalchemy.engine import Engine

from gateway.arrivals import ArrivalRules, Verdict, resume_timers
from gateway.association_host import AssociationHost
from gateway.associations import break_those_of_dead_receivers
from gateway.blobs import BlobStore
from gateway.column_types import utc_now
from gateway.indexer import Indexer
from gateway.receive_pool import ReceivePool
from gateway.receiver import Receiver, rebuild_index
from gateway.settings import Settings

_LISTEN_BACKLOG = 128
_log = structlog.get_logger(__name__)


class StorageScp:
    """Receives between `start` and `stop`; `settings.dicom.processes` says in how many processes.

    `settings.dicom.port` 0 takes a free port, which `port` tells. One instance can be started once.
    """

    def __init__(self, settings: Settings, database: Engine, received: BlobStore) -> None:
        self.receiver = Receiver(database, received, ArrivalRules.from_settings(settings))
        self._settings = settings
        self._indexer = Indexer(self.receiver, gently=settings.dicom.processes > 0)
        self._pool = ReceivePool(settings, self._indexer) if settings.dicom.processes else None
        self._host: AssociationHost | None = None
        self._indexed_until = utc_now()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._open = 0
        self._counting = threading.Lock()

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when not started."""
        return int(self._listener.getsockname()[1]) if self._listener else 0

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many instances met which verdict since the start."""
        return MappingProxyType(dict(self.receiver.counts))

    @property
    def open_associations(self) -> int:
        """Connections that are served at this moment."""
        return self._pool.connections if self._pool else self._open

    @property
    def accepts(self) -> bool:
        """False while the database cannot be written and instances are refused therefore."""
        return not self._indexer.stopped

    def indexed_until(self) -> dt.datetime:
        """Everything acknowledged before this moment is in the rows."""
        now = utc_now()  # before the look: what is said meanwhile is later
        if self._pool is None or not self._pool.unheard:
            self._indexed_until = min(now, self._indexer.indexed_until())
        return self._indexed_until

    def wait_until_indexed(self, timeout_s: float = 20.0) -> bool:
        """Return once everything acknowledged so far is in the rows; false when that took too long."""
        deadline = time.monotonic() + timeout_s
        while self._pool is not None and self._pool.unheard and time.monotonic() < deadline:
            time.sleep(0.005)
        return self._indexer.wait_until_indexed(max(0.0, deadline - time.monotonic()))

    def start(self) -> None:
        """Index what a killed process left behind, give open studies a full quiet time, then listen.

        Raises:
            OSError: when the port is taken or the address is not of this machine.
            StorageFull, StorageBroken: when the image store cannot be written.
        """
        rebuild_index(self.receiver)
        break_those_of_dead_receivers(self.receiver.engine)
        resume_timers(self.receiver.engine, self.receiver.rules)
        dicom = self._settings.dicom
        family = socket.AF_INET6 if ":" in dicom.host else socket.AF_INET
        self._listener = socket.create_server((dicom.host, dicom.port), family=family, backlog=_LISTEN_BACKLOG)
        self._indexer.start()
        if self._pool is not None:
            self._indexer.on_change = self._pool.announce
            self._pool.start()
        else:
            folder = self.receiver.blobs.folder
            self._host = AssociationHost(self._settings, self.receiver.engine, folder, self._indexer)
        self._thread = threading.Thread(target=self._accept, args=[self._listener], name="storage-scp", daemon=True)
        self._thread.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Accept no more associations, let open ones finish for `grace_s`, then abort them; index what came."""
        if self._listener is None or self._thread is None:
            return
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._thread.join()
        self._listener.close()
        if self._pool is not None:
            self._pool.stop(grace_s)
        if self._host is not None:
            self._host.stop(grace_s)
        self._indexer.stop(grace_s)
        self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, address = listener.accept()
            except OSError:
                return
            self._take(client, address)

    def _take(self, client: socket.socket, address: Any) -> None:
        over_limit = self.open_associations >= self._settings.dicom.max_associations
        if self._pool is not None:
            self._pool.serve(client, address, over_limit=over_limit)
        elif self._host is not None:
            with self._counting:
                self._open += 1
            self._host.serve(client, address, self._closed, over_limit=over_limit)

    def _closed(self) -> None:
        with self._counting:
            self._open -= 1

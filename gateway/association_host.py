"""Serves associations on connections that somebody else has accepted, each in threads of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AddressInformation
from sqlalchemy import Engine

from gateway.admission import Admission
from gateway.associations import new_carrier
from gateway.commitment_reports import CommitmentReports
from gateway.inbox import Inbox
from gateway.intake import IndexLine, Intake
from gateway.peer_places import PeerPlaces, Place
from gateway.receiving_socket import ReceivingSocket
from gateway.server_tls import server_context
from gateway.settings import Settings, Tls
from gateway.sop_classes import ACCEPTED, TRANSFER_SYNTAXES
from gateway.storage_dul import StorageAssociation

_REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_UNKNOWN = 1, 1, 3
_REJECTED_TRANSIENT, _BY_PRESENTATION, _LOCAL_LIMIT = 2, 3, 2
_HANDSHAKE_TIMEOUT_S = 10.0
_ABORT_TIMEOUT_S = 5.0
_log = structlog.get_logger(__name__)

Closed = Callable[[], None]


class AssociationHost:
    """The associations of this process. What they bring lies in its inbox and is told to `line`."""

    def __init__(self, settings: Settings, database: Engine, received: Path, line: IndexLine) -> None:
        """`received` is the folder of the image store.

        Raises:
            StorageFull, StorageBroken: when no inbox can be made there.
        """
        _config.LOG_HANDLER_LEVEL = "none"  # pynetdicom's log prints data sets
        self._settings, self._line = settings, line
        self._admission = Admission(settings.dicom)
        self._tls = _tls_context(settings.dicom.tls) if settings.dicom.tls else None
        self.inbox = Inbox(received, settings.storage.min_free_mb * 2**20)
        commitment = CommitmentReports(settings, database)
        self._contexts = [
            build_context(Verification),
            *(build_context(c, list(TRANSFER_SYNTAXES)) for c in ACCEPTED),
            *commitment.contexts,
        ]
        self._handlers = [(evt.EVT_REQUESTED, self._admit), *commitment.handlers]
        self._entity = _application_entity(settings)
        self._open: set[StorageAssociation] = set()
        self._peer_places = PeerPlaces(settings)
        self._places: dict[StorageAssociation, Place] = {}
        self._changing = threading.Condition()

    @property
    def open_associations(self) -> int:
        with self._changing:
            return len(self._open)

    def serve(self, client: socket.socket, address: Any, closed: Closed, *, over_limit: bool = False) -> None:
        """Serve a connection in threads of its own; `closed` is called when it is over.

        One that is `over_limit` is rejected for now, once it has said who it is.
        """
        threading.Thread(
            target=self._serve, args=[client, address, closed, over_limit], name="negotiation", daemon=True
        ).start()

    def stop(self, grace_s: float) -> None:
        """Let open associations finish for `grace_s`, then abort them."""
        with self._changing:
            self._changing.wait_for(lambda: not self._open, grace_s)
            left = list(self._open)
        for association in left:
            association.abort()
        with self._changing:
            self._changing.wait_for(lambda: not self._open, _ABORT_TIMEOUT_S)
        self.inbox.close()

    def _serve(self, client: socket.socket, address: Any, closed: Closed, over_limit: bool) -> None:
        connection: socket.socket = client
        try:
            if self._tls is not None:
                secured = self._tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                connection = secured
                _shake_hands(secured)
            self._run(self._association(connection, address, over_limit))
        except OSError as error:
            _log.warning("connection failed", host=address[0], reason=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: this connection ends, the service goes on
            _log.error("connection failed", error=type(error).__name__, exc_info=True)
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)  # what was said last, such as a TLS alert, still arrives
            connection.close()
            closed()

    def _run(self, association: StorageAssociation) -> None:
        with self._changing:
            self._open.add(association)
        try:
            association.run()
        finally:
            place = self._places.pop(association, None)
            if place is not None:
                place.free()
            with self._changing:
                self._open.discard(association)
                self._changing.notify_all()

    def _association(self, client: socket.socket, address: Any, over_limit: bool) -> StorageAssociation:
        """An association on a connection, as pynetdicom's own server makes it, not started."""
        dicom = self._settings.dicom
        association = StorageAssociation(self._entity, Intake(self.inbox, self._line, dicom.durability), over_limit)
        connection = ReceivingSocket(association, client, dicom.max_pdu, dicom.idle_timeout_s)
        association.set_socket(connection)
        association.dul.attach(connection)
        acceptor = association.acceptor
        acceptor.maximum_length = dicom.max_pdu
        acceptor.ae_title = dicom.ae_title
        acceptor.address_info = AddressInformation.from_tuple(client.getsockname())
        acceptor.implementation_class_uid = self._entity.implementation_class_uid
        acceptor.implementation_version_name = self._entity.implementation_version_name
        acceptor.supported_contexts = list(self._contexts)
        association.requestor.address_info = AddressInformation.from_tuple(address)
        for event, handler in self._handlers:
            association.bind(event, handler)
        return association

    def _admit(self, event: evt.Event) -> None:
        association = cast(StorageAssociation, event.assoc)
        request, caller = association.requestor.primitive, association.requestor.address_info
        calling_ae = str(request.calling_ae_title).strip() if request else ""
        host = caller.address if caller else ""
        reason = self._admission.refusal(calling_ae, host)
        answer = (_REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_UNKNOWN)
        if reason is None and association.over_limit:
            reason = "as many associations as dicom.max_associations are open"
            answer = (_REJECTED_TRANSIENT, _BY_PRESENTATION, _LOCAL_LIMIT)
        elif reason is None and not self._has_place(association, calling_ae, host):
            reason = "as many associations as this peer's max_associations are open"
            answer = (_REJECTED_TRANSIENT, _BY_PRESENTATION, _LOCAL_LIMIT)
        if reason is None:
            association.intake.carrier = new_carrier(calling_ae)
            return
        _log.warning("association refused", calling_ae=calling_ae, host=host, reason=reason)
        association.acse.send_reject(*answer)
        association.kill()  # returns when the rejection is out

    def _has_place(self, association: StorageAssociation, calling_ae: str, host: str) -> bool:
        peer = self._admission.peer(calling_ae, host)
        if peer is None or peer.max_associations is None:
            return True
        place = self._peer_places.take(peer)
        if place is not None:
            self._places[association] = place
        return place is not None


def _shake_hands(connection: ssl.SSLSocket) -> None:
    connection.settimeout(_HANDSHAKE_TIMEOUT_S)
    connection.do_handshake()
    connection.settimeout(None)


def _application_entity(settings: Settings) -> AE:
    dicom = settings.dicom
    entity = AE(dicom.ae_title)
    entity.require_called_aet = True
    entity.maximum_associations = 10**6  # `over_limit` says when there are too many
    entity.maximum_pdu_size = dicom.max_pdu
    entity.network_timeout = dicom.idle_timeout_s
    entity.dimse_timeout = dicom.idle_timeout_s
    return entity


def _tls_context(tls: Tls) -> ssl.SSLContext:
    callers = tls.ca_file if tls.require_client_certificate else None
    return server_context("dicom.tls", tls.certificate_file, tls.key_file, callers)

"""The DICOM node that studies are sent to: Verification and Storage SCP (PS3.4 A and B.2).

Success (0000H) is answered when the instance is safe: synced in the image store and indexed. What the statuses mean
here is in `STATUS_OF` and the conformance statement; the reason travels in Error Comment (0000,0902), which never
quotes a data set.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer
from sqlalchemy.engine import Engine

from gateway.admission import Admission
from gateway.arrivals import ArrivalRules, Outcome, Verdict, resume_timers
from gateway.associations import Carrier, break_those_of_dead_receivers, broken, new_carrier, released
from gateway.blobs import BlobStore
from gateway.commitment_reports import CommitmentReports
from gateway.errors import Retriable
from gateway.part10 import EncodedInstance
from gateway.receiver import Receiver, rebuild_index
from gateway.settings import Settings, Tls
from gateway.sop_classes import ACCEPTED, TRANSFER_SYNTAXES
from gateway.tables import QuarantineKind
from gateway.tcp import no_delay

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
STATUS_OF: Mapping[QuarantineKind, int] = MappingProxyType(
    {
        QuarantineKind.UNREADABLE: CANNOT_UNDERSTAND,
        QuarantineKind.TRUNCATED: CANNOT_UNDERSTAND,
        QuarantineKind.NO_PIXEL_DATA: CANNOT_UNDERSTAND,
        QuarantineKind.MISSING_UID: DATA_SET_MISMATCH,
        QuarantineKind.CLASS_MISMATCH: DATA_SET_MISMATCH,
    }
)
"""Status of a refused instance (PS3.4 B.2.3); every other outcome is success, because the instance is kept."""

_REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_UNKNOWN = 1, 1, 3
_HANDSHAKE_TIMEOUT_S = 10.0
_LISTEN_BACKLOG = 128
_log = structlog.get_logger(__name__)


class StorageScp:
    """Receives in threads of this process, between `start` and `stop`.

    `settings.dicom.port` 0 takes a free port, which `port` tells. One instance can be started once.
    """

    def __init__(self, settings: Settings, database: Engine, received: BlobStore) -> None:
        self.receiver = Receiver(database, received, ArrivalRules.from_settings(settings))
        self._settings = settings
        self._admission = Admission(settings.dicom)
        self._commitment = CommitmentReports(settings, database)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._carriers: dict[Association, Carrier] = {}

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when not started."""
        return int(self._server.server_address[1]) if self._server else 0

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many instances met which verdict since the start."""
        return MappingProxyType(dict(self.receiver.counts))

    @property
    def open_associations(self) -> int:
        return len(self._server.active_associations) if self._server else 0

    def start(self) -> None:
        """Index what a killed process left behind, give open studies a full quiet time, then listen.

        Raises:
            OSError: when the port is taken or the address is not of this machine.
        """
        rebuild_index(self.receiver)
        break_those_of_dead_receivers(self.receiver.engine)
        resume_timers(self.receiver.engine, self.receiver.rules)
        _config.LOG_HANDLER_LEVEL = "none"  # pynetdicom's log prints data sets
        dicom = self._settings.dicom
        self._server = _Server(
            self._application_entity(),
            (dicom.host, dicom.port),
            dicom.ae_title,
            [
                build_context(Verification),
                *(build_context(c, list(TRANSFER_SYNTAXES)) for c in ACCEPTED),
                *self._commitment.contexts,
            ],
            _ssl_context(dicom.tls) if dicom.tls else None,
            [
                (evt.EVT_CONN_OPEN, no_delay),
                (evt.EVT_REQUESTED, self._admit),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_RELEASED, self._released),
                (evt.EVT_CONN_CLOSE, self._closed),
                *self._commitment.handlers,
            ],
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.1], name="storage-scp", daemon=True)
        self._thread.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Accept no more associations, let open ones finish for `grace_s`, then abort them."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        deadline = time.monotonic() + grace_s
        while self._server.active_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        for association in self._server.active_associations:
            association.abort()
        self._server = None

    def _application_entity(self) -> AE:
        dicom = self._settings.dicom
        entity = AE(dicom.ae_title)
        entity.require_called_aet = True
        entity.maximum_associations = dicom.max_associations
        entity.maximum_pdu_size = dicom.max_pdu
        entity.network_timeout = dicom.idle_timeout_s
        entity.dimse_timeout = dicom.idle_timeout_s
        return entity

    def _admit(self, event: evt.Event) -> None:
        request, caller = event.assoc.requestor.primitive, event.assoc.requestor.address_info
        calling_ae = str(request.calling_ae_title).strip() if request else ""
        host = caller.address if caller else ""
        reason = self._admission.refusal(calling_ae, host)
        if reason is None:
            return
        _log.warning("association refused", calling_ae=calling_ae, host=host, reason=reason)
        event.assoc.acse.send_reject(_REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_UNKNOWN)
        event.assoc.kill()  # returns when the rejection is out

    def _store(self, event: evt.Event) -> Dataset | int:
        try:
            outcome = self.receiver.take(_encoded(event), self._carrier(event))
        except Retriable as problem:
            _log.error("instance refused", error=type(problem).__name__, reason=str(problem))
            return _status(OUT_OF_RESOURCES, type(problem).__name__)
        except Exception as error:  # noqa: BLE001 - the edge of the process: the sender is told, the service goes on
            _log.error("instance failed", error=type(error).__name__, exc_info=True)
            return _status(PROCESSING_FAILURE, "Internal error, see the log of the gateway")
        return _answer(outcome)

    def _carrier(self, event: evt.Event) -> Carrier:
        return self._carriers.setdefault(event.assoc, new_carrier(str(event.assoc.requestor.ae_title).strip()))

    def _released(self, event: evt.Event) -> None:
        self._end(event, released)

    def _closed(self, event: evt.Event) -> None:
        self._end(event, broken)  # nothing is left to do where a release came before

    def _end(self, event: evt.Event, how: Callable[[Engine, Carrier], None]) -> None:
        carrier = self._carriers.pop(event.assoc, None)
        if carrier is None:
            return
        try:
            how(self.receiver.engine, carrier)
        except Retriable as problem:  # the study waits for its retry time, as after a kill
            _log.warning("the end of an association could not be noted", error=type(problem).__name__)


class _Server(ThreadedAssociationServer):
    """A server whose accept loop cannot be held up: long backlog, and the TLS handshake in the association's thread."""

    request_queue_size = _LISTEN_BACKLOG
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = cast(socket.socket, self.socket).accept()
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            try:
                request.settimeout(_HANDSHAKE_TIMEOUT_S)
                request.do_handshake()
                request.settimeout(None)
            except OSError as error:
                _log.warning("TLS handshake failed", host=client_address[0], reason=type(error).__name__)
                self.shutdown_request(request)
                return
        super().finish_request(request, client_address)

    def shutdown(self) -> None:
        socketserver.BaseServer.shutdown(self)  # pynetdicom's expects to be known to the AE
        self.server_close()


def _encoded(event: evt.Event) -> EncodedInstance:
    request, context = cast(C_STORE, event.request), event.context
    return EncodedInstance(
        sop_class_uid=str(context.abstract_syntax),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(context.transfer_syntax),
        source_ae=str(event.assoc.requestor.ae_title).strip(),
        dataset=request.DataSet.getvalue() if request.DataSet else b"",
    )


def _answer(outcome: Outcome) -> Dataset | int:
    if outcome.kind is not None:
        _log.warning("instance in quarantine", kind=outcome.kind.value, study_key=outcome.study_key)
    if outcome.verdict is not Verdict.REFUSED or outcome.kind is None:
        return SUCCESS
    return _status(STATUS_OF[outcome.kind], outcome.sentence)


def _status(code: int, comment: str) -> Dataset:
    status = Dataset()
    status.Status = code
    status.ErrorComment = comment[:64]
    return status


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer with our certificate; peers must show one of the given authority (BCP 195, PS3.15 B.12)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    context.load_verify_locations(tls.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED if tls.require_client_certificate else ssl.CERT_NONE
    return context

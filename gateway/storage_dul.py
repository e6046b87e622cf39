"""pynetdicom's upper layer and association without its polling, and with C-STORE served where the bytes arrive.

`StorageDul` waits for the network and for the other thread in one poll. PDUs that carry C-STORE go to `DataMessages`;
negotiation, C-ECHO, release, abort and whatever is odd stay pynetdicom's. The classes rely on internals of
pynetdicom 3.0, which is why pyproject.toml pins it; tests/gateway_receive holds them to its behaviour.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, Any

import structlog
from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ

from gateway.data_messages import DataMessages, ProtocolError
from gateway.errors import Retriable
from gateway.intake import Intake
from gateway.part10 import MALFORMED
from gateway.receiving_socket import ReceivingSocket, new_poller, readable

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity

_P_DATA_TF, _A_RELEASE_RQ = 4, 5
_TRANSFER, _AWAITING_CLOSE, _IDLE = "Sta6", "Sta13", "Sta1"
_CLOSED, _INVALID, _ARTIM_EXPIRED = "Evt17", "Evt19", "Evt18"
_PROVIDER, _NO_REASON = 2, 0
_log = structlog.get_logger(__name__)


class _Wake:
    """An event that a poll can wait for; setting it after its end does nothing."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()

    def set(self) -> None:
        with self._lock:
            if self.descriptor >= 0:
                os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        os.eventfd_read(self.descriptor)

    def close(self) -> None:
        with self._lock:
            os.close(self.descriptor)
            self.descriptor = -1


class _WakingQueue(queue.Queue[Any]):
    """A queue that calls somebody when something is put into it."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self._call = call

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._call()


class StorageDul(DULServiceProvider):
    """The upper layer of one association that we accepted."""

    def __init__(self, association: StorageAssociation, intake: Intake) -> None:
        super().__init__(association)
        self.intake = intake
        self._wake_association = association.wake
        self._wake = _Wake()
        self.to_provider_queue = _WakingQueue(self._wake.set)
        self.to_user_queue = _WakingQueue(self._wake_association)
        self._messages: DataMessages | None = None
        self._connection: ReceivingSocket | None = None
        self._poller: Any = None

    def attach(self, connection: ReceivingSocket) -> None:
        """Set the connection; before the thread starts."""
        self._connection = connection
        self._messages = DataMessages(self.assoc, connection, self.intake)
        self._poller = new_poller(self._wake.descriptor, connection.socket.fileno() if connection.socket else -1)

    def kill_dul(self) -> None:
        super().kill_dul()
        self._wake.set()

    def stop_dul(self) -> bool:
        if self.state_machine.current_state == _IDLE:
            self.kill_dul()
        return bool(super().stop_dul())

    def interrupt(self) -> None:
        """End the waiting for a peer that is in the middle of a data set."""
        if self._connection is not None and self._messages is not None and self._messages.inside_data_set:
            self._connection.interrupt()

    def run_reactor(self) -> None:
        """The loop of the DUL thread."""
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                self._turn()
        except InvalidEventError as error:
            _log.warning("association ended out of order", reason=str(error))
            self._end_hard()
        except MALFORMED as error:
            _log.warning("association ended: what its peer sent cannot be read", error=type(error).__name__)
            self._end_hard()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the peer is told, the service goes on
            _log.error("association failed", error=type(error).__name__, exc_info=True)
            self._end_hard()
        finally:
            self.intake.abandon()
            self._wake.close()
            self._wake_association()

    def _turn(self) -> None:
        if self.artim_timer.expired:
            self.event_queue.put(_ARTIM_EXPIRED)
        elif self.event_queue.empty() and not self._process_recv_primitive():
            self._wait()
        try:
            event = self.event_queue.get_nowait()
        except queue.Empty:
            return
        self.state_machine.do_action(event)
        if self.state_machine.current_state == _IDLE:
            # A peer that leaves before it has said who it is must not hold its place until a timeout.
            self.to_user_queue.put(None)

    def _wait(self) -> None:
        """Until there is something to read or to send, or a timer ends."""
        connection, state = self._connection, self.state_machine.current_state
        if connection is None or connection.socket is None:
            self._await_wake()
        elif state == _AWAITING_CLOSE:
            self._is_transport_event()
        elif self._about_to_receive(connection, state):
            self._read(state)
        else:
            ready = readable(self._poller, self._until_artim())
            if self._wake.descriptor in ready:
                self._wake.clear()
            elif ready:
                self._read(state)

    def _about_to_receive(self, connection: ReceivingSocket, state: str) -> bool:
        if connection.partial or connection.secured_pending:
            return True
        return state == _TRANSFER and self._messages is not None and self._messages.inside_data_set

    def _await_wake(self) -> None:
        readable(new_poller(self._wake.descriptor), self._until_artim())
        try:
            self._wake.clear()
        except BlockingIOError:
            return

    def _until_artim(self) -> float | None:
        timer = self.artim_timer
        running = timer.timeout is not None and timer._start_time is not None and timer._end_time is None
        return float(timer.remaining) + 0.001 if running else None

    def _read(self, state: str) -> None:
        if state != _TRANSFER:
            self._read_pdu_data()
            self._idle_timer.restart()
            return
        try:
            self._read_transfer()
        except ProtocolError as error:
            _log.warning("association aborted", reason=str(error))
            self.event_queue.put(_INVALID)
        except ValueError as error:
            _log.warning("association aborted", reason=str(error))
            self.event_queue.put(_INVALID)
        except OSError as error:
            _log.warning("connection lost", reason=type(error).__name__)
            self.event_queue.put(_CLOSED)

    def _read_transfer(self) -> None:
        """Receive once, then act on every PDU that is here as a whole."""
        connection, messages = self._connection, self._messages
        if connection is None or messages is None:
            return
        found = connection.next_pdu()
        if found is None:
            if not connection.fill():
                self.event_queue.put(_CLOSED)
                return
            self._idle_timer.restart()
            found = connection.next_pdu()
        while found is not None:
            kind, length = found
            if kind != _P_DATA_TF:
                self._hand_over(kind)
                return
            messages.take(connection.take_pdu(length))
            found = connection.next_pdu()
        if messages.inside_data_set or connection.partial:
            connection.acknowledge()  # else the response has done so

    def _hand_over(self, kind: int) -> None:
        """A PDU for pynetdicom. What was acknowledged is on the disk before a release is answered."""
        if kind == _A_RELEASE_RQ:
            try:
                self.intake.settle()
            except Retriable as problem:
                _log.error("release not answered", error=type(problem).__name__, reason=str(problem))
                self._end_hard()
                return
        self._read_pdu_data()

    def _end_hard(self) -> None:
        """Abort without the state machine, as pynetdicom does when it no longer knows its state."""
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = _PROVIDER, _NO_REASON
        if self.socket is not None and self.socket.socket is not None:
            self.socket.send(abort.encode())
            self.socket.close()
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self.assoc._kill = True
        self._kill_thread = True


class StorageAssociation(Association):
    """An association that we accepted; its thread sleeps until something is there for it."""

    dul: StorageDul

    def __init__(self, entity: ApplicationEntity, intake: Intake, over_limit: bool = False) -> None:
        """Not started; `run` serves it to its end in the calling thread. `over_limit`: one more than are allowed."""
        super().__init__(entity, MODE_ACCEPTOR)
        self.intake, self.over_limit = intake, over_limit
        self.dul = StorageDul(self, intake)
        self.acse_timeout, self.network_timeout = entity.acse_timeout, entity.network_timeout

    def run_reactor(self) -> None:
        """Negotiate, serve, and tell the intake how it ended."""
        try:
            super().run_reactor()
        except MALFORMED as error:
            if self.is_established:
                raise
            _log.warning("association not accepted: its request cannot be read", error=type(error).__name__)
        finally:
            self.kill()
            self.intake.end(released=self.is_released)

    def wake(self) -> None:
        """Let the association's thread look at what has changed."""
        provider = getattr(self, "dimse", None)
        if provider is not None:
            provider.msg_queue.put((None, None))

    def kill(self) -> None:
        self.dul.interrupt()
        super().kill()

    def _run_reactor(self) -> None:
        self._is_paused = False
        while not self._kill and not self._turn():
            pass

    def _turn(self) -> bool:
        """Serve a message, or see what has become of the association; true at its end."""
        self._is_paused = True
        self._reactor_checkpoint.wait()
        self._is_paused = False
        self._serve_next()
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
        elif self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
        elif self.dul.idle_timer_expired():
            _log.warning("association aborted", reason="nothing came for the whole idle time")
            self.abort()
        elif self.dul.is_alive():
            return False
        self.kill()
        return True

    def _serve_next(self) -> None:
        if self.dul.to_user_queue.queue or not self.dul.is_alive():
            return
        left = self.dul._idle_timer.remaining
        try:
            context_id, message = self.dimse.msg_queue.get(timeout=max(left, 0.0) + 0.01)
        except queue.Empty:
            return
        if message is not None and context_id is not None:
            self._serve_request(message, context_id)

"""The MLLP listener: framing by python-hl7, one answer for each message, in the order they came."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from asyncio import IncompleteReadError
from concurrent.futures import ThreadPoolExecutor

import structlog
from hl7.mllp import InvalidBlockError, start_hl7_server
from hl7.mllp.streams import HL7StreamReader, HL7StreamWriter

from gateway.context import Gateway
from gateway.hl7.answers import REJECTED, Answer, encode_answer
from gateway.hl7.handling import answer_message
from gateway.hl7.messages import Header
from gateway.identity_settings import Hl7, Hl7Tls
from gateway.server_tls import server_context

_START_TIMEOUT_S = 10.0
_log = structlog.get_logger()


class Hl7Listener:
    """Listens in a thread of its own between `start` and `stop`; `port` is the one it got where the settings say 0."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._options = gateway.settings.hl7
        self._tls = _tls_context(self._options.tls) if self._options.tls else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hl7", daemon=True)
        self._started: threading.Event = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._trouble: OSError | None = None
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="hl7")  # decisions about patients come one by one
        self._open: set[asyncio.Task[None]] = set()
        self.port = self._options.port

    def start(self) -> None:
        """Raises OSError when the port cannot be had."""
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise TimeoutError("the HL7 listener did not start")
        if self._trouble is not None:
            raise self._trouble

    def stop(self) -> None:
        """Finish the message under way, close all connections."""
        if self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._workers.shutdown()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        try:
            server = await start_hl7_server(
                self._connected,
                self._options.host,
                self._options.port,
                limit=self._options.max_message_kb * 1024,
                ssl=self._tls,
            )
        except OSError as error:
            self._trouble = error
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopping.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await server.wait_closed()

    async def _connected(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        task = asyncio.current_task()
        address = str((writer.get_extra_info("peername") or [""])[0])
        try:
            if len(self._open) >= self._options.max_connections or not is_allowed(self._options, address):
                _log.warning("an HL7 connection was refused", host=address)
                return
            if task is not None:
                self._open.add(task)
            await self._converse(reader, writer)
        except (IncompleteReadError, InvalidBlockError, ConnectionError, TimeoutError, ssl.SSLError):
            pass  # the other end went away, fell silent, or does not speak MLLP: there is nobody to answer
        finally:
            if task is not None:
                self._open.discard(task)
            writer.close()

    async def _converse(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                block = await asyncio.wait_for(reader.readblock(), self._options.idle_timeout_s)
            except ValueError:
                too_long = Answer(REJECTED, f"the message is longer than {self._options.max_message_kb} KB", "207")
                writer.writeblock(encode_answer(Header(), too_long))
                await writer.drain()
                return
            writer.writeblock(await loop.run_in_executor(self._workers, answer_message, self._gateway, block))
            await writer.drain()


def is_allowed(options: Hl7, address: str) -> bool:
    """Whether a host may send: one of the list (names, addresses, networks), else this machine only."""
    try:
        caller = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    caller = getattr(caller, "ipv4_mapped", None) or caller
    if not options.allowed_hosts:
        return caller.is_loopback
    return any(_matches(entry, caller) for entry in options.allowed_hosts)


def _matches(entry: str, caller: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return caller in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    try:
        found = {str(info[4][0]).split("%")[0] for info in socket.getaddrinfo(entry, None)}
    except OSError:
        return False  # a name that does not resolve admits nobody
    return str(caller) in found


def _tls_context(tls: Hl7Tls) -> ssl.SSLContext:
    return server_context("hl7.tls", tls.certificate_file, tls.key_file, tls.ca_file)

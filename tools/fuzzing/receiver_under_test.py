"""A receiver in a process of its own, what it costs, and a sender of valid images whose every image must be kept."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from sqlmodel import select

from gateway.blobs import RECEIVED, open_blobs
from gateway.database import open_database, read_scope
from gateway.part10 import read_part10
from gateway.settings import Settings
from gateway.tables import Instance, Quarantine
from tools.fuzzing.elements import EXPLICIT
from tools.fuzzing.ledger import rss_kb
from tools.fuzzing.mr_data_sets import MR, valid_case
from tools.fuzzing.pdus import (
    ASSOCIATE_AC,
    P_DATA,
    associate_rq,
    command_set,
    echo,
    fragments,
    pdu,
    release_rq,
    responses,
    store_elements,
)

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "tests" / "gateway_receive" / "receiver_process.py"
_PACE_S = 0.005
TIMEOUT_S = 10.0


class ReceiverUnderTest:
    """Runs `tests/gateway_receive/receiver_process.py` on a folder; `log` is what it says on standard error.
    `processes` serve the connections, 0 for threads of the receiver."""

    def __init__(self, folder: Path, processes: int = 0) -> None:
        self.folder, self.log, self.processes = folder, folder / "stderr", processes
        self.url = f"sqlite:///{folder / 'fuzz.db'}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(_PROGRAM), str(self.folder / "data"), self.url, "600", str(self.processes)]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=_ROOT, env=environment
            )
        if self.process.stdout is None or not (told := self.process.stdout.readline()):
            raise RuntimeError(f"the receiver did not start: {self.log.read_text()[-2000:]}")
        self.port = int(told)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def costs(self) -> tuple[int, int, int]:
        """Resident memory (kB), open descriptors, threads; of all its processes together."""
        pid = self.process.pid
        served_by = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(served_by) != self.processes:
            raise RuntimeError(f"{len(served_by)} of {self.processes} receiving processes are there")
        all_of_them = [str(pid), *served_by]
        descriptors, threads = (
            sum(len(list(Path(f"/proc/{one}/{what}").iterdir())) for one in all_of_them) for what in ("fd", "task")
        )
        return sum(map(rss_kb, all_of_them)), descriptors, threads

    def echo_s(self) -> float:
        """Seconds from connecting to the answer of a C-ECHO on a new association.

        Raises:
            OSError: when there is none.
        """
        begun = time.perf_counter()
        with Client(self.port) as client:
            client.associate()
            client.send(echo())
            kind, content = client.pdu()
            if kind != P_DATA or responses(pdu(kind, content))[0].get(0x0900) != b"\0\0":
                raise OSError("C-ECHO was not answered")
            took = time.perf_counter() - begun
            client.send(release_rq())
            client.pdu()
        return took

    def missing(self, acknowledged: dict[str, bytes]) -> list[str]:
        """UIDs of what was acknowledged and is not stored as it was sent; the receiver must have indexed it."""
        settings = Settings(data_dir=self.folder / "data", database={"url": self.url})
        database = open_database(self.url)
        store = open_blobs(settings.storage.url, RECEIVED)
        with read_scope(database) as session:
            # a study that another sender spoilt keeps later images for a person's decision
            kept = {q.sop_instance_uid: q.blob for q in session.exec(select(Quarantine)).all() if q.blob}
            blobs = {**kept, **{i.sop_instance_uid: i.blob for i in session.exec(select(Instance)).all()}}
        database.dispose()
        return [
            uid
            for uid, content in acknowledged.items()
            if uid not in blobs or bytes(read_part10(store.read(blobs[uid])).dataset) != content
        ]


class Client:
    """A bare connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def pdu(self) -> tuple[int, bytes]:
        """Type and content of the next PDU.

        Raises:
            OSError: when the connection ends before.
        """
        kind, _, length = struct.unpack(">BBI", self._exactly(6))
        return kind, self._exactly(length)

    def associate(self, request: bytes = b"") -> None:
        self.send(request or associate_rq())
        kind, _ = self.pdu()
        if kind != ASSOCIATE_AC:
            raise OSError(f"the association was not accepted, but answered with PDU type {kind}")

    def store(self, message_id: int, sop_instance: str, content: bytes, step: int = 16000) -> int:
        """The status of a C-STORE in context 1."""
        command = command_set(store_elements(message_id, MR, sop_instance))
        values = fragments(1, command, step, command=True) + fragments(1, content, step, command=False)
        self.send(b"".join(pdu(P_DATA, value) for value in values))
        kind, answer = self.pdu()
        if kind != P_DATA:
            raise OSError("the association ended")
        return int.from_bytes(responses(pdu(kind, answer))[0][0x0900], "little")

    def drain(self) -> bytes:
        """What comes until the peer closes.

        Raises:
            TimeoutError: when it does not.
        """
        received = b""
        while piece := self.socket.recv(65536):
            received += piece
        return received

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            piece = self.socket.recv(count - len(received))
            if not piece:
                raise OSError("the connection ended")
            received += piece
        return received


class Witness(threading.Thread):
    """Sends valid images all the time, 20 to an association. `acknowledged` maps UIDs to data sets, `complaint` is the
    first thing that went wrong while the receiver was to live."""

    def __init__(self, receiver: ReceiverUnderTest, seed: int) -> None:
        super().__init__(name="witness", daemon=True)
        self._receiver, self._rng = receiver, random.Random(f"{seed}/witness")  # noqa: S311
        self.acknowledged: dict[str, bytes] = {}
        self.complaint = ""
        self.ending = threading.Event()
        self._number = 0

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                self._association()
            except (OSError, ValueError) as error:
                if not self.ending.is_set():
                    self.complaint = self.complaint or f"after {len(self.acknowledged)} images: {error}"
                    return

    def _association(self) -> None:
        with Client(self._receiver.port) as client:
            client.associate()
            for _ in range(20):
                uid, content = self._image()
                status = client.store(self._number % 65536, uid, content, self._rng.choice((100, 1000, 16000)))
                if status != 0:
                    raise ValueError(f"a valid image was answered with {status:04X}")
                self.acknowledged[uid] = content
                if self.ending.wait(_PACE_S):
                    return
            client.send(release_rq())
            client.pdu()

    def _image(self) -> tuple[str, bytes]:
        while True:
            self._number += 1
            case = valid_case(self._rng, 10**9 + self._number)
            if case.sop_class == MR and case.syntax == EXPLICIT:
                return case.sop_instance, case.encoded()

"""Second layer: presentation data values -> DataMessages, with a real intake and inbox and pynetdicom behind it.

The upper layer's threads are left out. Each case has to end in valid responses, in a message for pynetdicom, or in a
ProtocolError (which aborts the association). A message without a fault is answered with success exactly when its file
lies in the inbox as it was sent.
"""

from __future__ import annotations

import functools
import logging
import random
import shutil
import struct
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import structlog
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from gateway.associations import Carrier
from gateway.data_messages import DataMessages, ProtocolError
from gateway.inbox import Inbox, InboxFile
from gateway.intake import Intake
from gateway.part10 import read_part10
from gateway.settings import Durability
from gateway.storage_dul import StorageAssociation
from tools.fuzzing.elements import EXPLICIT
from tools.fuzzing.ledger import Ledger, Wrong
from tools.fuzzing.mr_data_sets import MR, valid_case
from tools.fuzzing.pdus import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    VERIFICATION,
    WITHOUT_DATA_SET,
    command_set,
    element,
    fragments,
    pdv,
    responses,
    store_elements,
)

LAYER = "messages"
_STATUSES = frozenset((0x0000, 0x0110, 0xA700, 0xA900, 0xC000))
_COMMANDS = (0x0001, 0x8001, 0x0010, 0x0020, 0x0021, 0x0030, 0x8030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150,
             0x0FFF, 0x0000, 0xFFFF, 0x1234)  # fmt: skip


class _Connection:
    """Stands in for the socket: keeps what is sent, and whether received memory is in use."""

    def __init__(self) -> None:
        self.sent, self.pinned, self.socket = b"", False, None

    def send_now(self, content: bytes) -> None:
        self.sent += content

    def unpin(self) -> None:
        self.pinned = False


class _Line:
    """Stands in for the index: keeps the files."""

    stopped = False

    def __init__(self) -> None:
        self.files: list[InboxFile] = []

    def stored(self, file: InboxFile, carrier: Carrier) -> None:  # noqa: ARG002
        self.files.append(file)

    def ended(self, carrier: Carrier, *, released: bool) -> None:
        pass


class _Bench:
    """One association without threads, used for many cases."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.line = Inbox(folder, 0), _Line()
        self.intake = Intake(self.inbox, self.line, Durability.ASSOCIATION, Carrier("nfuzz", "FUZZER"))
        self.association = StorageAssociation(AE("TIMEPOINT"), self.intake)
        contexts = [build_context(MR, EXPLICIT), build_context(VERIFICATION, EXPLICIT)]
        for number, context in zip((1, 3), contexts, strict=True):
            context.context_id = number
        self.association._accepted_cx = {c.context_id: c for c in contexts if c.context_id}

    def begin(self, longest: int) -> tuple[DataMessages, _Connection]:
        connection = _Connection()
        self.association.requestor.maximum_length = longest
        self.association.dimse.message = None
        return DataMessages(self.association, connection, self.intake), connection  # type: ignore[arg-type]

    def end(self) -> int:
        """Forget the case; how many messages were handed to pynetdicom."""
        self.intake.abandon()
        self.intake._unsynced.clear()
        for file in self.line.files:
            Path(file.path).unlink()
        self.line.files.clear()
        handed = self.association.dimse.msg_queue.qsize()
        for waiting in (self.association.dimse.msg_queue, self.association.dul.event_queue):
            while not waiting.empty():
                waiting.get_nowait()
        self.association.dimse.cancel_req.clear()
        return handed


def run(seed: int, numbers: Iterable[int]) -> Ledger:
    """Try the cases with these numbers."""
    ledger = Ledger(LAYER, seed)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    before, _config.LOG_HANDLER_LEVEL = _config.LOG_HANDLER_LEVEL, "none"
    pynetdicom, pydicom = logging.getLogger("pynetdicom"), logging.getLogger("pydicom")
    levels, quiet = (pynetdicom.level, pydicom.level), structlog.get_config()
    pynetdicom.setLevel(logging.CRITICAL + 1)
    pydicom.setLevel(logging.CRITICAL + 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        bench = _Bench(folder)
        with warnings.catch_warnings(), ledger.watching():
            warnings.simplefilter("ignore")
            for number in numbers:
                with ledger.case(number):
                    rng = random.Random(f"{seed}/{LAYER}/{number}")  # noqa: S311
                    ledger.outcomes[_try(rng, bench)] += 1
                bench.end()
            left = list(bench.inbox.folder.iterdir())
        if left:
            ledger.find(-1, "files were left behind", f"{len(left)}")
        bench.association.dul._wake.close()
        bench.inbox.close()
    finally:
        structlog.configure(**quiet)
        pynetdicom.setLevel(levels[0])
        pydicom.setLevel(levels[1])
        _config.LOG_HANDLER_LEVEL = before
        shutil.rmtree(folder)
    return ledger


def _try(rng: random.Random, bench: _Bench) -> str:
    longest = rng.choice((0, 16384, 16384, 64, 8, 7, 1))
    messages, connection = bench.begin(longest)
    stream, expected = made(rng)
    outcome = "open"
    try:
        for content in _in_pdus(rng, stream):
            messages.take(memoryview(content))
    except ProtocolError:
        outcome = "protocol error"
    if longest >= 16384 or not longest:
        told = _statuses(connection.sent)
        if expected is not None:
            _as_promised(bench, told, *expected)
        outcome = f"answered {told[0]:04X}, {outcome}" if told else outcome
    elif connection.sent:
        outcome = f"answered in pieces, {outcome}"
    events = bench.association.dul.event_queue.qsize()
    handed = bench.association.dimse.msg_queue.qsize()
    return outcome + (", handed to pynetdicom" if handed else "") + (", invalid for pynetdicom" if events else "")


def _statuses(sent: bytes) -> list[int]:
    try:
        told = [int.from_bytes(r[0x0900], "little") for r in responses(sent)]
    except (ValueError, KeyError) as error:
        raise Wrong(f"a response is damaged: {error}") from None
    if not set(told) <= _STATUSES:
        raise Wrong(f"a status that is not declared: {told}")
    return told


def _as_promised(bench: _Bench, told: list[int], instance: str, data_set: bytes) -> None:
    if told != [0]:
        raise Wrong(f"a faultless C-STORE is answered with {told}")
    (file,) = bench.line.files
    stored = read_part10(Path(file.path).read_bytes())
    if (stored.sop_instance_uid, bytes(stored.dataset)) != (instance, data_set):
        raise Wrong("the file is not what was sent")


@functools.cache
def _images() -> list[tuple[str, bytes]]:
    """SOP Instance UID and encoded data set of some images, the same in every run."""
    rng = random.Random(LAYER)  # noqa: S311
    found: list[tuple[str, bytes]] = []
    while len(found) < 64:
        case = valid_case(rng, len(found))
        if case.sop_class == MR and case.syntax == EXPLICIT:
            found.append((case.sop_instance, case.encoded()))
    return found


def made(rng: random.Random) -> tuple[list[bytes], tuple[str, bytes] | None]:
    """Presentation data values, and what has to be stored where they are without a fault."""
    instance, content = rng.choice(_images())
    faultless = rng.random() < 0.2
    elements = store_elements(rng.randrange(65536), MR, instance)
    command = command_set(elements) if faultless else _wrong_command(rng, elements)
    context_id = 1 if faultless else rng.choice((1, 1, 1, 3, 5, 0, 255))
    pieces = (3, 40, 100, 500, 1000, 10**6)
    stream = fragments(context_id, command, rng.choice(pieces), command=True)
    stream += fragments(context_id, content, rng.choice(pieces[1:]), command=False)
    if faultless:
        return stream, (instance, content)
    if rng.random() < 0.5:
        _disturb(rng, stream)
    return stream, None


def _wrong_command(rng: random.Random, elements: list[bytes]) -> bytes:
    kind = rng.randrange(9)
    if kind == 0:
        elements.remove(rng.choice(elements))
    elif kind == 1:
        elements.insert(rng.randrange(7), rng.choice(elements))
    elif kind == 2:
        rng.shuffle(elements)
    elif kind == 3:
        value = rng.choice((b"", b"\0", b"\1\0\0\0", b"\xff" * 70, b"1.2.3", rng.randbytes(9)))
        elements[rng.randrange(6)] = element(rng.choice((0x0002, 0x0100, 0x0110, 0x0800, 0x1000, 0x0900)), value)
    elif kind == 4:
        elements[rng.randrange(6)] = element(0x0110, b"\1\0", length=rng.choice((0, 1, 3, 100, 2**31, 2**32 - 1)))
    elif kind == 5:
        elements.append(element(rng.randrange(65536), rng.randbytes(4), group=rng.choice((0, 0, 2, 8))))
    elif kind == 6:
        return command_set(elements, group_length=rng.choice((0, 1, 2**32 - 1)))
    else:
        code = rng.choice((*_COMMANDS, C_ECHO_RQ, C_CANCEL_RQ, rng.randrange(65536)))
        elements[1] = element(0x0100, struct.pack("<H", code))
        if rng.random() < 0.5:
            elements[4] = element(0x0800, struct.pack("<H", WITHOUT_DATA_SET))
        if rng.random() < 0.3:
            elements.append(element(0x0120, struct.pack("<H", rng.randrange(65536))))
    command = command_set(elements)
    return command[: rng.randrange(len(command))] if rng.random() < 0.05 else command


def _disturb(rng: random.Random, stream: list[bytes]) -> None:
    """Fragments lost, doubled, exchanged, of wrong length, of another context, of wrong kind."""
    at = rng.randrange(len(stream))
    kind = rng.randrange(7)
    if kind == 0:
        del stream[at]
    elif kind == 1:
        stream.insert(at, stream[rng.randrange(len(stream))])
    elif kind == 2:
        rng.shuffle(stream)
    elif kind == 3:
        stream[at] = pdv(1, rng.randrange(256), rng.randbytes(8), length=rng.choice((0, 1, 2, 9, 11, 2**31, 2**32 - 1)))
    elif kind == 4:
        stream[at] = stream[at][:4] + bytes([rng.randrange(256)]) + stream[at][5:]
    elif kind == 5:
        stream[at] = stream[at][:5] + bytes([rng.randrange(256)]) + stream[at][6:]
    else:
        stream[at] = stream[at][: rng.randrange(len(stream[at]))]


def _in_pdus(rng: random.Random, stream: list[bytes]) -> Iterable[bytes]:
    """Several presentation data values may share a PDU."""
    together = rng.choice((1, 1, 2, 10, 1000))
    for at in range(0, len(stream), together):
        yield b"".join(stream[at : at + together])

"""Third layer: connections to a receiver in a process of its own, while another sender's valid images come in.

After every hundred connections the receiver has to live and answer a C-ECHO within a second. At the end threads and
descriptors are back where they were, memory has not grown, nothing was logged that names a patient or shows a
traceback, and after SIGKILL and a new start all that was acknowledged to the valid sender is stored as it was sent.
"""

from __future__ import annotations

import random
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tools.fuzzing import data_set_layer, message_layer
from tools.fuzzing.elements import EXPLICIT, SYNTAXES
from tools.fuzzing.ledger import Ledger, Wrong
from tools.fuzzing.mr_data_sets import ENHANCED_MR, MARK, MR
from tools.fuzzing.pdus import (
    P_DATA,
    VERIFICATION,
    abort,
    associate_rq,
    command_set,
    echo,
    fragments,
    pdu,
    release_rq,
    responses,
    store_elements,
)
from tools.fuzzing.receiver_under_test import TIMEOUT_S, Client, ReceiverUnderTest, Witness

LAYER = "connections"
_LOOK_EVERY = 100
_ECHO_WITHIN_S = 1.0
_GROWS_KB = 64 * 1024
_STATUSES = frozenset((0x0000, 0xA900, 0xC000))
_CONTEXTS = [
    (1 + 2 * n, sop_class, syntax)
    for n, (sop_class, syntax) in enumerate((c, s) for c in (MR, ENHANCED_MR) for s in SYNTAXES)
]


def run(seed: int, numbers: Iterable[int], processes: int = 0) -> Ledger:
    """Try the cases with these numbers on a receiver with so many receiving processes."""
    ledger, folder = Ledger(LAYER, seed), Path(tempfile.mkdtemp(prefix="fuzz-"))
    receiver = ReceiverUnderTest(folder, processes)
    witness = Witness(receiver, seed)
    try:
        with ledger.watching():
            witness.start()
            _connect(ledger, receiver, seed, numbers)
            witness.ending.set()
            receiver.kill()  # in the middle of the witness' association
            witness.join(TIMEOUT_S)
        _judge(ledger, receiver, witness)
    finally:
        witness.ending.set()
        if receiver.alive:
            receiver.kill()
        shutil.rmtree(folder)
    return ledger


def _connect(ledger: Ledger, receiver: ReceiverUnderTest, seed: int, numbers: Iterable[int]) -> None:
    half_open: list[Client] = []
    costs: list[tuple[int, int, int]] = []
    slowest_echo, number = 0.0, -1
    for number in numbers:
        with ledger.case(number):
            rng = random.Random(f"{seed}/{LAYER}/{number}")  # noqa: S311
            ledger.outcomes[_try(rng, receiver.port, half_open)] += 1
        if len(costs) * _LOOK_EVERY <= number or not receiver.alive:
            slowest_echo = max(slowest_echo, _look(ledger, number, receiver, half_open))
            if not receiver.alive:
                return
            costs.append(_settled(receiver, costs[0] if costs else None))
    slowest_echo = max(slowest_echo, _look(ledger, number, receiver, half_open))
    costs.append(_settled(receiver, costs[0] if costs else None))
    early = costs[min(len(costs) - 1, 1 + len(costs) // 10)]
    ledger.notes["slowest C-ECHO"] = f"{slowest_echo * 1000:.0f} ms"
    ledger.notes["receiver, early -> late (kB resident, descriptors, threads)"] = f"{early} -> {costs[-1]}"
    ledger.notes["receiver, MB resident on the way"] = [c[0] // 1024 for c in costs[:: 1 + len(costs) // 12]]
    middle = costs[len(costs) // 2]  # the memory of threads fills up first
    if costs[-1][0] - middle[0] > _GROWS_KB:
        ledger.find(number, "memory grows", f"{middle} -> {costs[-1]}")
    if costs[-1][1] > costs[0][1] + 4 or costs[-1][2] > costs[0][2] + 4:  # the witness' own come and go
        ledger.find(number, "descriptors or threads are left behind", f"{costs[0]} -> {costs[-1]}")


def _look(ledger: Ledger, number: int, receiver: ReceiverUnderTest, half_open: list[Client]) -> float:
    if not receiver.alive:
        ledger.find(number, "the receiver died", str(receiver.process.returncode))
        return 0.0
    took = TIMEOUT_S
    with ledger.case(number):
        took = receiver.echo_s()
    if took > _ECHO_WITHIN_S:
        ledger.find(number, "C-ECHO is slow", f"{took:.2f} s")
    while half_open:
        half_open.pop().socket.close()
    return took


def _settled(receiver: ReceiverUnderTest, first: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """The costs once the threads of ended connections are gone."""
    deadline = time.monotonic() + TIMEOUT_S
    costs = receiver.costs()
    while first is not None and costs[2] > first[2] and time.monotonic() < deadline:
        time.sleep(0.02)
        costs = receiver.costs()
    return costs


def _judge(ledger: Ledger, receiver: ReceiverUnderTest, witness: Witness) -> None:
    if witness.complaint:
        ledger.find(-1, "a valid sender was disturbed", witness.complaint)
    receiver.start()  # indexes what the killed one had stored
    receiver.kill()
    lost = receiver.missing(witness.acknowledged)
    ledger.notes["valid images acknowledged / lost"] = f"{len(witness.acknowledged)} / {len(lost)}"
    if lost:
        ledger.find(-1, "acknowledged and lost", f"{len(lost)} images")
    log = receiver.log.read_text(errors="replace")
    for what in (MARK, "Traceback", "instance failed"):
        if what in log:
            at = log.index(what)
            ledger.find(-1, f"log holds {what}", log[max(0, at - 300) : at + 1500].replace(MARK, "(name)"))


def _try(rng: random.Random, port: int, half_open: list[Client]) -> str:
    act = rng.choice((_bytes, _session, _session, _order, _giant, _byte_by_byte, _data_set, _data_set, _message, _cut))
    client = Client(port)
    try:
        told = act(rng, client)
        ending = rng.randrange(4)
        if ending == 0 and len(half_open) < 8:
            half_open.append(client)
            return f"{told}, left open"
        if ending == 1:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == 2:
            client.socket.shutdown(socket.SHUT_WR)
            client.drain()
    except TimeoutError:
        client.socket.close()
        raise Wrong(f"{act.__name__}: the receiver neither answers nor closes") from None
    except OSError:
        client.socket.close()
        return f"{act.__name__.strip('_')}: closed by the receiver"
    client.socket.close()
    return told


def _bytes(rng: random.Random, client: Client) -> str:
    client.send(rng.randbytes(rng.choice((1, 5, 6, 7, 74, 300, 5000))))
    return "random bytes"


def _stream(rng: random.Random) -> list[bytes]:
    """A session: association, images, C-ECHO, release."""
    instance, content = rng.choice(message_layer._images())
    found = [associate_rq(maximum=rng.choice((0, 1, 7, 4096, 16384, 2**32 - 1)))]
    for _ in range(rng.randint(0, 2)):
        step = rng.choice((50, 500, 16000))
        command = command_set(store_elements(rng.randrange(65536), MR, instance))
        values = fragments(1, command, step, command=True) + fragments(1, content, step, command=False)
        found += [pdu(P_DATA, value) for value in values]
    return [*found, echo(), release_rq()]


def _session(rng: random.Random, client: Client) -> str:
    """A session that is sent without waiting, with bytes changed, lost or added."""
    stream = b"".join(_stream(rng))
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(stream) or 1)
        stream = rng.choice(
            (
                stream[:at] + rng.randbytes(1) + stream[at + 1 :],
                stream[:at] + stream[at + rng.randint(1, 20) :],
                stream[:at] + rng.randbytes(rng.randint(1, 9)) + stream[at:],
                stream[:at],
            )
        )
    client.send(stream)
    return "damaged session"


def _order(rng: random.Random, client: Client) -> str:
    """Whole PDUs in the wrong order, of wrong types and lengths, twice or never."""
    stream = _stream(rng)
    wrong = [
        pdu(rng.randrange(256), rng.randbytes(rng.randrange(80))),
        pdu(rng.randint(1, 7), rng.randbytes(4), length=rng.choice((0, 1, 3, 5, 100))),
        abort(),
        associate_rq([(rng.randrange(256), rng.choice(("1.2.3", "", "x" * 200)), EXPLICIT)] * rng.randint(0, 130)),
        associate_rq(called=rng.randbytes(16), calling=rng.choice((b"", b"\0" * 16, b"\xff" * 16))),
        pdu(P_DATA, b""),
        release_rq(),
    ]
    for _ in range(rng.randint(1, 3)):
        stream.insert(rng.randrange(len(stream) + 1), rng.choice(wrong))
    if rng.random() < 0.3:
        rng.shuffle(stream)
    client.send(b"".join(stream))
    return "wrong order"


def _giant(rng: random.Random, client: Client) -> str:
    """A PDU that announces up to 4 GiB."""
    if rng.random() < 0.5:
        client.associate()
    length = rng.choice((2**20 + 1, 2**24, 2**31, 2**32 - 1))
    client.send(pdu(rng.randint(1, 7), rng.randbytes(200), length=length))
    return "giant PDU announced"


def _byte_by_byte(_: random.Random, client: Client) -> str:
    stream = [associate_rq(), echo(), release_rq()]
    for piece in stream:
        for at in range(len(piece)):
            client.send(piece[at : at + 1])
        client.pdu()
    return "byte by byte, answered"


def _data_set(rng: random.Random, client: Client) -> str:
    """A damaged data set in an association without a fault: the status is one that is declared."""
    number = 3 * rng.randrange(2**40) + 1  # no deflate bomb: those have a layer of their own
    case, content, _ = data_set_layer.made(rng, number)
    context = next((n for n, c, s in _CONTEXTS if (c, s) == (case.sop_class, case.syntax)), 1)
    client.associate(associate_rq(_CONTEXTS))
    command = command_set(store_elements(1, case.sop_class, case.sop_instance))
    step = rng.choice((1000, 100_000))
    values = fragments(context, command, step, command=True) + fragments(context, content, step, command=False)
    client.send(b"".join(pdu(P_DATA, value) for value in values))
    kind, answer = client.pdu()
    status = int.from_bytes(responses(pdu(kind, answer))[0].get(0x0900, b""), "little") if kind == P_DATA else -1
    if status not in _STATUSES:
        raise Wrong(f"a damaged data set is answered with {status:04X}, PDU type {kind}")
    return f"damaged data set, answered {status:04X}"


def _message(rng: random.Random, client: Client) -> str:
    stream, _ = message_layer.made(rng)
    client.associate(associate_rq([(1, MR, EXPLICIT), (3, VERIFICATION, EXPLICIT), (5, "1.2.3", EXPLICIT)]))
    client.send(b"".join(pdu(P_DATA, value) for value in stream))
    return "damaged messages"


def _cut(rng: random.Random, client: Client) -> str:
    """The end in the middle of an image: abort, release, or nothing more."""
    stream = _stream(rng)[:-2]
    client.associate(stream[0])
    for part in stream[1 : rng.randint(1, len(stream))]:
        client.send(part)
    client.send(rng.choice((abort(), release_rq(), b"", pdu(P_DATA, b"\0\0\0\x10\1\0", length=18)[:9])))
    return "cut in the middle"

"""The receiver is killed at a hundred random points while one to eight associations send: nothing acknowledged is lost,
and everything that is stored is stored as it was sent."""

from __future__ import annotations

import random
import signal
import threading
import time
from dataclasses import dataclass, field

import pytest
from gateway_receive.node import Node
from gateway_receive.test_receiver_killed import receiver

from gateway.part10 import read_part10
from gateway.tables import Instance, Quarantine
from tools.fuzzing.elements import EXPLICIT
from tools.fuzzing.mr_data_sets import MR, valid_case
from tools.fuzzing.receiver_under_test import Client

SEED, KILLS = 20260302, 100


@dataclass
class Sent:
    """What senders have begun to send, and what of it was acknowledged, in bytes by UID."""

    begun: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    reached: threading.Event = field(default_factory=threading.Event)
    statuses: set[int] = field(default_factory=set)
    killed_at: float | None = None
    refused_while_alive: int = 0
    outlived_s: float = 0.0

    def refuse(self, status: int) -> None:
        """A process may outlive its receiver for a moment; a receiver that lives has no reason to refuse."""
        self.statuses.add(status)
        if self.killed_at is None:
            self.refused_while_alive += 1
        else:
            self.outlived_s = max(self.outlived_s, time.monotonic() - self.killed_at)


def send_until_it_ends(port: int, seed: str, first: int, sent: Sent, at: int) -> None:
    """Images, each another one, over one association until the connection is lost."""
    rng = random.Random(seed)
    try:
        with Client(port) as client:
            client.associate()
            for number in range(first, first + 10_000):
                case = valid_case(rng, number)
                if (case.sop_class, case.syntax) != (MR, EXPLICIT):
                    continue
                content = case.encoded()
                sent.begun[case.sop_instance] = content
                status = client.store(number % 65536, case.sop_instance, content, rng.choice((200, 16000)))
                while status != 0:
                    sent.refuse(status)
                    threading.Event().wait(0.05)
                    status = client.store(number % 65536, case.sop_instance, content)
                sent.acknowledged.add(case.sop_instance)
                if len(sent.acknowledged) >= at:
                    sent.reached.set()
    except OSError:
        return  # killed


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_acknowledged_is_stored_byte_by_byte_after_a_hundred_kills(node: Node) -> None:
    rng, sent = random.Random(SEED), Sent()
    for kill in range(KILLS):
        count = 1 + kill % 8
        sent.reached.clear()
        sent.killed_at = None
        with receiver(node, processes=rng.choice((0, 0, 2))) as (process, port):
            at = len(sent.acknowledged) + rng.randint(1, 12 * count)
            names = [(f"{SEED}/{kill}/{n}", 10**8 + kill * 10**6 + n * 10**5) for n in range(count)]
            senders = [
                threading.Thread(target=send_until_it_ends, args=[port, seed, first, sent, at]) for seed, first in names
            ]
            for sender in senders:
                sender.start()
            assert sent.reached.wait(60)
            threading.Event().wait(rng.random() * 0.01)  # anywhere between two images
            sent.killed_at = time.monotonic()
            process.send_signal(signal.SIGKILL)
            for sender in senders:
                sender.join(60)
                assert not sender.is_alive()
    with receiver(node):
        pass  # a start indexes what the last one had stored and not indexed
    assert sent.refused_while_alive == 0
    assert sent.statuses <= {0xA700}
    assert sent.outlived_s < 2
    assert len(sent.acknowledged) >= 100
    rows = {i.sop_instance_uid: i for i in node.rows(Instance)}
    assert node.rows(Quarantine) == []
    assert sent.acknowledged <= rows.keys() <= sent.begun.keys()
    for uid, row in rows.items():
        assert bytes(read_part10(node.received.read(row.blob)).dataset) == sent.begun[uid]
    found = f"{len(sent.begun)} sent, {len(sent.acknowledged)} acknowledged, {len(rows)} stored, {KILLS} kills"
    print(f"{found}, refused for {sent.outlived_s:.2f} s at most")

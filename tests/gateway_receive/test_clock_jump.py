"""The clock of the machine is set while a study comes in: half a study is not closed, a whole one not held for ever."""

from __future__ import annotations

import datetime as dt

import pytest
from gateway_receive.mr_images import mr_series, mr_study
from gateway_receive.node import Node
from gateway_receive.senders import send

from gateway.arrivals import ArrivalRules
from gateway.clock_watch import ClockWatch
from gateway.column_types import utc_now
from gateway.completion import close_due_studies
from longitudinal.types import Contrast

STUDY, OTHER = "1.2.826.0.1.3680043.10.7", "1.2.826.0.1.3680043.10.8"
BOTH = (Contrast.T1C, Contrast.FLAIR)
HOUR = dt.timedelta(hours=1)


class Clock:
    """A clock that can be set and time that passes; `close` is what the closer does each quarter of a second."""

    def __init__(self, node: Node) -> None:
        self._node, self._set_by, self._passed = node, dt.timedelta(), dt.timedelta()
        self._begun = utc_now()
        self._watch = ClockWatch(self.now, lambda: self._passed.total_seconds())

    def now(self) -> dt.datetime:
        return self._begun + self._set_by + self._passed

    def set_by(self, leap: dt.timedelta) -> None:
        self._set_by += leap

    def close_after(self, seconds: float) -> list[int]:
        """Revisions that are closed while so much time passes."""
        self._node.settle()
        closed = []
        until = self._passed + dt.timedelta(seconds=seconds)
        while self._passed < until:
            self._passed = min(until, self._passed + dt.timedelta(seconds=5))
            self._watch.check(self._node.database, ArrivalRules.from_settings(self._node.settings))
            closed += [r for _, r in close_due_studies(self._node.database, self._node.settings, self.now())]
        return closed


@pytest.mark.parametrize("leap", [HOUR, 24 * HOUR, dt.timedelta(seconds=70)])
def test_a_leap_forward_gives_a_full_quiet_time_more(node: Node, leap: dt.timedelta) -> None:
    with node.listening() as scp:
        send(scp.port, mr_series(STUDY, Contrast.T1C))
        clock = Clock(node)
        assert clock.close_after(10) == []
        clock.set_by(leap)
        assert clock.close_after(50) == []  # the other half is under way
        send(scp.port, mr_series(STUDY, Contrast.FLAIR))
        node.settle()
    assert clock.close_after(20) == [1]
    assert node.study().instance_count == 10


def test_a_clock_that_was_set_back_does_not_hold_a_study(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_study(STUDY, BOTH))
    clock = Clock(node)
    clock.close_after(10)
    clock.set_by(-24 * HOUR)
    assert clock.close_after(55) == []
    assert clock.close_after(15) == [1]


def test_the_end_of_all_waiting_is_not_put_off_for_more_than_its_time(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_series(STUDY, Contrast.T1C)[:1])
    clock = Clock(node)
    before = node.study().force_due
    for _ in range(20):
        clock.set_by(HOUR)
        clock.close_after(5)
    study = node.study()
    assert before is not None
    assert study.due is None or study.due <= clock.now() + dt.timedelta(seconds=node.settings.study.quiet_s)
    assert study.force_due is None or study.force_due <= clock.now() + dt.timedelta(seconds=node.settings.study.force_s)


def test_time_that_simply_passes_is_no_leap(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_study(STUDY, BOTH))
    due = node.study().due
    clock = Clock(node)
    clock.set_by(dt.timedelta(seconds=1))  # as time servers do it
    assert clock.close_after(20) == []
    assert node.study().due == due

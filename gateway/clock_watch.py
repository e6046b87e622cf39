"""When the clock of the machine is set, the timers of the studies start again: they measure silence by its time.

A clock that leaps forward would end every quiet time at once and close half a study; one that is set back would hold
studies for as long. The same is seen when a virtual machine was suspended: nobody listened meanwhile.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Engine
from sqlmodel import col, select

from gateway.arrivals import ArrivalRules
from gateway.column_types import utc_now
from gateway.database import session_scope
from gateway.tables import Study

TOLERATED = dt.timedelta(seconds=2)
_log = structlog.get_logger(__name__)


class ClockWatch:
    """Compares the clock with the time that has really passed. For one thread."""

    def __init__(
        self, clock: Callable[[], dt.datetime] = utc_now, passed_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._passed_s = clock, passed_s
        self._began = self._clock() - dt.timedelta(seconds=self._passed_s())

    def check(self, engine: Engine, rules: ArrivalRules) -> bool:
        """Start the timers again where the clock was set since the last look; whether it was.

        Raises:
            Retriable: when the timers cannot be written; the next look does it.
        """
        now = self._clock()
        began = now - dt.timedelta(seconds=self._passed_s())
        leap = began - self._began
        if abs(leap) > TOLERATED:
            restart_timers(engine, rules, now)
            _log.warning("the clock was set; studies wait for a full quiet time more", by_s=round(leap.total_seconds()))
        self._began = began
        return abs(leap) > TOLERATED


def restart_timers(engine: Engine, rules: ArrivalRules, now: dt.datetime) -> None:
    """Every running timer ends a full quiet time from now; the end of all waiting lies between that and its longest."""
    with session_scope(engine) as session:
        for study in session.exec(select(Study).where(col(Study.due).is_not(None)).with_for_update()).all():
            quiet, force = rules.times(study.source_ae)
            study.due = now + quiet
            if study.force_due is not None:
                study.force_due = min(max(study.force_due, study.due), now + max(quiet, force))
            session.add(study)

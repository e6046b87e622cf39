"""A worker that may end itself at a named moment: `killed_worker.py CONFIG MOMENT MARK`.

MOMENT is `DATABASE:SIDE:N`: SIGKILL before or after the N-th commit of this process to the `study` or the `engine`
database, or `rename:SIDE:N`: at the N-th file or folder that gets its final name. Empty: nothing of the kind.
MARK is a file that is made when all is imported: how long that takes says more about the machine than about the worker.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from gateway.logs import configure_logging
from gateway.roles import run_work
from gateway.settings import load_settings


class Moment:
    """Counts down to the end of this process."""

    def __init__(self, told: str) -> None:
        self.what, self.side, number = told.split(":") if told else ("", "", "0")
        self._left = int(number)

    def passes(self, side: str) -> None:
        if side == "before":
            self._left -= 1
        if self._left == 0 and side == self.side:
            os.kill(os.getpid(), signal.SIGKILL)


def count_commits(moment: Moment, engine_url: str) -> None:
    committed = set()

    def counted(connection: sa.Connection) -> bool:
        is_engine = connection.engine.url.render_as_string(hide_password=False) == engine_url
        return moment.what == ("engine" if is_engine else "study")

    @event.listens_for(sa.Engine, "commit")
    def before(connection: sa.Connection) -> None:
        if counted(connection):
            committed.add(id(connection.connection.dbapi_connection))
            moment.passes("before")

    @event.listens_for(sa.pool.Pool, "checkin")
    def after(dbapi_connection: Any, _record: Any) -> None:
        if id(dbapi_connection) in committed:
            committed.discard(id(dbapi_connection))
            moment.passes("after")


def count_renames(moment: Moment) -> None:
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        moment.passes("before")
        renamed = rename(self, target)
        moment.passes("after")
        return renamed

    Path.rename = counted  # type: ignore[method-assign]


def main() -> None:
    settings, moment = load_settings(Path(sys.argv[1])), Moment(sys.argv[2])
    configure_logging(settings.log)
    if moment.what == "rename":
        count_renames(moment)
    elif moment.what:
        count_commits(moment, settings.engine.url)
    Path(sys.argv[3]).touch()
    run_work(settings, ["patient", "gpu"])


main()

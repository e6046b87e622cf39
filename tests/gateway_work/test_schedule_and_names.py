"""The clock fires once for all workers; worker names are held by the living; beats tell who is gone."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

from apscheduler.triggers.cron import CronTrigger
from sqlmodel import select

from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.executor_name import claim_executor_name
from gateway.heartbeat import beat, forget_the_dead, indexed_until, leave, listening_since, silent_workers
from gateway.process_tables import WorkerBeat
from gateway.scheduler import latest_slot, queue_slot
from gateway.settings import Settings
from gateway.tables import Outbox

NIGHTLY = CronTrigger.from_crontab("0 2 * * *", timezone="UTC")


def _gateway(tmp_path: Path) -> Gateway:
    return open_gateway(Settings(data_dir=tmp_path / "data"))


def test_the_slot_is_the_scheduled_time_not_the_present() -> None:
    now = dt.datetime(2026, 3, 5, 2, 0, 7, tzinfo=dt.UTC)
    assert latest_slot(NIGHTLY, now) == dt.datetime(2026, 3, 5, 2, 0, tzinfo=dt.UTC)
    assert latest_slot(NIGHTLY, now - dt.timedelta(seconds=8)) == dt.datetime(2026, 3, 4, 2, 0, tzinfo=dt.UTC)


def test_a_slot_is_queued_once_however_many_workers_fire(tmp_path: Path) -> None:
    gateway = _gateway(tmp_path)
    assert [queue_slot(gateway, "export", NIGHTLY) for _ in range(3)] == [True, False, False]
    with read_scope(gateway.database) as session:
        assert [row.kind for row in session.exec(select(Outbox)).all()] == ["export"]
    gateway.database.dispose()


def test_two_living_workers_never_share_a_name_and_a_dead_one_leaves_its_own(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from gateway.executor_name import claim_executor_name as c\n"
    code += "print(c(Path(sys.argv[1])).name, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        first = other.stdout.readline().strip()
        mine = claim_executor_name(tmp_path)
        assert mine.name != first
        other.kill()
    again = claim_executor_name(tmp_path)
    assert again.name == first
    mine.release()
    again.release()


def test_silence_counts_only_while_a_receiver_listens(tmp_path: Path) -> None:
    gateway = _gateway(tmp_path)
    assert listening_since(gateway) is None
    beat(gateway, "r1", "receive")
    assert listening_since(gateway) is not None
    leave(gateway, "r1")
    assert listening_since(gateway) is None
    gateway.database.dispose()


def test_the_dead_of_this_machine_are_forgotten(tmp_path: Path) -> None:
    gateway = _gateway(tmp_path)
    beat(gateway, "alive", "receive")
    beat(gateway, "dead", "receive")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    with session_scope(gateway.database) as session:
        row = session.get_one(WorkerBeat, "dead")
        row.pid = gone.pid
        session.add(row)
    forget_the_dead(gateway, "receive")
    with read_scope(gateway.database) as session:
        assert [row.executor_id for row in session.exec(select(WorkerBeat)).all()] == ["alive"]
    gateway.database.dispose()


def test_a_worker_that_fell_silent_is_seen_by_the_others(tmp_path: Path) -> None:
    gateway = _gateway(tmp_path)
    beat(gateway, "w1", "work")
    beat(gateway, "w2", "work")
    with session_scope(gateway.database) as session:
        row = session.get_one(WorkerBeat, "w1")
        row.at = row.at - dt.timedelta(minutes=5)
        session.add(row)
    assert silent_workers(gateway, "w2") == ["w1"]
    assert silent_workers(gateway, "w1") == []
    gateway.database.dispose()


def test_what_the_index_has_not_followed_is_no_silence(tmp_path: Path) -> None:
    gateway = _gateway(tmp_path)
    now = dt.datetime.now(dt.UTC)
    assert indexed_until(gateway) >= now
    beat(gateway, "r1", "receive", now - dt.timedelta(minutes=2))
    beat(gateway, "r2", "receive", now)
    beat(gateway, "w1", "work")
    assert indexed_until(gateway) == now - dt.timedelta(minutes=2)
    leave(gateway, "r1")
    assert indexed_until(gateway) == now
    gateway.database.dispose()

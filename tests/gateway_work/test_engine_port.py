"""The engine port: the same promises from the inline engine and from DBOS."""

from __future__ import annotations

import base64
import errno
import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers.waiting import await_condition

from gateway.engine import Arguments, Engine, InlineEngine, Job, JobHalted, JobStatus, Plan, Step
from gateway.engine_dbos import DbosEngine, DbosQueue
from gateway.errors import DatabaseNotReady, NotFound, Permanent, Retriable, StorageFull

WORKER = Path(__file__).with_name("killer_worker.py")


class Recorder:
    """Steps that record what ran, and fail or halt when told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures: list[str] = []
        self.failing: set[str] = set()

    def step(
        self, name: str, queue: str = "patient", attempts: int = 2, does: Callable[[], None] | None = None
    ) -> Step:
        def run(arguments: Arguments) -> None:
            self.ran.append(f"{name}:{arguments['study_key']}")
            if name in self.failing:
                raise Retriable(f"{name} is down")
            if does:
                does()

        return Step(name, run, "gpu" if queue == "gpu" else "patient", attempts)

    def plan(self, *steps: Step) -> Plan:
        return Plan(steps, lambda _arguments, error: self.failures.append(str(error)))


@pytest.fixture(params=["inline", "dbos"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made: Engine = InlineEngine() if request.param == "inline" else DbosEngine(_url(tmp_path), "worker-1", 0.05)
    yield made
    made.stop(2)


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'engine.db'}"


def _ended(engine: Engine, job_id: str) -> JobStatus:
    def status() -> JobStatus | None:
        return next((j for j in engine.jobs() if j.job_id == job_id), None)

    def is_ended() -> bool:
        found = status()
        return found is not None and found.state in ("done", "failed", "cancelled")

    await_condition(is_ended, 30, f"job {job_id} does not end")
    found = status()
    assert found is not None
    return found


def test_steps_run_in_order_and_a_job_submitted_twice_runs_once(engine: Engine) -> None:
    seen = Recorder()
    plan = seen.plan(seen.step("a"), seen.step("b", queue="gpu"), seen.step("c"))
    engine.start({"study": plan}, ["patient", "gpu"])
    for _ in range(2):
        engine.submit(Job("study-s1-1", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "study-s1-1").state == "done"
    assert seen.ran == ["a:s1", "b:s1", "c:s1"]


def test_a_halted_job_ends_without_failure(engine: Engine) -> None:
    def halt() -> None:
        raise JobHalted("set aside")

    seen = Recorder()
    engine.start({"study": seen.plan(seen.step("a", does=halt), seen.step("b"))}, ["patient", "gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "j").state == "done"
    assert seen.ran == ["a:s1"]
    assert seen.failures == []


def test_a_failure_is_tried_again_then_told_with_its_cause(engine: Engine) -> None:
    seen = Recorder()
    seen.failing = {"b"}
    plan = seen.plan(seen.step("a"), seen.step("b", queue="gpu", attempts=2), seen.step("c"))
    engine.start({"study": plan}, ["patient", "gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "j").state == "failed"
    assert seen.ran == ["a:s1", "b:s1", "b:s1"]
    assert seen.failures == ["b is down"]


def test_a_permanent_error_is_not_tried_again(engine: Engine) -> None:
    def refuse() -> None:
        raise Permanent("needs a person")

    seen = Recorder()
    engine.start({"study": seen.plan(seen.step("a", attempts=5, does=refuse))}, ["patient", "gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "j").state == "failed"
    assert seen.ran == ["a:s1"]


@pytest.mark.parametrize(
    "hindrance", [DatabaseNotReady("(restarting)"), StorageFull("0 MB are free."), OSError(errno.ENOSPC, "full")]
)
def test_time_without_database_or_disk_is_waited_out(engine: Engine, hindrance: Exception) -> None:
    left = [hindrance] * 3

    def hindered() -> None:
        if left:
            raise left.pop()

    seen = Recorder()
    engine.start({"study": seen.plan(seen.step("a", attempts=2, does=hindered))}, ["patient", "gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "j").state == "done"
    assert seen.failures == []


def test_a_failure_is_told_once_there_is_a_database_to_write_it_to(engine: Engine) -> None:
    told: list[str] = []

    def tell(_: Arguments, error: Exception) -> None:
        told.append(str(error))
        if len(told) == 1:
            raise DatabaseNotReady("(restarting)")

    seen = Recorder()
    seen.failing = {"a"}
    engine.start({"study": Plan([seen.step("a", attempts=1)], tell)}, ["patient", "gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "j").state == "failed"
    assert told == ["a is down"] * 2


def test_retry_runs_a_failed_job_again_through_its_gpu_step(engine: Engine) -> None:
    seen = Recorder()
    seen.failing = {"b"}
    engine.start({"study": seen.plan(seen.step("b", queue="gpu", attempts=1), seen.step("c"))}, ["patient", "gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    assert _ended(engine, "j").state == "failed"
    seen.failing = set()
    engine.retry("j")
    await_condition(lambda: _ended(engine, "j").state == "done", 30, "the retried job does not end")
    assert seen.ran == ["b:s1", "b:s1", "c:s1"]


def test_an_unknown_job_is_said_to_be_unknown(tmp_path: Path) -> None:
    engine = DbosEngine(_url(tmp_path), "worker-1", 0.05)
    engine.start({}, ["patient", "gpu"])
    try:
        with pytest.raises(NotFound, match="job nobody"):
            engine.retry("nobody")
    finally:
        engine.stop(1)


def test_jobs_survive_their_process(tmp_path: Path) -> None:
    """A job that was queued when no worker listened is run by the next one."""
    first = DbosEngine(_url(tmp_path), "worker-1", 0.05)
    first.start({}, ["gpu"])
    first.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    first.stop(0)
    seen = Recorder()
    second = DbosEngine(_url(tmp_path), "worker-1", 0.05)
    second.start({"study": seen.plan(seen.step("a"))}, ["patient", "gpu"])
    try:
        assert _ended(second, "j").state == "done"
        assert seen.ran == ["a:s1"]
    finally:
        second.stop(1)


def test_jobs_of_a_patient_that_come_at_once_run_in_order(engine: Engine) -> None:
    """Also those of the same second, which is all that the engine keeps of the time on SQLite."""
    seen, names = Recorder(), [f"s{number}" for number in (9, 3, 7, 1, 8, 2)]
    engine.start({"study": seen.plan(seen.step("a"))}, ["patient", "gpu"])
    for number, name in enumerate(names, start=1):
        engine.submit(Job(name, "study", "p1", {"study_key": name}, order=number))
    for name in names:
        _ended(engine, name)
    assert seen.ran == [f"a:{name}" for name in names]


@pytest.mark.parametrize(("queue", "limit"), [("gpu", "MAX_RECOVERY_ATTEMPTS"), ("patient", "MAX_RECOVERIES_OF_A_JOB")])
def test_a_job_that_kills_its_process_is_given_up_and_told(tmp_path: Path, queue: str, limit: str) -> None:
    """A bad study must not vanish in silence. On the GPU queue, where the memory goes, it takes no other with it."""
    jobs, marks = DbosQueue(_url(tmp_path)), tmp_path / "marks"
    few = tmp_path / "few.py"  # the limit of a job is made small, so that the test need not kill a hundred processes
    few.write_text(
        f"import runpy, gateway.engine_dbos as e\ne.{limit} = 3\nrunpy.run_path({str(WORKER)!r})\n", encoding="utf-8"
    )
    command = [sys.executable, str(few), _url(tmp_path), queue, str(marks)]

    def told() -> list[str]:
        return [line for line in marks.read_text().splitlines() if line.startswith("failed")] if marks.exists() else []

    deaths = 0
    try:
        while not told():
            worker = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(WORKER.parents[2])})
            try:
                await_condition(lambda w=worker: w.poll() is not None or bool(told()), 60, "the worker does nothing")
                deaths += worker.poll() is not None
                if told():  # the end of the job is written once it has been told
                    await_condition(lambda: _state(jobs, "bad") == "failed", 30, "the bad study goes on")
                if told() and queue == "gpu":
                    await_condition(lambda: _state(jobs, "good") == "done", 30, "the good study is held up")
            finally:
                worker.kill()
                worker.wait()
            assert deaths < 10, "it is tried for ever"
        assert any(line.startswith("failed bad: It ended its process time and again") for line in told())
        assert _state(jobs, "bad") == "failed"
        if queue == "gpu":
            assert len(told()) == 1
    finally:
        jobs.close()


def _state(jobs: DbosQueue, job_id: str) -> str:
    return next(j.state for j in jobs.jobs() if j.job_id == job_id)


class _Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (_Bomb.fired.append, ("boom",))

    fired: list[str] = []  # noqa: RUF012 - a test's own register


def test_a_pickle_in_the_engines_table_is_never_opened(tmp_path: Path) -> None:
    engine = DbosEngine(_url(tmp_path), "worker-1", 0.05)
    engine.start({}, ["gpu"])
    engine.submit(Job("j", "study", "p1", {"study_key": "s1"}))
    engine.stop(0)
    forged = base64.b64encode(pickle.dumps(_Bomb())).decode()
    with sqlite3.connect(tmp_path / "engine.db") as database:
        database.execute("UPDATE workflow_status SET inputs = ?, serialization = 'py_pickle'", (forged,))
    database.close()
    queue = DbosQueue(_url(tmp_path))
    listed = queue.jobs()
    queue.close()
    assert [job.kind for job in listed] == ["?"]
    assert _Bomb.fired == []

"""The server of both databases, the studies' and the engine's, crashes in the middle of a step and comes back."""

from __future__ import annotations

import threading

import pytest
from peers.postgres import running_postgres
from peers.waiting import await_condition

from gateway.database import open_database, session_scope, upgrade
from gateway.engine import Arguments, Job, Plan, Step
from gateway.engine_dbos import DbosEngine
from gateway.tables import Outbox


@pytest.mark.peer
def test_jobs_go_on_when_the_server_is_back_and_nobody_has_to_retry() -> None:
    with running_postgres() as cluster:
        database = open_database(cluster.new_database())
        upgrade(database)
        ran: list[str] = []
        failures: list[str] = []
        down = threading.Event()

        def step(name: str) -> Step:
            def run(arguments: Arguments) -> None:
                if name == "b" and arguments["study_key"] == "s1" and not down.is_set():
                    cluster.stop()
                    down.set()
                with session_scope(database) as session:
                    session.add(Outbox(job=f"{name}-{arguments['study_key']}", kind="test"))
                ran.append(f"{name}-{arguments['study_key']}")

            return Step(name, run, "gpu" if name == "b" else "patient", 2)

        plan = Plan([step("a"), step("b"), step("c")], lambda _, error: failures.append(str(error)))
        engine = DbosEngine(cluster.new_database(), "worker-1", 0.05)
        engine.start({"study": plan}, ["patient", "gpu"])
        try:
            for number in (1, 2, 3):
                job = Job(f"j{number}", "study", f"p{number}", {"study_key": f"s{number}"}, order=number)
                engine.submit(job)
            assert down.wait(60)
            assert not threading.Event().wait(4)  # longer than all attempts of a step take
            cluster.start()
            done = {f"{name}-s{number}" for name in "abc" for number in (1, 2, 3)}
            await_condition(lambda: set(ran) == done, 120, lambda: f"ran {ran}, failed {failures}")
            await_condition(lambda: {j.state for j in engine.jobs()} == {"done"}, 60, "a job does not end")
            assert failures == []
        finally:
            engine.stop(1)
            database.dispose()

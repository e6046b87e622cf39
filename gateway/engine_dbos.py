"""The engine in service: DBOS Transact behind the port of `gateway.engine`.

SQLite by default (a file of its own), PostgreSQL at scale; the same code with two URLs. DBOS is imported here only.
What this module takes care of, because DBOS leaves it to its user: JSON and never pickle in the engine's tables; a
hard limit of one GPU step per process (the queue's own limit can be overrun by one); a fixed application version,
so that an upgrade does not strand queued jobs; few recovery attempts of a GPU step, so that a study that kills its
process is set aside; jobs of a worker that died for good are taken over by the living, and the plan of one that was
given up is told, because DBOS tells nobody (see `recover`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import dbos._error as dbos_error
import dbos._serialization as dbos_serialization
import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    SetWorkflowID,
    WorkflowStatus,
)
from sqlalchemy import event

from gateway.engine import (
    Arguments,
    Job,
    JobHalted,
    JobState,
    JobStatus,
    Plan,
    QueueName,
    Step,
    run_with_attempts,
    tell_failure,
)
from gateway.errors import NotFound, Permanent, Unexpected, is_ours, reason_of

APPLICATION = "timepoint"
APPLICATION_VERSION = "pipeline-1"
"""Bump only when the steps of a plan change in a way that jobs in flight cannot follow."""

MAX_RECOVERY_ATTEMPTS = 10
"""How often a step on the GPU queue may end its process. Ten, because power cuts and restarts count too."""
MAX_RECOVERIES_OF_A_JOB = 100
"""A job also counts the restarts that it only waited through, which others may be to blame for."""
GIVEN_UP = "It ended its process time and again: look at the memory of this machine and at the images, then retry."
_HALTED = "halted"
_STATES: dict[str, JobState] = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}


def _refuse_pickle(_self: object, _text: str) -> Any:
    raise Permanent("The engine's table holds a pickled value; only JSON is read. Look for who wrote it.")


dbos_serialization.DefaultSerializer.deserialize = _refuse_pickle  # type: ignore[method-assign,assignment]


def _argument(status: WorkflowStatus, position: int) -> str:
    """An argument of a job; "?" where the engine's table holds something that is not ours to read."""
    stored: object = status.input
    return str(stored["args"][position]) if isinstance(stored, dict) else "?"


def _system_engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_size=10, max_overflow=10, pool_pre_ping=True)
    engine = sa.create_engine(url, pool_size=10, max_overflow=10)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


class DbosQueue:
    """Jobs of the engine seen from a process that does not run them (the command line, the web role)."""

    def __init__(self, url: str) -> None:
        self._database = _system_engine(url)
        self._client_or_none: DBOSClient | None = None

    @property
    def _client(self) -> DBOSClient:
        if self._client_or_none is None:
            self._client_or_none = DBOSClient(
                system_database_engine=self._database,
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
            )
        return self._client_or_none

    def submit(self, job: Job) -> None:
        options: EnqueueOptions = {
            "workflow_name": "job",
            "queue_name": "patient",
            "workflow_id": job.job_id,
            "queue_partition_key": job.partition,
            "app_version": APPLICATION_VERSION,
        }
        if job.order:  # the time of submission does not tell: SQLite keeps it in whole seconds
            options["priority"] = job.order
        self._client.enqueue(options, job.kind, job.partition, dict(job.arguments))

    def cancel(self, job_id: str) -> None:
        """Cancel a job; it ends at its next step.

        Raises:
            NotFound: for an unknown job.
        """
        self._status(job_id)
        self._client.cancel_workflow(job_id)

    def retry(self, job_id: str) -> None:
        """Run an ended job, and its steps on the GPU queue, again from the start (its steps are idempotent)."""
        status = self._status(job_id)
        for child in self._client.list_workflows(name="gpu_step", workflow_id_prefix=f"{job_id}-"):
            if _STATES[child.status] in ("failed", "cancelled"):
                self._client.rewind_workflow(child.workflow_id, start_step=1, queue_name="gpu")
        partition = _argument(status, 1)
        self._client.rewind_workflow(job_id, start_step=1, queue_name="patient", queue_partition_key=partition)

    def _status(self, job_id: str) -> WorkflowStatus:
        try:
            return self._client.retrieve_workflow(job_id).get_status()
        except dbos_error.DBOSNonExistentWorkflowError as error:
            raise NotFound(f"job {job_id}") from error

    def jobs(self, limit: int = 100) -> list[JobStatus]:
        found = self._client.list_workflows(name="job", limit=limit, sort_desc=True)
        return [
            JobStatus(
                job_id=w.workflow_id,
                kind=_argument(w, 0),
                state=_STATES[w.status],
                created_at=(w.created_at or 0) / 1000,
                updated_at=(w.updated_at or 0) / 1000,
                error=str(w.error) if w.error else None,
            )
            for w in found
        ]

    def close(self) -> None:
        if self._client_or_none is not None:
            self._client_or_none.destroy()
        self._database.dispose()


class DbosEngine(DbosQueue):
    """One worker process. DBOS is a singleton: make at most one of these in a process at a time."""

    def __init__(self, url: str, executor_id: str, polling_s: float = 0.2) -> None:
        super().__init__(url)
        self._executor_id = executor_id
        self._polling_s = polling_s
        self._gpu = threading.BoundedSemaphore(1)
        self._plans: Mapping[str, Plan] = {}
        self._told: set[tuple[str, int]] = set()

    def start(self, plans: Mapping[str, Plan], queues: Sequence[QueueName]) -> None:
        self._plans = plans
        config = DBOSConfig(
            name=APPLICATION,
            system_database_engine=self._database,
            executor_id=self._executor_id,
            application_version=APPLICATION_VERSION,
            serializer=DBOSPortableJSONSerializer(),
            log_level="CRITICAL",
            console_log_level="CRITICAL",
            use_listen_notify=False,
        )
        DBOS(config=config)
        self._register_workflows()
        DBOS.listen_queues(list(queues))
        DBOS.launch()
        DBOS.register_queue(
            "patient", partition_concurrency=1, worker_concurrency=8, polling_interval_sec=self._polling_s
        )
        DBOS.register_queue("gpu", worker_concurrency=1, polling_interval_sec=self._polling_s)

    def stop(self, drain_s: float) -> None:
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=int(drain_s))
        self.close()

    def recover(self, dead_executors: Sequence[str]) -> int:
        """Take over the jobs of workers that died for good, and tell of those that were given up; returns how many
        were taken over. Repeating it changes nothing."""
        taken = len(DBOS._recover_pending_workflows(list(dead_executors)))
        for given_up in self._client.list_workflows(name="job", status="MAX_RECOVERY_ATTEMPTS_EXCEEDED"):
            self._tell(given_up)
        return taken

    def _tell(self, given_up: WorkflowStatus) -> None:
        once = (given_up.workflow_id, given_up.updated_at or 0)
        if once in self._told or not isinstance(given_up.input, dict):
            return
        kind, _, arguments = given_up.input["args"]
        self._plans[kind].on_failure(arguments, Permanent(GIVEN_UP))
        self._told.add(once)

    def _register_workflows(self) -> None:
        @DBOS.workflow(name="gpu_step", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
        def gpu_step(kind: str, name: str, arguments: dict[str, Any]) -> str:
            return _run(self._guarded(next(s for s in self._plans[kind].steps if s.name == name)), arguments)

        @DBOS.workflow(name="job", max_recovery_attempts=MAX_RECOVERIES_OF_A_JOB)
        def job(kind: str, partition: str, arguments: dict[str, Any]) -> None:  # noqa: ARG001 - kept for `retry`
            plan = self._plans[kind]
            try:
                for step in plan.steps:
                    if step.queue == "gpu":
                        with SetWorkflowID(f"{DBOS.workflow_id}-{step.name}"):
                            outcome = DBOS.enqueue_workflow("gpu", gpu_step, kind, step.name, arguments).get_result()
                    else:
                        outcome = _run(step, arguments)
                    if outcome == _HALTED:
                        return
            except Exception as error:
                given_up = isinstance(error, dbos_error.DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded)
                failure = Permanent(GIVEN_UP) if given_up else error
                DBOS.run_step({"name": "on_failure"}, lambda: tell_failure(plan, arguments, failure))
                if given_up:
                    raise failure from error
                raise

    def _guarded(self, step: Step) -> Step:
        def run(arguments: Arguments) -> None:
            with self._gpu:
                step.run(arguments)

        return Step(step.name, run, "gpu", step.attempts)


def _run(step: Step, arguments: Arguments) -> str:
    """Run a step under the engine. A halt is a recorded result, not an error, so that a replay sees it too."""

    def run() -> str:
        try:
            run_with_attempts(step, arguments)
        except JobHalted:
            return _HALTED
        except Exception as error:
            if is_ours(error):
                raise
            raise Unexpected(reason_of(error)) from error  # the engine stores messages, a library's may quote a patient
        return "done"

    return DBOS.run_step({"name": step.name}, run)

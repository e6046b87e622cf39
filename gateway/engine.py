"""The port to the workflow engine: jobs go in, their steps run to the end, whatever is killed in between.

A job is a list of named steps, looked up by its kind. Steps get ids only and must be idempotent: the engine runs
each *at least* once. Jobs of one partition (a patient) never overlap; steps on the `gpu` queue run one at a time
in a worker process. `InlineEngine` runs everything at once in the calling thread, for tests and small tools.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import structlog

from gateway.errors import DatabaseNotReady, Permanent, StorageFull, reason_of

_LONGEST_WAIT_S = 10.0
_log = structlog.get_logger(__name__)

Arguments = Mapping[str, str | int]
QueueName = Literal["patient", "gpu"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobHalted(Permanent):
    """The job ended early on purpose: the study was set aside for a person."""


@dataclass(frozen=True, slots=True)
class Job:
    """A unit of work. The same `job_id` submitted again is the same job: nothing runs twice because of it. Jobs of a
    partition run in `order` (0 first), those of the same in the order of their submission."""

    job_id: str
    kind: str
    partition: str
    arguments: Arguments
    order: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One idempotent step. `attempts` are quick ones, for passing faults; long waits belong to the couriers."""

    name: str
    run: Callable[[Arguments], None]
    queue: QueueName = "patient"
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one kind of job, and what is told of a job that failed for good."""

    steps: Sequence[Step]
    on_failure: Callable[[Arguments, Exception], None]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is known of a job; times are seconds since the epoch, UTC."""

    job_id: str
    kind: str
    state: JobState
    created_at: float
    updated_at: float
    error: str | None = None


class JobQueue(Protocol):
    """What any process may do with jobs, whether it runs them or not."""

    def submit(self, job: Job) -> None: ...

    def cancel(self, job_id: str) -> None: ...

    def retry(self, job_id: str) -> None: ...

    def jobs(self, limit: int = 100) -> list[JobStatus]: ...

    def close(self) -> None: ...


class Engine(JobQueue, Protocol):
    """A job queue that also runs the jobs."""

    def start(self, plans: Mapping[str, Plan], queues: Sequence[QueueName]) -> None: ...

    def stop(self, drain_s: float) -> None: ...


@dataclass
class InlineEngine:
    """Runs each job to its end within `submit`; keeps their states in memory."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _states: dict[str, JobStatus] = field(default_factory=dict)

    def start(self, plans: Mapping[str, Plan], queues: Sequence[QueueName]) -> None:  # noqa: ARG002
        self.plans = plans

    def stop(self, drain_s: float) -> None:
        """Nothing runs in the background."""

    def close(self) -> None:
        """Nothing is held open."""

    def submit(self, job: Job) -> None:
        if job.job_id not in self._jobs:
            self._jobs[job.job_id] = job
            self._run(job)

    def cancel(self, job_id: str) -> None:
        self._states[job_id] = JobStatus(job_id, self._jobs[job_id].kind, "cancelled", 0.0, 0.0)

    def retry(self, job_id: str) -> None:
        self._run(self._jobs[job_id])

    def jobs(self, limit: int = 100) -> list[JobStatus]:
        return list(self._states.values())[-limit:]

    def _run(self, job: Job) -> None:
        plan = self.plans[job.kind]
        try:
            for step in plan.steps:
                run_with_attempts(step, job.arguments)
        except JobHalted:
            self._states[job.job_id] = JobStatus(job.job_id, job.kind, "done", 0.0, 0.0)
        except Exception as error:  # noqa: BLE001 - the edge of the engine: every failure is recorded, none escapes
            tell_failure(plan, job.arguments, error)
            self._states[job.job_id] = JobStatus(job.job_id, job.kind, "failed", 0.0, 0.0, reason_of(error))
        else:
            self._states[job.job_id] = JobStatus(job.job_id, job.kind, "done", 0.0, 0.0)


def run_with_attempts(step: Step, arguments: Arguments) -> None:
    """Run a step, again when it fails for a passing reason, at most `attempts` times, half a second apart. Time without
    database or disk space is waited out and counts for no attempt."""
    for attempt in range(1, step.attempts + 1):
        try:
            _wait_out(lambda: step.run(arguments))
        except Permanent:
            raise
        except Exception:
            if attempt == step.attempts:
                _log.error("a step failed", step=step.name, exc_info=True)
                raise
            time.sleep(0.5)
        else:
            return


def tell_failure(plan: Plan, arguments: Arguments, error: Exception) -> None:
    """Tell the plan of a job that failed for good, once there is a database to write it to."""
    _wait_out(lambda: plan.on_failure(arguments, error))


def _wait_out(act: Callable[[], None]) -> None:
    """Do `act`; where the database does not answer or the disk is full, again until it has been done: a database that
    is started again must not leave every study that was under way to a person."""
    wait_s = 0.5
    while True:
        try:
            act()
        except (DatabaseNotReady, StorageFull) as problem:
            hindrance: Exception = problem
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            hindrance = problem
        else:
            return
        _log.warning("a step waits", error=type(hindrance).__name__, reason=str(hindrance), again_in_s=wait_s)
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

"""The plans of the engine: which steps a study goes through, and the scheduled jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from gateway import export, housekeeping
from gateway.context import Gateway
from gateway.engine import Arguments, Plan, QueueName, Step
from gateway.job_kinds import REHOME, RESTORE, RETRACT
from gateway.stages import deidentification, encoding, forecasting, recording, reframing, retraction, segmentation
from gateway.stages.progress import fail, halt_if_superseded, note_seconds

_log = structlog.get_logger()
STUDY, REPUBLISH, EXPORT, HOUSEKEEPING = "study", "republish", "export", "housekeeping"


def plans(gateway: Gateway) -> Mapping[str, Plan]:
    """Every kind of job this gateway knows.

    `study` takes a complete study revision all the way; `republish` encodes a recorded study again because another
    study changed what is to be said of it. `rehome`, `restore` and `retract` follow when a study changes its patient.
    """
    results = [
        _step("forecast", forecasting.run, gateway),
        _step("encode", encoding.run, gateway),
    ]
    study = [
        _step("deidentify", deidentification.run, gateway),
        _step("segment", segmentation.run, gateway, "gpu"),
        _step("record", recording.run, gateway),
        *results,
    ]
    rehome = [
        _step("deidentify", deidentification.follow_patient, gateway),
        _step("reframe", reframing.run, gateway, "gpu"),
        _step("record", recording.run, gateway),
        *results,
    ]
    restore = [_step("deidentify", deidentification.follow_patient, gateway), *results]
    on_failure = partial(fail, gateway)
    return {
        REHOME: Plan(rehome, on_failure),
        RESTORE: Plan(restore, on_failure),
        RETRACT: Plan([Step("retract", partial(retraction.run, gateway))], retraction.note_failure),
        STUDY: Plan(study, on_failure),
        REPUBLISH: Plan(results, on_failure),
        EXPORT: Plan([Step("export", partial(export.run, gateway))], _note_failure),
        HOUSEKEEPING: Plan([Step("sweep", partial(housekeeping.run, gateway))], _note_failure),
    }


def _step(name: str, run: Callable[[Gateway, Arguments], None], gateway: Gateway, queue: QueueName = "patient") -> Step:
    def timed(arguments: Arguments) -> None:
        halt_if_superseded(gateway, arguments)
        started = time.monotonic()
        run(gateway, arguments)
        note_seconds(gateway, arguments, name, time.monotonic() - started)

    return Step(name, timed, queue, attempts=2 if queue == "gpu" else 3)


def _note_failure(arguments: Arguments, error: Exception) -> None:
    _log.error("a scheduled job failed", slot=arguments.get("slot"), error=type(error).__name__)

"""A worker process whose step kills it: `killer_worker.py URL QUEUE MARKS`.

The step of study "bad" on QUEUE ends the process; each run, and each failure told, leaves a line in MARKS.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from gateway.engine import Arguments, Job, Plan, Step
from gateway.engine_dbos import DbosEngine


def main() -> None:
    url, queue, marks = sys.argv[1], sys.argv[2], Path(sys.argv[3])

    def mark(line: str) -> None:
        with marks.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def step(arguments: Arguments) -> None:
        mark(f"ran {arguments['study_key']}")
        if arguments["study_key"] == "bad":
            os.kill(os.getpid(), signal.SIGKILL)

    plan = Plan(
        [Step("analyse", step, "gpu" if queue == "gpu" else "patient")],
        lambda arguments, error: mark(f"failed {arguments['study_key']}: {error}"),
    )
    engine = DbosEngine(url, "worker-1", 0.05)
    engine.start({"study": plan}, ["patient", "gpu"])
    for patient, study in (("p1", "bad"), ("p2", "good")):
        engine.submit(Job(study, "study", patient, {"study_key": study}))
    while True:
        engine.recover([])
        time.sleep(0.2)


main()

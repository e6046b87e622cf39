"""Merging is killed at any moment: what was decided is done as a whole, or not at all."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from gateway_receive.node import Node
from sqlmodel import Session, col, select

from gateway import audit
from gateway.database import read_scope, session_scope
from gateway.identity import PatientId, patient_key_of
from gateway.identity_tables import PatientMerge, Rehoming
from gateway.ownership import owner_of
from gateway.tables import Audit, Delivery, DeliveryState, Outbox, Patient, Study, StudyState

CODE = """
import sys
from gateway.database import open_database, session_scope
from gateway.merges import merge, unmerge
database = open_database(sys.argv[1])
print("ready", flush=True)
while True:
    with session_scope(database) as session:
        if not merge(session, sys.argv[2], sys.argv[3], "robot").changed:
            unmerge(session, sys.argv[3], "robot")
    print("done", flush=True)
"""
ROOT = Path(__file__).resolve().parents[2]
KILLS = 8


def two_patients(session: Session) -> tuple[str, str]:
    """Two patients with six studies each, of which results were sent."""
    keys = [patient_key_of(session, PatientId(person, "X")) for person in "AB"]
    for number in range(12):
        person = "AB"[number % 2]
        study = Study(
            study_instance_uid=f"1.2.{number}",
            patient_key=keys[number % 2],
            identity={"patient_id": person, "issuer": "X", "normalised": [person, "X"]},
            state=StudyState.PUBLISHED,
            revision=1,
        )
        session.add(study)
        session.flush()
        session.add(
            Delivery(
                study_key=study.study_key,
                revision=1,
                destination="pacs",
                object_name="sr",
                state=DeliveryState.DELIVERED,
                attempts=1,
            )
        )
    return keys[0], keys[1]


def assert_whole(session: Session) -> int:
    """Edges, log, studies, jobs and audit tell the same; returns how many decisions there were."""
    merged = session.exec(select(Patient).where(col(Patient.merged_into).is_not(None))).all()
    log = session.exec(select(PatientMerge)).all()
    assert [m.retired_key for m in log if m.unmade_at is None] == [p.patient_key for p in merged]
    moves = session.exec(select(Rehoming)).all()
    for study in session.exec(select(Study)).all():
        assert study.patient_key == owner_of(session, study)
        mine = [m for m in moves if m.study_key == study.study_key]
        jobs = session.exec(select(Outbox).where(col(Outbox.job).contains(study.study_key))).all()
        assert len(jobs) == len(mine) + sum(1 for m in mine if m.taken_back)
        assert study.revision == 1 + len(jobs)
    decisions = len(log) + sum(1 for m in log if m.unmade_at is not None)
    assert len(session.exec(select(Audit)).all()) == decisions == audit.verify(session)
    assert len(moves) == 6 * decisions
    return decisions


def test_a_merge_that_is_killed_is_whole_or_never_was(node: Node) -> None:
    chance = random.Random(7)
    with session_scope(node.database) as session:
        surviving, retired = two_patients(session)
    decisions = 0
    for _ in range(KILLS):
        command = [sys.executable, "-c", CODE, node.settings.database.url, surviving, retired]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for _ in range(chance.randrange(3)):
                assert process.stdout.readline() == b"done\n"
            time.sleep(chance.uniform(0.0, 0.1))  # the moment of the kill is what is tried
            process.kill()
        with read_scope(node.database) as session:
            decisions = assert_whole(session)
    assert decisions > 0

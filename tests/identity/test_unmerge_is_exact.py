"""Whatever happens between a merge and its end, unmerging gives both records back; on rows alone, so that hypothesis
can try many ways. The jobs' effects on the rows are written here without images."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_receive.node import Node, make_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from gateway.completion import STUDY_JOB
from gateway.database import read_scope, session_scope
from gateway.frames import frame_of_patient
from gateway.identity import PatientId, patient_key_of
from gateway.identity_tables import Rehoming
from gateway.job_kinds import REHOME, RETRACT
from gateway.merges import merge, move_study, unmerge
from gateway.records import read_patient_record
from gateway.rehoming import images_of, latest_analysis
from gateway.stages.refolding import refold
from gateway.tables import Analysis, Delivery, DeliveryState, Measurement, Outbox, Study, StudyState, TimePoint
from gateway.tracking import assign_tracking_uids
from gateway.values import measurement_to_json
from inference.lesions import Fate, LesionMatch
from longitudinal.types import Compartment, LesionMeasurement, Region

PEOPLE = ("A", "B", "C")


def measured(volume_ml: float) -> LesionMeasurement:
    return LesionMeasurement(
        index=1,
        volumes_ml=dict.fromkeys(Region, volume_ml),
        volume_sd_ml=dict.fromkeys(Region, 0.1),
        compartments_ml=dict.fromkeys(Compartment, volume_ml),
        centroid=(0.0, 0.0, 0.0),
        longest=None,
        perpendicular=None,
        diameter_sop_instance_uid=None,
        max_3d_diameter_mm=1.0,
        surface_area_mm2=1.0,
        sphericity=1.0,
    )


@dataclass
class Rows:
    """A hospital of rows: each study has one lesion, which is the first lesion of its patient wherever there is one."""

    node: Node
    studies: int = 0
    volumes: dict[str, float] = field(default_factory=dict)

    def arrive(self, session: Session, person: str, day: int, volume_ml: float) -> str:
        self.studies += 1
        study = Study(
            study_instance_uid=f"1.2.{self.studies}",
            patient_key=patient_key_of(session, PatientId(person, "X")),
            identity={"patient_id": person, "issuer": "X", "normalised": [person, "X"]},
            acquired=dt.date(2026, 1, 1) + dt.timedelta(days=day),
            state=StudyState.COMPLETE,
            revision=1,
        )
        session.add(study)
        session.flush()
        self.volumes[study.study_key] = volume_ml
        payload = {"study_key": study.study_key, "revision": 1}
        session.add(Outbox(job=f"{STUDY_JOB}-{study.study_key}-1", kind=STUDY_JOB, payload=payload))
        return study.study_key

    def run(self, session: Session, limit: int = 1000) -> None:
        """Do what the jobs do to the rows, in their order, those of a stale revision not at all."""
        for _ in range(limit):
            query = select(Outbox).where(col(Outbox.sent_at).is_(None)).order_by(col(Outbox.id)).limit(1)
            row = session.exec(query).first()
            if row is None:
                return
            row.sent_at = dt.datetime.now(dt.UTC)
            session.add(row)
            study = session.get_one(Study, str(row.payload["study_key"]))
            if row.kind == RETRACT or study.revision != row.payload["revision"]:
                continue
            if row.kind in (STUDY_JOB, REHOME):
                self._record(session, study, row.kind)
            self._send(session, study)

    def _record(self, session: Session, study: Study, kind: str) -> None:
        source = latest_analysis(session, study.study_key, before=study.revision)
        images = images_of(source) if kind == REHOME and source else study.revision
        frame = frame_of_patient(session, study)
        session.add(
            Analysis(
                study_key=study.study_key,
                patient_key=str(study.patient_key),
                revision=study.revision,
                labels_sha256="0" * 64,
                detail={"series": {}, "frame": frame.to_json() if frame else None, "images_of": images},
            )
        )
        session.flush()
        others = select(Measurement.tracking_uid).join(
            TimePoint,
            (col(TimePoint.study_key) == col(Measurement.study_key))
            & (col(TimePoint.revision) == col(Measurement.revision)),
        )
        known = session.exec(
            others.where(
                TimePoint.patient_key == study.patient_key,
                col(TimePoint.current).is_(True),
                TimePoint.study_key != study.study_key,
            ).order_by(col(TimePoint.acquired))
        ).first()
        uid = assign_tracking_uids(session, study, [LesionMatch(1, Fate.NEW, inherits=known)])[1]
        for row in session.exec(select(TimePoint).where(TimePoint.study_key == study.study_key)).all():
            row.current = False
        assert study.acquired is not None
        session.add(
            TimePoint(
                patient_key=str(study.patient_key),
                study_key=study.study_key,
                revision=study.revision,
                acquired=study.acquired,
            )
        )
        value = measurement_to_json(measured(self.volumes[study.study_key]))
        session.add(Measurement(study_key=study.study_key, revision=study.revision, tracking_uid=uid, value=value))
        session.flush()
        refold(session, str(study.patient_key), changed=study.study_key)

    def _send(self, session: Session, study: Study) -> None:
        study.state = StudyState.PUBLISHED
        session.add(study)
        session.add(
            Delivery(
                study_key=study.study_key,
                revision=study.revision,
                destination="pacs",
                object_name="sr",
                sop_instance_uid=f"2.{study.study_key}.{study.revision}",
                state=DeliveryState.DELIVERED,
                attempts=1,
            )
        )
        session.flush()

    def records(self) -> dict[str, Any]:
        with session_scope(self.node.database) as session:
            keys = {person: patient_key_of(session, PatientId(person, "X")) for person in PEOPLE}
        with read_scope(self.node.database) as session:
            return {person: read_patient_record(session, key).record for person, key in keys.items()}

    def key(self, session: Session, person: str) -> str:
        return patient_key_of(session, PatientId(person, "X"))


STUDIES = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.integers(0, 400), st.sampled_from([0.5, 2.0, 9.0, 30.0])), max_size=5
)
EVENTS = st.lists(st.sampled_from(["some jobs", "all jobs", "late", "merge C too", "move", "again"]), max_size=6)


def new_rows(folder: Path, template: Path) -> Rows:
    shutil.copyfile(template, folder / "rows.db")
    return Rows(make_node(folder / "data", f"sqlite:///{folder / 'rows.db'}"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(before=STUDIES, between=EVENTS, late=STUDIES)
def test_merge_then_unmerge_is_the_identity_on_the_record(
    sqlite_template: Path, before: Any, between: Any, late: Any
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        rows = new_rows(Path(scratch), sqlite_template)
        try_out(rows, before, between, late)
        rows.node.database.dispose()


def test_one_long_history_on_each_database(node: Node) -> None:
    before = [("A", 0, 9.0), ("B", 90, 2.0), ("A", 180, 30.0), ("B", 30, 0.5), ("C", 10, 9.0)]
    between = ["late", "some jobs", "merge C too", "move", "all jobs", "late", "some jobs"]
    try_out(Rows(node), before, between, [("B", 300, 9.0), ("A", 5, 2.0)])


def try_out(rows: Rows, before: Any, between: Any, late: Any) -> None:
    with session_scope(rows.node.database) as session:
        keys = {person: rows.key(session, person) for person in PEOPLE}
        for one in before:
            rows.arrive(session, *one)
        rows.run(session)
    was = rows.records()
    waiting, came, undo = list(late), [], ["B"]
    with session_scope(rows.node.database) as session:
        merge(session, keys["A"], keys["B"], "u")
    for event in between:
        with session_scope(rows.node.database) as session:
            came += _happen(rows, session, event, keys, waiting, undo)
    for person in reversed(undo):
        with session_scope(rows.node.database) as session:
            unmerge(session, keys[person], "u")
    with session_scope(rows.node.database) as session:
        for row in session.exec(select(Study)).all():
            move_study(session, row, None, "u")
        rows.run(session)
    _compare(rows, was, came, keys)


def _happen(
    rows: Rows, session: Session, event: str, keys: dict[str, str], waiting: list[Any], undo: list[str]
) -> list[str]:
    if event == "some jobs":
        rows.run(session, 2)
    elif event == "all jobs":
        rows.run(session)
    elif event == "late" and waiting:
        return [rows.arrive(session, *waiting.pop())]
    elif event == "merge C too" and "C" not in undo:
        merge(session, keys["A"], keys["C"], "u")
        undo.append("C")
    elif event == "move":
        study = session.exec(select(Study).order_by(col(Study.study_instance_uid)).limit(1)).first()
        if study is not None:
            move_study(session, study, keys["C"], "u")
    elif event == "again":
        assert not merge(session, keys["A"], keys["B"], "u").changed
    return []


def _compare(rows: Rows, was: dict[str, Any], came: list[str], keys: dict[str, str]) -> None:
    """Each study is with the patient of its identifier. Where no new one came the record is as it was; what was
    measured, and under which tracking UID, is in any case."""
    now = rows.records()
    with read_scope(rows.node.database) as session:
        studies = {s.study_instance_uid: s for s in session.exec(select(Study)).all()}
        assert all(s.patient_key == keys[s.identity["patient_id"]] for s in studies.values())
        assert all(s.state is StudyState.PUBLISHED for s in studies.values())
        new = {s.identity["patient_id"] for s in studies.values() if s.study_key in came}
        sent_wrong(session, keys)
    for person in PEOPLE:
        if person not in new:
            assert now[person] == was[person]
        lesions = {
            p.study_instance_uid: [(x.tracking_uid, x.measurement) for x in p.lesions] for p in now[person].time_points
        }
        for point in was[person].time_points:
            assert lesions[point.study_instance_uid] == [(x.tracking_uid, x.measurement) for x in point.lesions]


def sent_wrong(session: Session, keys: dict[str, str]) -> None:
    """Everything that was sent while a study belonged to another person was taken back, and nothing else."""
    for study in session.exec(select(Study)).all():
        history = session.exec(
            select(Rehoming).where(Rehoming.study_key == study.study_key).order_by(col(Rehoming.revision))
        ).all()
        taken_back = {row for h in history for row in h.taken_back}
        home = keys[study.identity["patient_id"]]
        for row in session.exec(select(Delivery).where(Delivery.study_key == study.study_key)).all():
            before = [h for h in history if h.revision <= row.revision]
            owner = before[-1].to_key if before else (history[0].from_key if history else study.patient_key)
            if owner != home:
                assert row.id in taken_back

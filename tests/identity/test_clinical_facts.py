"""Treatments and markers that a person states set baselines, reach the forecast, follow a merge, and are audited."""

from __future__ import annotations

import datetime as dt

import pytest
from gateway_receive.node import Node
from sqlmodel import Session, col, select

from gateway.clinical_facts import add_treatment, list_treatments, state_facts, stated_of, take_back_treatment
from gateway.errors import NotAllowed, NotFound
from gateway.identity import PatientId, patient_key_of
from gateway.merges import merge, unmerge
from gateway.records import read_patient_record
from gateway.stages.refolding import refold
from gateway.tables import Audit, Outbox, Study, StudyState, TimePoint

ACTOR = "cli:tester"
SURGERY = {"kind": "surgery", "start": "2026-02-01", "stop": "2026-02-01", "extent": "gtr"}


def patient(session: Session, name: str) -> str:
    return patient_key_of(session, PatientId(name, "HOSPITAL"))


def published(session: Session, patient_key: str, day: int) -> str:
    acquired = dt.date(2026, 1, 1) + dt.timedelta(days=day)
    study = Study(
        study_instance_uid=f"1.2.{patient_key}.{day}",
        patient_key=patient_key,
        acquired=acquired,
        state=StudyState.PUBLISHED,
        revision=1,
    )
    session.add(study)
    session.flush()
    session.add(TimePoint(patient_key=patient_key, study_key=study.study_key, revision=1, acquired=acquired))
    session.flush()
    return study.study_key


def test_a_treatment_is_stated_once_and_taken_back_without_a_trace_in_the_record(node: Node) -> None:
    with Session(node.database) as session:
        key = patient(session, "A")
        first = add_treatment(session, key, SURGERY, ACTOR)
        assert add_treatment(session, key, SURGERY, ACTOR) == first
        (line,) = list_treatments(session, key)
        assert (line["kind"], line["start"], line["extent"]) == ("surgery", "2026-02-01", "gtr")
        assert take_back_treatment(session, first, ACTOR) == key
        assert stated_of(session, key).treatments == []
        with pytest.raises(NotFound):
            take_back_treatment(session, first, ACTOR)
        actions = session.exec(select(Audit.action).order_by(col(Audit.seq))).all()
        assert actions[-2:] == ["patient.treatment", "patient.treatment-taken-back"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"kind": "magic", "start": "2026-01-01"}, "kind"),
        ({"kind": "rt", "start": "yesterday"}, "start"),
        ({"kind": "rt", "start": "2026-01-02", "stop": "2026-01-01"}, "stops before"),
        ({"kind": "rt", "start": "2026-01-02", "decided": "2026-01-03"}, "decided after"),
    ],
)
def test_a_treatment_that_cannot_be_is_refused_by_name(node: Node, values: dict[str, str], named: str) -> None:
    with Session(node.database) as session:
        key = patient(session, "A")
        with pytest.raises(NotAllowed, match=named):
            add_treatment(session, key, values, ACTOR)
        assert list_treatments(session, key) == []


def test_a_treatment_publishes_again_what_it_changes_and_nothing_else(node: Node) -> None:
    with Session(node.database) as session:
        key = patient(session, "A")
        before, after = published(session, key, 0), published(session, key, 60)
        refold(session, key, changed=None)
        for study in (before, after):
            session.get_one(Study, study).state = StudyState.PUBLISHED
        session.commit()
        revisions = {s: session.get_one(Study, s).revision for s in (before, after)}
        add_treatment(session, key, SURGERY, ACTOR)
        assert refold(session, key, changed=None) == [after], "the study before the surgery knows nothing of it"
        assert session.get_one(Study, before).revision == revisions[before]
        assert read_patient_record(session, key).record.time_points[1].context.is_baseline
        assert refold(session, key, changed=None) == []
        jobs = session.exec(select(Outbox).where(Outbox.kind == "republish")).all()
        assert [job.payload["study_key"] for job in jobs].count(after) >= 1


def test_facts_follow_a_merge_and_come_back_with_its_end(node: Node) -> None:
    with Session(node.database) as session:
        one, other = patient(session, "A"), patient(session, "B")
        published(session, one, 0), published(session, other, 60)
        state_facts(session, one, {"idh": "mut"}, ACTOR)
        state_facts(session, other, {"idh": "wt", "mgmt": "meth"}, ACTOR)
        add_treatment(session, one, SURGERY, ACTOR)
        add_treatment(session, other, SURGERY, ACTOR)
        merge(session, one, other, ACTOR)
        together = stated_of(session, one)
        assert (together.facts.idh, together.facts.mgmt) == ("mut", "meth"), "the surviving record is believed first"
        assert len(together.treatments) == 1, "the same surgery, stated in both"
        with pytest.raises(NotAllowed, match=one):
            add_treatment(session, other, SURGERY, ACTOR)
        unmerge(session, other, ACTOR)
        assert stated_of(session, other).facts.idh == "wt"


def test_markers_that_are_not_named_stay_and_unknown_ones_are_refused(node: Node) -> None:
    with Session(node.database) as session:
        key = patient(session, "A")
        state_facts(session, key, {"idh": "mut", "who_grade": 2}, ACTOR)
        state_facts(session, key, {"mgmt": "meth", "who_grade": None}, ACTOR)
        facts = stated_of(session, key).facts
        assert (facts.idh, facts.mgmt, facts.who_grade) == ("mut", "meth", None)
        for wrong in ({"idh": "maybe"}, {"shoe_size": 43}):
            with pytest.raises(NotAllowed, match=next(iter(wrong))):
                state_facts(session, key, wrong, ACTOR)


def test_what_was_decided_later_is_not_known_on_the_day(node: Node) -> None:
    with Session(node.database) as session:
        key = patient(session, "A")
        add_treatment(session, key, {"kind": "rt", "start": "2026-03-01", "decided": "2026-02-10"}, ACTOR)
        stated = stated_of(session, key)
        assert stated.known_on(dt.date(2026, 2, 9)) == {}
        assert len(stated.known_on(dt.date(2026, 2, 10))["treatments"]) == 1

"""Closing studies: once, with evidence, with a job in the outbox; reopened by late images; resumed after a restart."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gateway_receive.mr_images import mr_image, mr_series, mr_study
from gateway_receive.node import Node
from gateway_receive.senders import send

from gateway.arrivals import ArrivalRules, resume_timers
from gateway.completion import close_due_studies, complete_study, hold_study
from gateway.database import session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.quarantine import put_study_aside
from gateway.settings import Settings
from gateway.tables import Audit, Outbox, Quarantine, QuarantineKind, Study, StudyState
from longitudinal.types import Contrast

STUDY = "1.2.826.0.1.3680043.10.1"
MINUTE = dt.timedelta(seconds=61)
BOTH = (Contrast.T1C, Contrast.FLAIR)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def with_policy(node: Node, policy: str) -> Settings:
    return Settings(**{**node.settings.model_dump(), "study": {"quiet_s": 60, "force_policy": policy}})


def close(node: Node, after: dt.timedelta = MINUTE, settings: Settings | None = None) -> list[tuple[str, int]]:
    return close_due_studies(node.database, settings or node.settings, now() + after)


def receive(node: Node, images: list[Any]) -> None:
    with node.listening() as scp:
        assert set(send(scp.port, images)) == {0}


def test_a_complete_study_gets_a_revision_and_a_job(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    assert close(node, dt.timedelta(seconds=30)) == []
    key = node.study().study_key
    assert close(node) == [(key, 1)]
    study = node.study()
    assert (study.state, study.revision, study.due, study.force_due) == (StudyState.COMPLETE, 1, None, None)
    assert study.evidence["by"] == "evidence"
    assert study.evidence["contrasts"]["t1c"] == {"series_number": "1", "slices": 5}
    (job,) = node.rows(Outbox)
    assert (job.job, job.kind, job.payload) == (f"study-{key}-1", "study", {"study_key": key, "revision": 1})
    assert close(node, dt.timedelta(days=1)) == []


def test_ten_closers_at_once_close_once(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    with ThreadPoolExecutor(10) as pool:
        closed = [c for found in pool.map(lambda _: close(node), range(10)) for c in found]
    assert len(closed) == 1
    assert len(node.rows(Outbox)) == 1


def test_a_missing_contrast_waits_and_is_told(node: Node) -> None:
    receive(node, mr_study(STUDY, (Contrast.T1C,)))
    assert close(node) == []
    study = node.study()
    assert (study.state, study.reason) == (StudyState.RECEIVING, "Waiting: no t2f series.")
    assert study.due == study.force_due


def test_an_incomplete_study_is_held_and_taken_up_when_the_rest_comes(node: Node) -> None:
    receive(node, mr_study(STUDY, (Contrast.T1C,)))
    close(node)
    assert node.study().state is StudyState.RECEIVING  # it waits for the force time
    close(node, dt.timedelta(hours=2))
    study = node.study()
    assert (study.state, study.revision) == (StudyState.QUARANTINED, 0)
    (item,) = node.rows(Quarantine)
    assert (item.kind, item.reason) == (
        QuarantineKind.INCOMPLETE,
        "Incomplete when the waiting time ended: no t2f series.",
    )
    receive(node, mr_series(STUDY, Contrast.FLAIR))
    assert node.study().state is StudyState.RECEIVING
    assert node.rows(Quarantine)[0].resolution == "new-images"
    assert close(node) == [(study.study_key, 1)]


def test_a_held_study_that_is_incomplete_again_is_told_again(node: Node) -> None:
    receive(node, mr_study(STUDY, (Contrast.T1C,)))
    close(node), close(node, dt.timedelta(hours=2))
    receive(node, mr_series(STUDY, Contrast.T2))
    close(node), close(node, dt.timedelta(hours=2))
    (item,) = node.rows(Quarantine)
    assert item.resolved_at is None
    assert node.study().state is StudyState.QUARANTINED


@pytest.mark.parametrize(("policy", "state"), [("discard", StudyState.DISCARDED), ("preliminary", StudyState.COMPLETE)])
def test_other_policies_at_the_force_time(node: Node, policy: str, state: StudyState) -> None:
    settings = with_policy(node, policy)
    receive(node, mr_study(STUDY, (Contrast.T1C,)))
    close(node, settings=settings)
    close(node, dt.timedelta(hours=2), settings)
    study = node.study()
    assert study.state is state
    assert study.evidence["preliminary"] is (policy == "preliminary")
    assert len(node.rows(Outbox)) == (1 if policy == "preliminary" else 0)


def test_late_images_reopen_a_study_as_its_next_revision(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    close(node)
    with session_scope(node.database) as session:
        session.get_one(Study, node.study().study_key).state = StudyState.PUBLISHED
    receive(node, mr_series(STUDY, Contrast.T2))
    assert (node.study().state, node.study().revision) == (StudyState.RECEIVING, 1)
    assert close(node) == [(node.study().study_key, 2)]
    assert [j.payload["revision"] for j in node.rows(Outbox)] == [1, 2]


def test_duplicates_do_not_reopen(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    close(node)
    receive(node, mr_study(STUDY, BOTH))
    assert (node.study().state, node.study().due) == (StudyState.COMPLETE, None)


def test_a_late_image_counts_even_when_a_step_moved_the_state_on(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    close(node)
    receive(node, mr_series(STUDY, Contrast.T2))
    with session_scope(node.database) as session:
        session.get_one(Study, node.study().study_key).state = StudyState.SEGMENTED  # of revision 1, still running
    assert close(node) == [(node.study().study_key, 2)]


def test_a_restart_is_no_evidence(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    restarted = now() + dt.timedelta(hours=1)
    resume_timers(node.database, ArrivalRules.from_settings(node.settings), restarted)
    assert close_due_studies(node.database, node.settings, restarted + dt.timedelta(seconds=59)) == []
    assert close_due_studies(node.database, node.settings, restarted + MINUTE) == [(node.study().study_key, 1)]


def test_a_half_study_is_not_completed_by_a_restart(node: Node) -> None:
    images = mr_study(STUDY, BOTH)
    receive(node, [*images[:2], *images[5:]])
    with node.listening():
        pass
    assert close(node) == []
    receive(node, images[2:5])
    assert close(node) == [(node.study().study_key, 1)]


def test_one_series_only_is_answered_and_kept(node: Node) -> None:
    receive(node, [mr_image(study=STUDY, series=f"{STUDY}.1", number=1)])
    close(node)
    assert node.study().reason == "Waiting: no t2f series; the t1c series has 1 slice(s)."


def test_a_person_completes_a_study(node: Node) -> None:
    receive(node, mr_study(STUDY, (Contrast.T1C,)))
    close(node), close(node, dt.timedelta(hours=2))
    key = node.study().study_key
    with session_scope(node.database) as session:
        assert complete_study(session, key, "user-1") == 1
    assert (node.study().state, node.study().evidence["by"]) == (StudyState.COMPLETE, "user-1")
    assert node.rows(Quarantine)[0].resolved_by == "user-1"
    assert [(a.action, a.actor, a.subject) for a in node.rows(Audit)] == [("study.complete", "user-1", key)]


def test_a_person_holds_a_study_back(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    key = node.study().study_key
    with session_scope(node.database) as session:
        hold_study(session, key, "user-1")
    assert close(node) == []
    with session_scope(node.database) as session:
        hold_study(session, key, "user-1", hold=False)
    assert close(node) == [(key, 1)]


def test_what_a_person_cannot_complete(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH, patient_id=""))
    key = node.study().study_key
    with session_scope(node.database) as session:
        with pytest.raises(NotAllowed, match="missing-patient-id"):
            complete_study(session, key, "user-1")
        with pytest.raises(NotFound):
            complete_study(session, "s-unknown", "user-1")


def test_a_study_that_the_analysis_put_aside_is_not_closed_by_its_timer(node: Node) -> None:
    receive(node, mr_study(STUDY, BOTH))
    with session_scope(node.database) as session:
        study = session.get_one(Study, node.study().study_key)
        put_study_aside(session, study, QuarantineKind.UNUSABLE, "The series are of two frames of reference.", "Ask.")
    assert close(node) == []
    (item,) = node.rows(Quarantine)
    assert (item.reason, item.remedy) == ("The series are of two frames of reference.", "Ask.")

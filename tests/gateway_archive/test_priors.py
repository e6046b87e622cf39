"""Priors from a real archive, over C-MOVE to our node and over WADO-RS: found, asked for, counted, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gateway_archive.deliveries import as_node
from gateway_receive.mr_images import mr_series, mr_study, write
from gateway_receive.node import Node, wait_until
from gateway_receive.senders import send
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port
from pydicom import Dataset
from sqlmodel import select

from gateway.archive_tables import PriorSearch, PriorState, PriorStudy, SearchState
from gateway.column_types import utc_now
from gateway.completion import close_due_studies
from gateway.context import Gateway, open_gateway
from gateway.database import session_scope
from gateway.engine import Arguments, InlineEngine, Plan, Step
from gateway.errors import NotAllowed
from gateway.expected_count import ask_archives
from gateway.prior_operations import ask_for_priors, list_searches, show_search
from gateway.priors import fetch_priors
from gateway.relay import relay_outbox
from gateway.settings import Settings
from gateway.tables import Instance, Patient, Study, StudyState
from longitudinal.types import Contrast

NOW, BEFORE, FIRST = "1.2.840.99.3", "1.2.840.99.2", "1.2.840.99.1"
BOTH = (Contrast.T1C, Contrast.FLAIR)
pytestmark = pytest.mark.peer


def _dated(images: Sequence[Dataset], day: str) -> list[Dataset]:
    for image in images:
        image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = day
        image.BodyPartExamined = "BRAIN"
    return list(images)


def _settings(folder: Path, dicom_port: int, pacs_port: int, url: str, retrieve: str, **priors: Any) -> Settings:
    peer = {"ae_title": "PACS", "port": pacs_port, "url": url, "query": "qido" if retrieve == "wado-rs" else "c-find"}
    return Settings(
        data_dir=folder,
        dicom={"port": dicom_port, "peers": [peer]},
        study={"quiet_s": 0, "retry_s": 0},
        priors={"archive": "PACS", "retrieve": retrieve, **priors},
    )


@contextmanager
def _hospital(folder: Path, retrieve: str, **priors: Any) -> Iterator[tuple[Gateway, Node, Orthanc, int]]:
    """A listening gateway and an archive that knows it."""
    dicom_port = free_port()
    with running_orthanc(dicom_port, route=False, ae_title="PACS") as pacs:
        settings = _settings(folder, dicom_port, pacs.dicom_port, pacs.dicomweb_url, retrieve, **priors)
        gateway = open_gateway(settings)
        node = as_node(gateway)
        try:
            with node.listening() as scp:
                yield gateway, node, pacs, scp.port
        finally:
            gateway.database.dispose()


def _go_on(gateway: Gateway, jobs: list[Arguments]) -> None:
    """What the worker's loops do, once: ask, close, relay, fetch."""
    ask_archives(gateway)
    close_due_studies(gateway.database, gateway.settings)
    plan = Plan([Step("note", jobs.append)], lambda _arguments, _error: None)
    relay_outbox(gateway, InlineEngine({"study": plan}))
    fetch_priors(gateway)


def _until_done(gateway: Gateway, node: Node, jobs: list[Arguments]) -> None:
    def done() -> bool:
        _go_on(gateway, jobs)
        searches = node.rows(PriorSearch)
        return bool(searches) and all(s.state is SearchState.DONE for s in searches)

    wait_until(done, 60)


@pytest.mark.parametrize("retrieve", ["c-move", "c-get", "wado-rs"])
def test_a_new_patient_gets_the_priors_once(tmp_path: Path, retrieve: str) -> None:
    jobs: list[Arguments] = []
    with _hospital(tmp_path / "data", retrieve) as (gateway, node, pacs, port):
        priors = [*_dated(mr_study(FIRST, BOTH), "20240110"), *_dated(mr_study(BEFORE, BOTH), "20250110")]
        others = _dated(mr_series("1.2.840.99.8", Contrast.T1C, patient_id="PAT-002"), "20250301")
        current = _dated(mr_study(NOW, BOTH), "20260110")
        pacs.upload(write(tmp_path / "out", [*priors, *others, *current]))
        assert set(send(port, current)) == {0}
        _until_done(gateway, node, jobs)
        # the priors are studies like others: closed, on their way, and nobody's reason to search again
        wait_until(lambda: (_go_on(gateway, jobs), len(jobs) == 3)[1], 30)
        for _ in range(5):
            _go_on(gateway, jobs)
        assert len(jobs) == 3
        assert {s.study_instance_uid for s in node.rows(Study)} == {FIRST, BEFORE, NOW}
        (patient,) = node.rows(Patient)
        (search,) = node.rows(PriorSearch)
        assert (search.patient_key, search.attempts) == (patient.patient_key, 1)
        assert search.counts["found"] == 3 and search.counts["here already"] == 1
        assert (search.counts["wanted"], search.counts["arrived"], search.counts["incomplete"]) == (2, 2, 0)
        assert len(node.rows(Instance)) == len(priors) + len(current)
        with session_scope(gateway.database) as session:
            shown = show_search(session, patient.patient_key)
            assert [line["patient_key"] for line in list_searches(session)] == [patient.patient_key]
        assert [(s["acquired"], s["state"], s["expected_images"], s["arrived_images"]) for s in shown["studies"]] == [
            ("2024-01-10", "arrived", 10, 10),
            ("2025-01-10", "arrived", 10, 10),
        ]
        assert all(s["same_patient"] for s in shown["studies"])
        # another study of the patient is no reason either
        assert set(send(port, _dated(mr_study("1.2.840.99.4", BOTH), "20260601"))) == {0}
        pacs.upload(write(tmp_path / "new", _dated(mr_study("1.2.840.99.4", BOTH), "20260601")))
        wait_until(lambda: (_go_on(gateway, jobs), len(jobs) == 4)[1], 30)
        assert len(node.rows(PriorSearch)) == 1
        assert node.rows(PriorSearch)[0].attempts == 1


@pytest.mark.parametrize("retrieve", ["c-move", "c-get", "wado-rs"])
def test_number_and_age_are_limited_and_a_prior_that_lacks_a_contrast_asks_nobody(
    tmp_path: Path, retrieve: str
) -> None:
    jobs: list[Arguments] = []
    with _hospital(tmp_path / "data", retrieve, max_studies=1, max_age_days=1000) as (gateway, node, pacs, port):
        pacs.upload(write(tmp_path / "a", _dated(mr_study("1.2.840.99.7", BOTH), "20190101")))
        pacs.upload(write(tmp_path / "b", _dated(mr_study(FIRST, BOTH), "20240110")))
        pacs.upload(write(tmp_path / "c", _dated(mr_series(BEFORE, Contrast.T2), "20250110")))
        current = _dated(mr_study(NOW, BOTH), "20260110")
        pacs.upload(write(tmp_path / "d", current))
        send(port, current)
        _until_done(gateway, node, jobs)
        (search,) = node.rows(PriorSearch)
        assert (search.counts["too old"], search.counts["beyond the number"], search.counts["arrived"]) == (1, 1, 1)

        def prior() -> Study:
            return next(s for s in node.rows(Study) if s.study_instance_uid == BEFORE)

        wait_until(lambda: (_go_on(gateway, jobs), prior().state is StudyState.DISCARDED)[1], 30)
        assert "no t1c series" in prior().reason
        assert len(jobs) == 1


def test_priors_that_cannot_be_fetched_are_given_up_and_asked_for_by_hand(tmp_path: Path) -> None:
    jobs: list[Arguments] = []
    dicom_port = free_port()
    with running_orthanc(dicom_port, route=False, ae_title="PACS") as pacs:
        settings = _settings(tmp_path / "data", dicom_port, pacs.dicom_port, "", "c-move")
        gateway = open_gateway(settings)
        node = as_node(gateway)
        current = _dated(mr_study(NOW, BOTH), "20260110")
        pacs.upload(write(tmp_path / "out", [*_dated(mr_study(FIRST, BOTH), "20240110"), *current]))
        with node.listening() as scp:
            send(scp.port, current)

        def given_up() -> bool:  # while our node does not listen
            _make_due(gateway)
            _go_on(gateway, jobs)
            searches = node.rows(PriorSearch)
            return bool(searches) and searches[0].state is SearchState.DONE

        wait_until(given_up, 60)
        (row,) = node.rows(PriorStudy)
        assert (row.state, row.attempts, row.arrived) == (PriorState.INCOMPLETE, 3, 0)
        assert "C-MOVE was refused" in row.problem or "could not be sent" in row.problem
        assert node.rows(PriorSearch)[0].counts["incomplete"] == 1
        with node.listening():
            ask_for_priors(gateway, node.rows(Patient)[0].patient_key, "cli:test")
            _until_done(gateway, node, jobs)
        assert node.rows(PriorStudy)[0].state is PriorState.ARRIVED
        assert node.rows(PriorSearch)[0].counts["arrived"] == 1
        gateway.database.dispose()


def _make_due(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        for row in session.exec(select(PriorStudy)).all():
            if row.next_try is not None:
                row.next_try = utc_now()
                session.add(row)


def test_nothing_is_searched_while_no_archive_is_named(tmp_path: Path) -> None:
    jobs: list[Arguments] = []
    with _hospital(tmp_path / "data", "c-move") as (gateway, node, pacs, port):
        off = Gateway(
            gateway.settings.model_copy(update={"priors": gateway.settings.priors.model_copy(update={"archive": ""})}),
            gateway.database,
            gateway.received,
            gateway.results,
        )
        current = _dated(mr_study(NOW, BOTH), "20260110")
        pacs.upload(write(tmp_path / "out", current))
        send(port, current)
        wait_until(lambda: (_go_on(off, jobs), len(jobs) == 1)[1], 30)
        assert node.rows(PriorSearch) == []
        with pytest.raises(NotAllowed, match=r"priors\.archive"):
            ask_for_priors(off, node.rows(Patient)[0].patient_key, "cli:test")

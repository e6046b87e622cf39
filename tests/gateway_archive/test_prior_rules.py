"""Who is searched for, and whom the answers are about: rules that no archive can talk us out of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_archive.deliveries import as_node
from gateway_receive.mr_images import mr_series
from gateway_receive.senders import send
from peers.ports import free_port

from gateway.archive_tables import PriorSearch, PriorStudy, SearchState
from gateway.context import Gateway, open_gateway
from gateway.database import session_scope
from gateway.prior_studies import note_new_patient
from gateway.priors import fetch_priors
from gateway.settings import Settings
from gateway.tables import Patient, Study, StudyState
from longitudinal.types import Contrast
from timepoint.small_pacs import running_small_pacs


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    peer = {"ae_title": "PACS", "port": free_port(), "query": "c-find"}
    opened = open_gateway(
        Settings(data_dir=tmp_path / "data", dicom={"peers": [peer]}, priors={"archive": "PACS"}),
    )
    with session_scope(opened.database) as session:
        for key in ("p1", "p2"):
            session.add(Patient(patient_key=key, surrogate=key.rjust(32, "0")))
    yield opened
    opened.database.dispose()


def _note(
    gateway: Gateway, key: str, patient: str | None = "p1", revision: int = 1, patient_id: str = "PAT-001"
) -> bool:
    identity: dict[str, Any] = {"patient_id": patient_id, "normalised": [patient_id, ""]}
    with session_scope(gateway.database) as session:
        study = Study(
            study_key=key, study_instance_uid=f"2.25.{key[1:]}", patient_key=patient, revision=revision,
            state=StudyState.COMPLETE, identity=identity, acquired=dt.date(2026, 1, 10),
        )  # fmt: skip
        session.add(study)
        session.flush()
        return note_new_patient(session, study, gateway.settings)


def test_only_the_first_study_of_a_patient_makes_it_new(gateway: Gateway) -> None:
    assert not _note(gateway, "s1", patient=None)
    assert _note(gateway, "s2")
    assert not _note(gateway, "s3"), "searched for already"
    assert not _note(gateway, "s4", patient="p2", revision=2), "late images are no new study"
    assert not _note(gateway, "s5", patient="p2"), "known from an earlier study"


def test_a_fetched_prior_makes_nobody_new_even_under_another_identifier(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        session.add(PriorStudy(study_instance_uid="2.25.7", patient_key="p1", acquired=dt.date(2024, 1, 1)))
    assert not _note(gateway, "s7", patient="p2")
    assert as_node(gateway).rows(PriorSearch) == []


def test_what_an_archive_says_of_other_patients_is_left(gateway: Gateway, tmp_path: Path) -> None:
    """The small PACS answers with all its studies, whatever patient ID it was asked for."""
    with running_small_pacs(tmp_path / "pacs", "PACS", gateway.settings.dicom.peers[0].port) as pacs:
        for number, patient in (("81", "PAT-001"), ("82", "PAT-002"), ("83", "PAT-0011")):
            images = mr_series(f"2.25.{number}", Contrast.T1C, patient_id=patient)
            assert set(send(pacs.port, images, called="PACS")) == {0}
        assert _note(gateway, "s9")
        assert fetch_priors(gateway) > 0
    (search,) = as_node(gateway).rows(PriorSearch)
    assert search.counts == {
        "found": 3,
        "another patient": 2,
        "without a date": 1,
        "wanted": 0,
        "arrived": 0,
        "incomplete": 0,
    }
    assert search.state is SearchState.DONE
    assert as_node(gateway).rows(PriorStudy) == []


@pytest.mark.parametrize("patient_id", ["A*", "A?1", "A\\B"])
def test_an_id_that_would_match_others_is_never_asked_for(gateway: Gateway, patient_id: str) -> None:
    assert _note(gateway, "s9", patient_id=patient_id)
    fetch_priors(gateway)  # nobody listens there: a question would fail otherwise
    (search,) = as_node(gateway).rows(PriorSearch)
    assert "pattern" in search.problem

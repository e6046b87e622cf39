"""Priors on the API and the command line: seen by viewers, asked for by operators, no patient ID in sight."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gateway.api.app import create_app
from gateway.archive_tables import PriorSearch, PriorState, PriorStudy, SearchState
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.engine import InlineEngine
from gateway.settings import Settings, load_settings
from gateway.tables import Patient, Study

CONFIGURATION = """
data_dir = "{folder}"
[dicom]
peers = [{{ ae_title = "PACS", query = "c-find" }}]
[priors]
archive = "PACS"
[web.auth]
mode = "token"
tokens_file = "{tokens}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tokens").write_text("viewer ann v-1\noperator ben o-1\n")
    file = tmp_path / "timepoint.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path / "data", tokens=tmp_path / "tokens"))
    return file


@pytest.fixture
def gateway(config: Path) -> Iterator[Gateway]:
    opened = open_gateway(load_settings(config))
    with session_scope(opened.database) as session:
        session.add(Patient(patient_key="p1", surrogate="0" * 32))
        session.flush()
        identity = {"patient_id": "SECRET-7", "normalised": ["SECRET-7", ""]}
        session.add(Study(study_key="s1", study_instance_uid="2.25.1", patient_key="p1", identity=identity))
        session.flush()
        counts = {"found": 2, "wanted": 1}
        session.add(PriorSearch(patient_key="p1", study_key="s1", state=SearchState.DONE, counts=counts, next_try=None))
        session.add(
            PriorStudy(
                study_instance_uid="2.25.2",
                patient_key="p1",
                acquired=dt.date(2024, 1, 10),
                series={"2.25.3": 5},
                state=PriorState.INCOMPLETE,
                arrived=3,
                attempts=3,
                problem="2 images did not arrive",
                next_try=None,
            )
        )
    yield opened
    opened.database.dispose()


def test_a_viewer_sees_and_an_operator_asks(gateway: Gateway) -> None:
    viewer, operator = ({"Authorization": f"Bearer {token}"} for token in ("v-1", "o-1"))
    with TestClient(create_app(gateway, InlineEngine())) as client:
        assert client.get("/api/v1/priors").status_code == 401
        assert [line["counts"]["found"] for line in client.get("/api/v1/priors", headers=viewer).json()] == [2]
        shown = client.get("/api/v1/patients/p1/priors", headers=viewer)
        (study,) = shown.json()["studies"]
        assert (study["state"], study["arrived_images"], study["expected_images"]) == ("incomplete", 3, 5)
        assert "SECRET" not in shown.text
        assert client.get("/api/v1/patients/p2/priors", headers=viewer).status_code == 404
        assert client.post("/api/v1/patients/p1/priors", headers=viewer).status_code == 403
        assert client.post("/api/v1/patients/p2/priors", headers=operator).status_code == 404
        assert client.post("/api/v1/patients/p1/priors", headers=operator).status_code == 200
    with read_scope(gateway.database) as session:
        assert session.get_one(PriorSearch, "p1").state is SearchState.DUE
        assert session.get_one(PriorStudy, "2.25.2").state is PriorState.WANTED


def test_the_command_line_shows_and_asks(gateway: Gateway, config: Path) -> None:
    del gateway

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "timepoint", "priors", *words, "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    assert [line["patient_key"] for line in json.loads(run("list", "--json"))] == ["p1"]
    shown = run("show", "p1")
    assert "2 images did not arrive" in shown and "2 found" in shown
    run("ask", "p1")
    assert json.loads(run("list", "--json"))[0]["state"] == "due"


def test_an_archive_that_cannot_be_asked_is_refused_at_the_start(tmp_path: Path) -> None:
    for peer, retrieve in (({}, "c-move"), ({"query": "c-find"}, "wado-rs")):
        with pytest.raises(ValueError, match="priors"):
            Settings(
                data_dir=tmp_path,
                dicom={"peers": [{"ae_title": "PACS", **peer}]},
                priors={"archive": "PACS", "retrieve": retrieve},
            )
    with pytest.raises(ValueError, match="qido needs a url"):
        Settings(data_dir=tmp_path, dicom={"peers": [{"ae_title": "PACS", "query": "qido"}]})

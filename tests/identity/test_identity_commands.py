"""Merging, moving and deciding from the command line and over HTTP; each read and decision leaves a link."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gateway_receive.node import Node, make_node
from typer.testing import CliRunner

from gateway.api.app import create_app
from gateway.blobs import RESULTS, open_blobs
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.engine import InlineEngine
from gateway.identity import PatientId, patient_key_of
from gateway.quarantine import Finding, keep
from gateway.tables import Audit, Patient, QuarantineKind, Study, StudyState
from timepoint.cli import app


@pytest.fixture
def site(tmp_path: Path) -> tuple[Node, list[str], list[str]]:
    """A node with two patients, A with a study; its configuration as options; the patients' keys."""
    node = make_node(tmp_path / "data", fhir={"base_url": ""})
    config = tmp_path / "timepoint.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n')
    with session_scope(node.database) as session:
        keys = [patient_key_of(session, PatientId(person, "NORTH")) for person in "AB"]
        identity = {"patient_id": "A", "issuer": "North", "name": "Doe^Jane", "normalised": ["A", "NORTH"]}
        session.add(Study(study_instance_uid="1.2.3", patient_key=keys[0], identity=identity, state=StudyState.FAILED))
    return node, ["--config", str(config)], keys


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception}"


def actions(node: Node) -> list[str]:
    return [row.action for row in node.rows(Audit)]


def test_find_merge_show_unmerge(site: tuple[Node, list[str], list[str]]) -> None:
    node, config, (a, b) = site
    code, output = run("patients", "find", "A", "--issuer", "north", "--json", *config)
    assert code == 0
    assert [(line["patient_key"], line["studies"]) for line in json.loads(output)] == [(a, 1)]
    _, output = run("patients", "merge", b, a, "--json", *config)
    assert json.loads(output) == {"changed": True, "studies": [node.study().study_key]}
    assert node.study().patient_key == b
    _, output = run("patients", "list", "--json", *config)
    assert [(line["patient_key"], line["merged"]) for line in json.loads(output)] == [(b, [a])]
    _, output = run("patients", "show", a, *config)
    assert f"part of {b}" in output
    assert "one record already" in run("patients", "merge", b, a, *config)[1]
    assert run("patients", "unmerge", a, *config)[0] == 0
    assert node.study().patient_key == a
    assert actions(node) == ["patient.find", "patient.merge", "patient.unmerge"]


def test_move_a_study_and_back(site: tuple[Node, list[str], list[str]]) -> None:
    node, config, (a, b) = site
    assert run("studies", "move", "1.2.3", "--patient-id", "B", "--issuer", "North", *config)[0] == 0
    assert node.study().patient_key == b
    assert "already" in run("studies", "move", "1.2.3", "--to", b, *config)[1]
    assert run("studies", "move", "1.2.3", "--back", *config)[0] == 0
    assert node.study().patient_key == a
    assert run("studies", "move", "1.2.3", *config)[0] == 2


def test_mistakes_are_told(site: tuple[Node, list[str], list[str]]) -> None:
    _, config, (a, _) = site
    for arguments, words in (
        (("patients", "merge", a, a), "itself"),
        (("patients", "merge", a, "p-unknown"), "p-unknown"),
        (("patients", "unmerge", a), "not merged"),
        (("patients", "find", "NOBODY"), "patient with this ID"),
    ):
        code, output = run(*arguments, *config)
        assert code == 1
        assert words in output
    assert run("quarantine", "list", "--kind", "guess", *config)[0] == 2


def ask(node: Node, keys: list[str]) -> str:
    detail = {"surviving": keys[1], "retired": keys[0]}
    with session_scope(node.database) as session:
        return keep(session, Finding(QuarantineKind.PATIENT_MERGE, "Told.", "x", detail=detail)).quarantine_key


def test_a_decision_on_the_command_line(site: tuple[Node, list[str], list[str]]) -> None:
    node, config, keys = site
    key = ask(node, keys)
    _, output = run("quarantine", "list", "--kind", "patient-merge", "--json", *config)
    assert [line["key"] for line in json.loads(output)] == [key]
    _, output = run("quarantine", "show", key, "--json", *config)
    assert json.loads(output)["compared"]["retired"]["identifiers"] == [["A", "NORTH"]]
    assert run("quarantine", "resolve", key, "--as", "merge", *config)[0] == 0
    assert node.study().patient_key == keys[1]
    assert actions(node) == ["quarantine.read", "patient.merge", "quarantine.merge"]


def client(node: Node) -> Any:
    settings = node.settings
    gateway = Gateway(settings, node.database, node.received, open_blobs(settings.storage.url, RESULTS))
    return TestClient(create_app(gateway, InlineEngine()))


def test_the_same_over_http(site: tuple[Node, list[str], list[str]]) -> None:
    node, _, (a, b) = site
    key = ask(node, [a, b])
    with client(node) as http:
        found = http.post("/api/v1/patients/find", json={"patient_id": "A"}).json()
        assert [line["patient_key"] for line in found] == [a]
        (item,) = http.get("/api/v1/quarantine", params={"kind": "patient-merge"}).json()
        assert (item["key"], item["actions"]) == (key, ["discard", "merge"])
        shown = http.get(f"/api/v1/quarantine/{key}").json()
        assert shown["compared"]["surviving"]["patient_key"] == b
        assert http.post(f"/api/v1/patients/{b}/merge", params={"retired": a}).json()["changed"] is True
        assert http.get(f"/api/v1/patients/{b}/history").json()["merged"] == [a]
        assert http.post(f"/api/v1/patients/{a}/unmerge").json()["changed"] is True
        study = node.study().study_key
        assert http.post(f"/api/v1/studies/{study}/move", params={"to": b}).json() == {
            "changed": True,
            "studies": [study],
        }
        assert http.post(f"/api/v1/studies/{study}/move").json()["changed"] is True
        assert http.post(f"/api/v1/patients/{b}/merge", params={"retired": b}).status_code == 409
    assert len([p for p in node.rows(Patient) if p.merged_into]) == 0
    assert actions(node) == [
        "patient.find",
        "quarantine.read",
        "patient.merge",
        "patient.read",
        "patient.unmerge",
        "study.move",
        "study.move",
    ]

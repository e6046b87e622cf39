"""The demonstration endpoint, over HTTP and with the production client."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from longitudinal.types import StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.client import FhirClient
from timepoint_fhir.context import PublishContext, Write
from timepoint_fhir.endpoint import running_endpoint
from timepoint_fhir.errors import FhirRejected
from timepoint_fhir.retraction import retraction_bundle

Json = dict[str, Any]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running_endpoint(tmp_path / "fhir") as base_url:
        yield base_url


def total(http: httpx2.Client, url: str, query: str) -> int:
    return int(http.get(f"{url}/{query}").raise_for_status().json()["total"])


def files(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "fhir").iterdir()}


@pytest.mark.parametrize("write", Write)
def test_posting_twice_leaves_one_of_each(
    url: str, tmp_path: Path, result: StudyResult, context: PublishContext, write: Write
) -> None:
    built = build_bundle(result, replace(context, create_patient=True, write=write))
    with FhirClient(url) as client:
        first = client.post_transaction(built)
        kept = files(tmp_path)
        second = client.post_transaction(built)
    assert first == second
    assert len(set(first)) == len(built["entry"])
    assert {f"{address.replace('/', '-')}.json" for address in first} == set(kept)
    assert files(tmp_path) == kept, "an unchanged resource is not written again"


def test_references_lead_to_resources(
    http: httpx2.Client, url: str, result: StudyResult, context: PublishContext
) -> None:
    with FhirClient(url) as client:
        addresses = client.post_transaction(build_bundle(result, replace(context, create_patient=True)))
    for address in addresses:
        resource = http.get(f"{url}/{address}").raise_for_status().json()
        literal = [r["reference"] for r in _references(resource)]
        assert all(http.get(f"{url}/{reference}").status_code == 200 for reference in literal)
        assert "urn:uuid" not in json.dumps(resource)


def _references(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        if "reference" in node and isinstance(node["reference"], str):
            yield node
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def test_searches(http: httpx2.Client, url: str, result: StudyResult, context: PublishContext) -> None:
    with FhirClient(url) as client:
        patient = client.post_transaction(build_bundle(result, replace(context, create_patient=True)))[0]
    assert total(http, url, "Observation?code=http://snomed.info/sct|118565006") == 8
    assert total(http, url, "Observation?code=118565006") == 8
    assert total(http, url, "Observation?code=|118565006") == 0
    assert total(http, url, "Observation?code=TP100,118565006") == 10
    assert total(http, url, "Observation?code=TP100&status=preliminary") == 2
    assert total(http, url, f"Observation?patient={patient.split('/')[1]}") == 21
    assert total(http, url, f"Observation?subject={patient}&_summary=count") == 21
    assert total(http, url, "Observation?subject=Patient/other") == 0
    assert total(http, url, "BodyStructure?identifier=urn:dicom:uid|urn:oid:2.25.1001") == 1
    assert total(http, url, "Observation?_security=AIAST") == 21
    page = http.get(f"{url}/Observation?_count=3").json()
    assert (page["total"], len(page["entry"])) == (21, 3)
    assert page["entry"][0]["fullUrl"].startswith(f"{url}/Observation/")


def test_patient_that_is_not_there_is_refused_and_nothing_is_kept(url: str, tmp_path: Path, bundle: Json) -> None:
    with FhirClient(url) as client, pytest.raises(FhirRejected, match="matches 0 Patient") as caught:
        client.post_transaction(bundle)
    assert caught.value.status == 412
    assert files(tmp_path) == {}


@pytest.mark.parametrize("create", [False, True])
def test_patient_that_is_there_is_used_and_not_changed(
    http: httpx2.Client, url: str, result: StudyResult, context: PublishContext, create: bool
) -> None:
    identifier = [{"system": context.patient_identifier_system, "value": context.patient_identifier}]
    patient = {"resourceType": "Patient", "identifier": identifier, "birthDate": "1970-02-03"}
    stored = http.post(f"{url}/Patient", json=patient).json()
    with FhirClient(url) as client:
        client.post_transaction(build_bundle(result, replace(context, create_patient=create)))
    assert total(http, url, f"Observation?subject=Patient/{stored['id']}") == 21
    assert total(http, url, "Patient") == 1
    assert http.get(f"{url}/Patient/{stored['id']}").json() == stored


def test_two_patients_with_the_identifier_are_refused(
    http: httpx2.Client, url: str, context: PublishContext, bundle: Json
) -> None:
    identifier = [{"system": context.patient_identifier_system, "value": context.patient_identifier}]
    for _ in range(2):
        http.post(f"{url}/Patient", json={"resourceType": "Patient", "identifier": identifier}).raise_for_status()
    with FhirClient(url) as client, pytest.raises(FhirRejected, match="matches 2 Patient"):
        client.post_transaction(bundle)


def test_identifier_with_every_awkward_character_is_matched(
    http: httpx2.Client, url: str, result: StudyResult, context: PublishContext
) -> None:
    awkward = "A|B,C$D\\E&F#G+H I=Jä%20?"
    identifier = [{"system": context.patient_identifier_system, "value": awkward}]
    http.post(f"{url}/Patient", json={"resourceType": "Patient", "identifier": identifier}).raise_for_status()
    with FhirClient(url) as client:
        client.post_transaction(build_bundle(result, replace(context, patient_identifier=awkward)))
    assert total(http, url, "Patient") == 1


def test_a_broken_entry_leaves_nothing_behind(
    url: str, tmp_path: Path, result: StudyResult, context: PublishContext
) -> None:
    built = copy.deepcopy(build_bundle(result, replace(context, create_patient=True)))
    del built["entry"][-1]["resource"]["recorded"]
    with FhirClient(url) as client, pytest.raises(FhirRejected, match="recorded"):
        client.post_transaction(built)
    assert files(tmp_path) == {}


def test_a_revision_changes_what_is_there(
    http: httpx2.Client, url: str, tmp_path: Path, result: StudyResult, context: PublishContext
) -> None:
    created = replace(context, create_patient=True)
    with FhirClient(url) as client:
        client.post_transaction(build_bundle(result, created))
        client.post_transaction(build_bundle(replace(result, revision=2), created))
        assert total(http, url, "Observation?status=amended&code=118565006") == 8
        assert total(http, url, "Observation") == 21
        assert total(http, url, "Provenance") == 4
        client.post_transaction(retraction_bundle(build_bundle(replace(result, revision=2), created)))
    assert total(http, url, "Observation?status=entered-in-error") == 21
    assert total(http, url, "Patient") == 1


def test_what_was_kept_is_there_after_a_restart(
    http: httpx2.Client, tmp_path: Path, result: StudyResult, context: PublishContext
) -> None:
    built = build_bundle(result, replace(context, create_patient=True))
    addresses = []
    for _ in range(2):
        with running_endpoint(tmp_path / "fhir") as base_url, FhirClient(base_url) as client:
            addresses.append(client.post_transaction(built))
            assert total(http, base_url, "Observation") == 21
    assert addresses[0] == addresses[1]


def test_capability_statement_is_valid_and_honest(url: str) -> None:
    with FhirClient(url) as client:
        statement = client.capability()
    CapabilityStatement.model_validate(statement)
    assert statement["fhirVersion"] == "4.0.1"
    assert "demonstration" in statement["implementation"]["description"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/Observation/none", None, 404),
        ("GET", "/Medication", None, 404),
        ("GET", "/Observation?value-quantity=gt5", None, 400),
        ("POST", "/", b"not json", 400),
        ("POST", "/", b"[]", 400),
        ("POST", "/", b'{"resourceType": "Bundle", "type": "batch"}', 400),
        ("POST", "/", b'{"resourceType": "Bundle", "type": "transaction", "entry": [3]}', 422),
        ("POST", "/Patient", b'{"resourceType": "Patient", "birthDate": "yesterday"}', 422),
        ("POST", "/Medication", b'{"resourceType": "Medication"}', 422),
        ("PUT", "/Patient/1", b'{"resourceType": "Patient", "id": "2"}', 400),
        ("PUT", "/Patient/a%20b", b'{"resourceType": "Patient", "id": "a b"}', 400),
        ("PUT", "/Patient/..%2F..%2Fx", b'{"resourceType": "Patient", "id": "../../x"}', 404),
    ],
)
def test_bad_requests_get_an_operation_outcome(
    http: httpx2.Client, url: str, tmp_path: Path, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = http.request(method, f"{url}{path}", content=body)
    assert answer.status_code == status, answer.text
    assert files(tmp_path) == {}
    if "%2F" not in path:
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert answer.headers["Content-Type"] == "application/fhir+json"


def test_create_and_update_one_by_one(http: httpx2.Client, url: str) -> None:
    device = {"resourceType": "Device", "identifier": [{"system": "urn:x", "value": "1"}]}
    condition = {"If-None-Exist": "identifier=urn:x|1"}
    created = http.post(f"{url}/Device", json=device, headers=condition)
    found = http.post(f"{url}/Device", json=device, headers=condition)
    assert (created.status_code, found.status_code) == (201, 200)
    assert created.json() == found.json()
    updated = http.put(f"{url}/Device?identifier=urn:x|1", json={**device, "manufacturer": "Other"})
    assert updated.json()["id"] == created.json()["id"]
    assert updated.json()["meta"]["versionId"] == "2"
    chosen = http.put(f"{url}/Device/mine", json={**device, "id": "mine"})
    assert chosen.status_code == 201
    assert http.put(f"{url}/Device?identifier=urn:x|1", json=device).status_code == 412

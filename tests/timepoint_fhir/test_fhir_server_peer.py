"""Against a real FHIR R4 server (Medplum's router, search and validator) and two R4 validators."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import httpx2
import pytest
from peers.fhir import r4_errors, running_fhir_server

from longitudinal.types import StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.client import FhirClient
from timepoint_fhir.context import PublishContext, Write
from timepoint_fhir.errors import FhirRejected
from timepoint_fhir.retraction import retraction_bundle, revision_bundle

pytestmark = pytest.mark.peer

Json = dict[str, Any]
Mode = Literal["atomic", "strict", "batch"]
COUNTS = {"Patient": 1, "Device": 3, "BodyStructure": 2, "Observation": 21, "DiagnosticReport": 1, "Provenance": 2}


def add_patient(http: httpx2.Client, url: str, context: PublishContext) -> str:
    identifier = [{"system": context.patient_identifier_system, "value": context.patient_identifier}]
    answer = http.post(f"{url}/Patient", json={"resourceType": "Patient", "identifier": identifier})
    return str(answer.raise_for_status().json()["id"])


def total(http: httpx2.Client, url: str, query: str) -> int:
    return int(http.get(f"{url}/{query}").raise_for_status().json()["total"])


def counts(http: httpx2.Client, url: str) -> dict[str, int]:
    return {kind: total(http, url, kind) for kind in COUNTS}


@pytest.fixture(scope="module")
def shared_server() -> Iterator[str]:
    with running_fhir_server() as url:
        yield url


@pytest.mark.parametrize(
    ("write", "mode"),
    [
        (Write.BY_ID, "atomic"),
        (Write.BY_ID, "strict"),
        (Write.BY_ID, "batch"),
        (Write.CONDITIONAL, "atomic"),
        (Write.CONDITIONAL, "batch"),
    ],
)
def test_posting_twice_leaves_one_of_each(
    http: httpx2.Client, result: StudyResult, context: PublishContext, write: Write, mode: Mode
) -> None:
    with running_fhir_server(transactions=mode) as url, FhirClient(url) as client:
        patient = add_patient(http, url, context)
        built = build_bundle(result, replace(context, write=write))
        first = client.post_transaction(built)
        second = client.post_transaction(built)
        assert first == second
        assert counts(http, url) == COUNTS
        assert total(http, url, f"Observation?subject=Patient/{patient}") == 21
        for address in first:
            assert http.get(f"{url}/{address}").status_code == 200


def test_several_studies_revisions_and_retractions_of_one_patient(
    http: httpx2.Client, result: StudyResult, context: PublishContext
) -> None:
    other_uid = "1.2.826.0.1.3680043.8.498.20260701"
    other = build_bundle(replace(result, study_instance_uid=other_uid), replace(context, study_instance_uid=other_uid))
    first = build_bundle(result, context)
    second = build_bundle(replace(result, revision=2, lesions=result.lesions[:1]), context)
    with running_fhir_server() as url, FhirClient(url) as client:
        add_patient(http, url, context)
        client.post_transaction(first)
        client.post_transaction(other)
        assert counts(http, url) == {**COUNTS, "Observation": 42, "DiagnosticReport": 2, "Provenance": 4}
        for _ in range(2):
            client.post_transaction(revision_bundle(first, second))
        assert total(http, url, "Observation") == 42
        assert total(http, url, "Observation?status=amended") == 10, "group, 4 volumes, 3 diameters, 2 changes"
        assert total(http, url, "Observation?status=entered-in-error") == 7
        for _ in range(2):
            client.post_transaction(retraction_bundle(other))
        assert total(http, url, "Observation?status=entered-in-error") == 28
        assert total(http, url, "DiagnosticReport?status=entered-in-error") == 1
        assert total(http, url, "BodyStructure") == 2


def test_reader_of_volumes_finds_no_forecast(
    http: httpx2.Client, result: StudyResult, context: PublishContext, shared_server: str
) -> None:
    other = replace(context, patient_identifier="MRN-READER")
    add_patient(http, shared_server, other)
    with FhirClient(shared_server) as client:
        client.post_transaction(build_bundle(result, other))
    volumes = http.get(f"{shared_server}/Observation?code=http://snomed.info/sct|118565006&_count=100").json()
    assert len(volumes["entry"]) == 8
    assert all("Forecast" not in e["resource"]["code"]["text"] for e in volumes["entry"])
    assert total(http, shared_server, "Observation?component-code=http://snomed.info/sct|118565006") == 0
    assert total(http, shared_server, "Observation?code=TP100&status=final") == 0
    assert total(http, shared_server, "Observation?code=TP100&status=preliminary&_security=AIAST") == 2


@pytest.mark.parametrize("write", Write)
def test_unknown_patient_is_refused_and_nothing_is_kept(
    http: httpx2.Client, result: StudyResult, context: PublishContext, write: Write
) -> None:
    with running_fhir_server() as url, FhirClient(url) as client:
        with pytest.raises(FhirRejected, match="matched 0") as caught:
            client.post_transaction(build_bundle(result, replace(context, write=write)))
        assert "00417" not in str(caught.value)
        assert set(counts(http, url).values()) == {0}
        client.post_transaction(build_bundle(result, replace(context, write=write, match_patient=False)))
        assert counts(http, url) == {**COUNTS, "Patient": 0}


def test_created_patient_is_created_once(http: httpx2.Client, result: StudyResult, context: PublishContext) -> None:
    with running_fhir_server() as url, FhirClient(url) as client:
        built = build_bundle(result, replace(context, create_patient=True))
        assert client.post_transaction(built) == client.post_transaction(built)
        assert counts(http, url) == COUNTS


def test_server_with_transaction_limits_refuses_conditional_writing_with_its_reason(
    http: httpx2.Client, result: StudyResult, context: PublishContext
) -> None:
    with running_fhir_server(transactions="strict") as url, FhirClient(url) as client:
        add_patient(http, url, context)
        with pytest.raises(FhirRejected, match="too many entries"):
            client.post_transaction(build_bundle(result, replace(context, write=Write.CONDITIONAL)))


def test_server_that_treats_a_transaction_as_a_batch_is_not_believed_blindly(
    http: httpx2.Client, result: StudyResult, context: PublishContext
) -> None:
    with running_fhir_server(transactions="batch") as url, FhirClient(url) as client:
        built = build_bundle(result, context)
        with pytest.raises(FhirRejected, match=r"entry \d+: HTTP 400"):
            client.post_transaction(built)
        add_patient(http, url, context)
        client.post_transaction(built)
        assert counts(http, url) == COUNTS, "what the first attempt left behind is no duplicate"


def test_token(bundle: Json, context: PublishContext) -> None:
    with running_fhir_server(token="right") as url:
        with FhirClient(url) as client:
            assert client.capability()["fhirVersion"] == "4.0.1"
            with pytest.raises(FhirRejected, match="bearer token") as caught:
                client.post_transaction(bundle)
            assert caught.value.status == 401
        with FhirClient(url, token="right") as client, pytest.raises(FhirRejected, match="matched 0"):
            client.post_transaction(bundle)


@pytest.mark.parametrize("write", Write)
def test_every_resource_is_valid_r4(result: StudyResult, context: PublishContext, write: Write) -> None:
    assert result.forecast is not None
    variants = [
        build_bundle(result, replace(context, write=write, create_patient=True)),
        build_bundle(
            replace(result, preliminary=True, revision=3), replace(context, match_patient=False, match_study=True)
        ),
        build_bundle(
            replace(result, forecast=replace(result.forecast, points=(), abstained="Too few time points.")), context
        ),
    ]
    variants.append(retraction_bundle(variants[0]))
    resources = [entry["resource"] for bundle in variants for entry in bundle["entry"]]
    found = [(r["resourceType"], errors) for r, errors in zip(resources, r4_errors(resources), strict=True) if errors]
    assert found == []


def required_code(observation: Json) -> None:
    observation["status"] = "done"


def missing_code(observation: Json) -> None:
    del observation["code"]


def element_of_r5(observation: Json) -> None:
    observation["bodyStructure"] = {"reference": "BodyStructure/1"}


def bad_date_time(observation: Json) -> None:
    observation["effectiveDateTime"] = "1 April 2026"


def wrong_target(observation: Json) -> None:
    observation["subject"] = {"reference": "ImagingStudy/1"}


def value_and_reason(observation: Json) -> None:
    observation["dataAbsentReason"] = {"text": "unknown"}


def test_the_validators_do_find_defects(bundle: Json) -> None:
    good = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation")
    defects = [required_code, missing_code, element_of_r5, bad_date_time, wrong_target, value_and_reason]
    seeded = [copy.deepcopy(good) for _ in defects]
    for defect, resource in zip(defects, seeded, strict=True):
        defect(resource)
    fine, *found = r4_errors([good, *seeded])
    assert fine == []
    assert [defect.__name__ for defect, errors in zip(defects, found, strict=True) if not errors] == []


def test_the_server_validates_what_it_is_given(http: httpx2.Client, shared_server: str) -> None:
    answer = http.post(f"{shared_server}/Observation", json={"resourceType": "Observation", "status": "final"})
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"

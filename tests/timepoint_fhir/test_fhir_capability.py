"""What is wrong with a server is known before the first Bundle is sent to it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from timepoint_fhir.capability import WRITTEN_TYPES, shortcomings
from timepoint_fhir.client import FhirClient
from timepoint_fhir.context import Write
from timepoint_fhir.endpoint import running_endpoint

Json = dict[str, Any]


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Json:
    folder: Path = tmp_path_factory.mktemp("fhir")
    with running_endpoint(folder) as url, FhirClient(url) as client:
        return client.capability()


@pytest.mark.parametrize("write", Write)
def test_the_demonstration_endpoint_lacks_nothing(statement: Json, write: Write) -> None:
    assert shortcomings(statement, write) == ()


def test_types_are_those_of_a_bundle(bundle: Json) -> None:
    assert set(WRITTEN_TYPES) == {entry["resource"]["resourceType"] for entry in bundle["entry"]}


def test_each_shortcoming_has_its_sentence(statement: Json) -> None:
    poor = copy.deepcopy(statement)
    poor["fhirVersion"] = "5.0.0"
    rest = poor["rest"][0]
    rest["interaction"] = [{"code": "batch"}]
    rest["resource"] = [r for r in rest["resource"] if r["type"] != "BodyStructure"]
    for resource in rest["resource"]:
        resource["updateCreate"] = resource["type"] != "Device"
    version, transaction, types, ids = shortcomings(poor, Write.BY_ID)
    assert "5.0.0" in version
    assert "transactions" in transaction
    assert types == "the server does not keep BodyStructure"
    assert "updateCreate for Device;" in ids
    assert "write = conditional" in ids


def test_an_empty_statement_is_no_crash() -> None:
    assert len(shortcomings({}, Write.CONDITIONAL)) == 3

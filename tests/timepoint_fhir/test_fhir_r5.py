"""The same publication in FHIR R5: valid, equal in what it says, with the segments that a lesion has in the SEG."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.bundle import Bundle as BundleR5
from fhir.resources.R4B.bundle import Bundle as BundleR4
from pydantic import ValidationError

from longitudinal.types import StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.capability import shortcomings
from timepoint_fhir.checks import check_bundle
from timepoint_fhir.context import PublishContext, Version, Write
from timepoint_fhir.retraction import retraction_bundle

Json = dict[str, Any]


@pytest.fixture
def r5_context(context: PublishContext, result: StudyResult) -> PublishContext:
    segments = {result.lesions[0].tracking_uid: [1, 2, 5]}
    return replace(context, version=Version.R5, segments=segments)


@pytest.fixture
def r5(result: StudyResult, r5_context: PublishContext) -> Json:
    return build_bundle(result, r5_context)


def of_type(bundle: Json, kind: str) -> list[Json]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def test_it_is_valid_r5_and_not_r4(r5: Json, bundle: Json) -> None:
    BundleR5.model_validate(r5)
    with pytest.raises((ValidationError, KeyError)):  # fhir.resources has no name at all for what only R5 has
        BundleR4.model_validate(r5)
    with pytest.raises(ValidationError):
        BundleR5.model_validate(bundle)
    assert check_bundle(r5) == ()


def test_both_versions_say_the_same_values_under_the_same_identifiers(r5: Json, bundle: Json) -> None:
    def values(of: Json) -> dict[str, Any]:
        return {
            o["identifier"][0]["value"]: (o["code"], o["status"], o.get("valueQuantity"), o.get("component"))
            for o in of_type(of, "Observation")
        }

    assert values(r5) == values(bundle)
    assert [d["conclusion"] for d in of_type(r5, "DiagnosticReport")] == [
        d["conclusion"] for d in of_type(bundle, "DiagnosticReport")
    ]


def test_a_lesion_is_a_body_structure_with_its_segments(r5: Json, result: StudyResult) -> None:
    (selection,) = of_type(r5, "ImagingSelection")
    assert selection["code"]["coding"][0]["code"] == "121191"
    assert selection["studyUid"] == result.study_instance_uid
    (instance,) = selection["instance"]
    assert instance["subset"] == ["1", "2", "5"]
    address = next(e["fullUrl"] for e in r5["entry"] if e["resource"] == selection)
    groups = [o for o in of_type(r5, "Observation") if "hasMember" in o]
    assert [address in {d.get("reference") for d in g["derivedFrom"]} for g in groups] == [True, False]
    assert all("bodySite" not in o for o in of_type(r5, "Observation")), "obs-9: bodyStructure excludes it"
    assert all("bodyStructure" in g for g in groups)


def test_a_forecast_keeps_its_code_label_and_status(r5: Json) -> None:
    forecasts = [o for o in of_type(r5, "Observation") if o["code"]["coding"][0]["code"] == "TP100"]
    assert forecasts
    for forecast in forecasts:
        assert forecast["status"] == "preliminary"
        assert not [name for name in forecast if name.startswith("value")]
        assert "AIAST" in {label["code"] for label in forecast["meta"]["security"]}


@pytest.mark.parametrize("write", Write)
def test_taking_back_reaches_the_segments_too(result: StudyResult, r5_context: PublishContext, write: Write) -> None:
    retracted = retraction_bundle(build_bundle(result, replace(r5_context, write=write)))
    BundleR5.model_validate(retracted)
    said = [r for kind in ("Observation", "DiagnosticReport", "ImagingSelection") for r in of_type(retracted, kind)]
    assert said and {r["status"] for r in said} == {"entered-in-error"}


def test_a_server_of_the_other_version_is_told() -> None:
    r4: Json = {"fhirVersion": "4.0.1"}
    assert not any("speaks FHIR" in text for text in shortcomings(r4, Write.BY_ID))
    told = shortcomings(r4, Write.BY_ID, Version.R5)
    assert any("R5 (5.0) is configured" in text for text in told)
    offered: Json = {"fhirVersion": "5.0.0", "rest": [{"mode": "server", "resource": [{"type": "Observation"}]}]}
    assert any("ImagingSelection" in text for text in shortcomings(offered, Write.BY_ID, Version.R5))

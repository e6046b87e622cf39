"""The Bundle as a whole: its entries, what identifies them, and how patient and study are referred to."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from longitudinal.types import StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.context import PublishContext, Write

Json = dict[str, Any]


def of_type(bundle: Json, kind: str) -> list[Json]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def test_holds_every_part_of_the_result_once(bundle: Json) -> None:
    counts = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
    # Observations: 2 groups, 2 x 4 volumes, 3 diameters of the lesion that is there, 3 changes, 2 + 1 responses,
    # 2 forecast horizons. Devices: gateway, segmentation, forecaster.
    assert counts == {"Device": 3, "BodyStructure": 2, "Observation": 21, "DiagnosticReport": 1, "Provenance": 2}


def test_is_valid_for_fhir_resources_and_survives_it_unchanged(bundle: Json) -> None:
    assert Bundle.model_validate(bundle).model_dump(mode="json", exclude_none=True) == bundle


def test_same_input_gives_the_same_bytes(result: StudyResult, context: PublishContext, bundle: Json) -> None:
    assert json.dumps(build_bundle(result, context)) == json.dumps(bundle)


def test_a_later_revision_writes_the_same_resources(result: StudyResult, context: PublishContext, bundle: Json) -> None:
    later = build_bundle(replace(result, revision=2), context)
    changed = [e["fullUrl"] for e in later["entry"] if e["resource"]["resourceType"] != "Provenance"]
    assert changed == [e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] != "Provenance"]
    fresh = {e["fullUrl"] for e in later["entry"]} - {e["fullUrl"] for e in bundle["entry"]}
    assert len(fresh) == len(of_type(later, "Provenance")), "each revision has its own provenance"
    assert {p["activity"]["coding"][0]["code"] for p in of_type(later, "Provenance")} == {"UPDATE"}


@pytest.mark.parametrize(
    ("preliminary", "revision", "status"),
    [(False, 1, "final"), (True, 1, "preliminary"), (False, 2, "amended"), (True, 2, "preliminary")],
)
def test_status_of_measurements_follows_the_result(
    result: StudyResult, context: PublishContext, preliminary: bool, revision: int, status: str
) -> None:
    built = build_bundle(replace(result, preliminary=preliminary, revision=revision), context)
    measured = [o for o in of_type(built, "Observation") if "118565006" in json.dumps(o["code"])]
    assert len(measured) == 8
    assert {o["status"] for o in measured} == {status}


def test_report_and_conclusions_are_never_final(bundle: Json) -> None:
    (report,) = of_type(bundle, "DiagnosticReport")
    responses = [o for o in of_type(bundle, "Observation") if o["code"]["coding"][0]["code"] in ("112048", "TP030")]
    assert report["status"] == "preliminary"
    assert [o["status"] for o in responses] == ["preliminary"] * 3
    assert all("not verified" in o["note"][0]["text"] for o in responses)


def test_two_studies_of_a_patient_share_lesions_and_devices_only(
    result: StudyResult, context: PublishContext, bundle: Json
) -> None:
    other_uid = "1.2.826.0.1.3680043.8.498.20260701"
    other = build_bundle(replace(result, study_instance_uid=other_uid), replace(context, study_instance_uid=other_uid))
    addresses = {entry["fullUrl"] for entry in bundle["entry"]}
    shared = {e["resource"]["resourceType"] for e in other["entry"] if e["fullUrl"] in addresses}
    assert shared == {"Device", "BodyStructure"}


def test_conditional_writing_searches_by_identifier_and_chooses_no_id(
    result: StudyResult, context: PublishContext
) -> None:
    built = build_bundle(result, replace(context, write=Write.CONDITIONAL))
    for entry in built["entry"]:
        assert "id" not in entry["resource"]
        kind, _, query = entry["request"]["url"].partition("?")
        name, _, token = query.partition("=")
        system, _, value = token.partition("|")
        resource = entry["resource"]
        assert kind == resource["resourceType"]
        if name == "_tag":
            assert {"system": system, "code": value} in resource["meta"]["tag"]
        else:
            assert name == "identifier"
            assert any((i.get("system"), i["value"]) == (system, value) for i in resource["identifier"])


def test_patient_is_matched_and_not_invented(bundle: Json) -> None:
    assert not of_type(bundle, "Patient")
    subjects = {r["subject"]["reference"] for r in of_type(bundle, "Observation") + of_type(bundle, "DiagnosticReport")}
    assert subjects == {"Patient?identifier=urn:oid:1.2.276.0.76.4.999|MRN%2000417"}
    assert {r["patient"]["reference"] for r in of_type(bundle, "BodyStructure")} == subjects


def test_patient_can_be_a_logical_reference(result: StudyResult, context: PublishContext) -> None:
    built = build_bundle(result, replace(context, match_patient=False))
    identifier = {"system": "urn:oid:1.2.276.0.76.4.999", "value": "MRN 00417"}
    assert all(o["subject"] == {"type": "Patient", "identifier": identifier} for o in of_type(built, "Observation"))


@pytest.mark.parametrize("write", Write)
def test_created_patient_carries_nothing_but_the_identifier(
    result: StudyResult, context: PublishContext, write: Write
) -> None:
    built = build_bundle(result, replace(context, create_patient=True, write=write))
    entry = built["entry"][0]
    assert set(entry["resource"]) == {"resourceType", "identifier"}
    assert entry["request"]["method"] == "POST"
    assert entry["request"]["ifNoneExist"] == "identifier=urn:oid:1.2.276.0.76.4.999|MRN%2000417"
    assert {o["subject"]["reference"] for o in of_type(built, "Observation")} == {entry["fullUrl"]}


def test_study_and_order_are_named_by_their_identifiers(bundle: Json, context: PublishContext) -> None:
    (report,) = of_type(bundle, "DiagnosticReport")
    study = report["imagingStudy"][0]
    assert study["type"] == "ImagingStudy"
    assert study["identifier"]["system"] == "urn:dicom:uid"
    assert study["identifier"]["value"] == f"urn:oid:{context.study_instance_uid}"
    order = report["basedOn"][0]["identifier"]
    assert (order["type"]["coding"][0]["code"], order["value"]) == ("ACSN", "ACC-5521")


def test_dicom_objects_are_found_from_the_report(bundle: Json) -> None:
    (report,) = of_type(bundle, "DiagnosticReport")
    named = [e["valueReference"]["identifier"]["value"] for e in report["extension"]]
    assert named == ["urn:oid:2.25.31", "urn:oid:2.25.32", "urn:oid:2.25.33"]
    measured = next(p for p in of_type(bundle, "Provenance") if len(p["entity"]) == 2)
    assert measured["entity"][1]["what"]["identifier"]["value"] == "urn:oid:2.25.31"


def test_without_forecast_there_is_no_forecaster(result: StudyResult, context: PublishContext) -> None:
    built = build_bundle(replace(result, forecast=None), context)
    assert len(of_type(built, "Device")) == 2
    assert len(of_type(built, "Provenance")) == 1
    assert "TP100" not in json.dumps(built)


def test_a_study_without_lesions_still_has_a_report(result: StudyResult, context: PublishContext) -> None:
    built = build_bundle(replace(result, lesions=(), forecast=None), context)
    (report,) = of_type(built, "DiagnosticReport")
    assert report["conclusion"].startswith("0 lesion(s)")
    assert len(report["result"]) == 1, "the patient's response"


def test_warnings_are_in_the_conclusion(bundle: Json) -> None:
    (report,) = of_type(bundle, "DiagnosticReport")
    assert "T2 was missing; FLAIR stands in for it." in report["conclusion"]


def test_times_keep_their_zone_and_a_date_stays_a_date(result: StudyResult, context: PublishContext) -> None:
    (report,) = of_type(build_bundle(result, context), "DiagnosticReport")
    assert report["effectiveDateTime"] == "2026-04-01T10:15:00+02:00"
    dated = build_bundle(result, replace(context, study_datetime=dt.date(2026, 4, 1)))
    assert of_type(dated, "DiagnosticReport")[0]["effectiveDateTime"] == "2026-04-01"


def test_context_of_another_study_is_refused(result: StudyResult, context: PublishContext) -> None:
    with pytest.raises(ValueError, match="another study"):
        build_bundle(result, replace(context, study_instance_uid="1.2.3"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient_identifier": " "}, "identifier and its system"),
        ({"patient_identifier_system": ""}, "identifier and its system"),
        ({"issued": dt.datetime(2026, 4, 1)}, "issued needs a time zone"),  # noqa: DTZ001
        ({"study_datetime": dt.datetime(2026, 4, 1)}, "study_datetime needs a time zone"),  # noqa: DTZ001
    ],
)
def test_context_that_cannot_be_published_is_refused(
    context: PublishContext, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(context, **change)


def test_a_value_that_is_no_number_never_leaves(result: StudyResult, context: PublishContext) -> None:
    found = result.lesions[0].measurement
    assert found is not None
    broken = replace(found, volumes_ml={**found.volumes_ml, result.target: float("nan")})
    with pytest.raises(ValueError, match="finite"):
        build_bundle(replace(result, lesions=(replace(result.lesions[0], measurement=broken),)), context)

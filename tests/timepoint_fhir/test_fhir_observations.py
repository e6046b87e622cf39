"""What the Observations say: values, units, methods, what they are derived from, and which lesion they are of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from longitudinal.types import Reference, Region, Response, StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.context import PublishContext
from timepoint_fhir.identifiers import dicom_uid
from timepoint_fhir.publication import volume_uuid

Json = dict[str, Any]


def observations(bundle: Json, code: str) -> list[Json]:
    found = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"]
    return [o for o in found if code in {c["code"] for c in o["code"]["coding"]}]


def component(observation: Json, code: str) -> Json:
    (found,) = [c for c in observation["component"] if c["code"]["coding"][0]["code"] == code]
    return dict(found)


def by_address(bundle: Json, reference: Json) -> Json:
    (found,) = [e["resource"] for e in bundle["entry"] if e["fullUrl"] == reference["reference"]]
    return dict(found)


@pytest.mark.parametrize(
    ("code", "volume_ml", "half_width_ml"),
    [("TP111", 41.25, 4.116), ("TP112", 12.5, 1.568), ("TP113", 8.125, 1.176), ("TP114", 28.75, 3.724)],
)
def test_volume_is_in_millilitres_with_its_uncertainty(
    bundle: Json, code: str, volume_ml: float, half_width_ml: float
) -> None:
    volume = observations(bundle, code)[0]
    unit = {"unit": "mL", "system": "http://unitsofmeasure.org", "code": "mL"}
    assert volume["valueQuantity"] == {"value": volume_ml, **unit}
    assert component(volume, "371884006")["valueQuantity"] == {"value": half_width_ml, **unit}
    assert volume["method"]["coding"][0]["code"] == "126030"
    assert volume["code"]["coding"][1]["code"] == "118565006"
    assert volume["derivedFrom"][0]["type"] == "ImagingStudy"


def test_group_has_the_volumes_and_diameters_of_its_lesion(bundle: Json) -> None:
    first, second = observations(bundle, "125007")
    members = [by_address(bundle, m)["code"]["coding"][0]["code"] for m in first["hasMember"]]
    volumes = ["TP111", "TP112", "TP113", "TP114"]
    assert members == [*volumes, "103339001", "103340004", "L0JK"]
    assert len(second["hasMember"]) == 4, "a lesion that is gone has volumes and no diameters"
    assert "125007" in {c["coding"][0]["code"] for c in first["category"]}


def test_group_carries_the_longitudinal_context(bundle: Json) -> None:
    group = observations(bundle, "125007")[0]
    assert component(group, "112039")["valueString"] == "Lesion 1"
    assert component(group, "112040")["valueString"] == "2.25.1001"
    assert component(group, "126073")["valueInteger"] == 3
    assert component(group, "128740")["valueQuantity"]["value"] == 90


def test_baseline_and_new_lesion_are_said(result: StudyResult, context: PublishContext) -> None:
    point = replace(result.timepoint, order=1, days_from_baseline=0, is_baseline=True)
    lesions = (replace(result.lesions[0], changes=(), response=Response.BASELINE, is_new=True),)
    built = build_bundle(replace(result, timepoint=point, lesions=lesions, response=Response.BASELINE), context)
    (group,) = observations(built, "125007")
    assert component(group, "126072")["valueCodeableConcept"]["coding"][0]["code"] == "C1442488"
    assert component(group, "TP038")["valueCodeableConcept"]["coding"][0]["code"] == "TP037"
    (of_lesion,), (of_patient,) = observations(built, "TP030"), observations(built, "112048")
    assert {o["valueCodeableConcept"]["coding"][0]["code"] for o in (of_lesion, of_patient)} == {"TP031"}
    assert of_lesion["derivedFrom"][0]["reference"] in {
        e["fullUrl"] for e in built["entry"] if e["resource"] in observations(built, "TP112")
    }


def test_lesion_is_one_body_structure_under_its_tracking_uid(bundle: Json) -> None:
    volume = observations(bundle, "TP112")[0]
    structure = by_address(bundle, volume["bodySite"]["extension"][0]["valueReference"])
    assert structure["identifier"][0]["value"] == "urn:oid:2.25.1001"
    assert structure["identifier"][1]["value"] == "Lesion 1"
    assert volume["bodySite"]["coding"][0]["code"] == "12738006"


def test_lesion_that_is_gone_measures_zero_and_says_so(bundle: Json) -> None:
    volume = observations(bundle, "TP112")[1]
    assert volume["valueQuantity"]["value"] == 0
    assert volume["interpretation"][0]["coding"][0]["code"] == "ND"
    assert "not found" in volume["note"][0]["text"]
    assert "component" not in volume, "no uncertainty was measured"
    group = observations(bundle, "125007")[1]
    assert component(group, "TP038")["valueCodeableConcept"]["coding"][0]["code"] == "TP039"


def test_diameters_are_in_millimetres(bundle: Json) -> None:
    (longest,), (short,), (solid,) = (observations(bundle, c) for c in ("103339001", "103340004", "L0JK"))
    assert [o["valueQuantity"]["value"] for o in (longest, short, solid)] == [30.0, 20.5, 33.0]
    assert {o["valueQuantity"]["code"] for o in (longest, short, solid)} == {"mm"}
    assert longest["method"]["coding"][0]["code"] == "C114879"


def test_lesion_without_core_has_no_planar_diameters(result: StudyResult, context: PublishContext) -> None:
    found = result.lesions[0].measurement
    assert found is not None
    flat = replace(result.lesions[0], measurement=replace(found, longest=None, perpendicular=None))
    built = build_bundle(replace(result, lesions=(flat,)), context)
    assert not observations(built, "103339001")
    assert not observations(built, "103340004")
    assert len(observations(built, "L0JK")) == 1


def test_change_says_against_what_and_from_which_volumes(bundle: Json) -> None:
    baseline, previous = observations(bundle, "TP011")[0], observations(bundle, "TP013")[0]
    assert baseline["valueQuantity"]["value"] == 2.5
    assert component(baseline, "TP014")["valueQuantity"] == {
        "value": 25.0,
        "unit": "%",
        "system": "http://unitsofmeasure.org",
        "code": "%",
    }
    assert component(baseline, "TP121")["valueQuantity"]["value"] == 10.0
    assert component(baseline, "TP120")["valueDateTime"] == "2026-01-01"
    assert component(baseline, "TP122")["valueQuantity"]["value"] == 90
    assert component(baseline, "121403")["valueCodeableConcept"]["coding"][0]["code"] == "386134007"
    assert component(previous, "121403")["valueCodeableConcept"]["coding"][0]["code"] == "371928007"
    assert component(previous, "TP016")["valueQuantity"]["value"] == 4.17
    now = by_address(bundle, baseline["derivedFrom"][0])
    assert now["valueQuantity"]["value"] == 12.5


def test_change_names_the_volume_then_by_the_identifier_it_was_published_under(
    bundle: Json, context: PublishContext
) -> None:
    baseline, previous = observations(bundle, "TP011")[0], observations(bundle, "TP013")[0]
    study = context.reference_studies[Reference.BASELINE]
    then = f"urn:oid:{dicom_uid(volume_uuid(study, '2.25.1001', Region.CORE))}"
    assert baseline["derivedFrom"][1]["identifier"] == {"system": "urn:dicom:uid", "value": then}
    assert len(previous["derivedFrom"]) == 1, "the previous study is not known"


def test_the_baseline_publishes_its_volume_under_that_identifier(
    result: StudyResult, context: PublishContext, bundle: Json
) -> None:
    study = context.reference_studies[Reference.BASELINE]
    at_baseline = build_bundle(replace(result, study_instance_uid=study), replace(context, study_instance_uid=study))
    wanted = observations(bundle, "TP011")[0]["derivedFrom"][1]["identifier"]
    assert observations(at_baseline, "TP112")[0]["identifier"] == [wanted]


def test_change_from_nothing_has_no_ratio(result: StudyResult, context: PublishContext) -> None:
    lesion = result.lesions[0]
    appeared = replace(lesion.changes[0], reference_ml=0.0, absolute_ml=12.5, relative=None)
    built = build_bundle(replace(result, lesions=(replace(lesion, changes=(appeared,)),)), context)
    ratio = component(observations(built, "TP011")[0], "TP014")
    assert "valueQuantity" not in ratio
    assert ratio["dataAbsentReason"]["coding"][0]["code"] == "not-applicable"


@pytest.mark.parametrize(
    ("response", "of_lesion", "of_patient", "text"),
    [
        (Response.COMPLETE, "TP033", "112041", "Complete response"),
        (Response.PARTIAL, "TP034", "112042", "Partial response"),
        (Response.PROGRESSIVE, "TP035", "112043", "Progressive disease"),
        (Response.STABLE, "TP036", "112044", "Stable disease"),
        (Response.NOT_EVALUABLE, "TP032", "TP032", "Response not evaluable"),
    ],
)
def test_response_of_lesion_and_patient(
    result: StudyResult, context: PublishContext, response: Response, of_lesion: str, of_patient: str, text: str
) -> None:
    lesions = tuple(replace(lesion, response=response) for lesion in result.lesions)
    built = build_bundle(replace(result, lesions=lesions, response=response), context)
    found, (overall,) = observations(built, "TP030"), observations(built, "112048")
    assert {o["valueCodeableConcept"]["coding"][0]["code"] for o in found} == {of_lesion}
    assert overall["valueCodeableConcept"]["coding"][0]["code"] == of_patient
    assert overall["valueCodeableConcept"]["text"] == text
    assert overall["method"]["coding"][0]["code"] == "C114879"
    assert [by_address(built, r) for r in overall["derivedFrom"]] == found


def test_device_names_the_model_by_version_and_weights(bundle: Json) -> None:
    volume = observations(bundle, "TP112")[0]
    device = by_address(bundle, volume["device"])
    assert device["deviceName"][0]["name"] == "timepoint-segmentation"
    assert device["version"][0]["value"] == "1.2.0"
    assert "ab" * 32 in {i["value"] for i in device["identifier"]}
    assert device["property"][0]["valueCode"][0]["text"] == "device=cpu"
    gateway = by_address(bundle, device["parent"])
    assert gateway["version"][0]["value"] == "0.1.0"


def test_another_weights_file_is_another_device(result: StudyResult, context: PublishContext, bundle: Json) -> None:
    retrained = replace(result, segmentation=replace(result.segmentation, weights_sha256="ef" * 32))
    before = observations(bundle, "TP112")[0]["device"]
    assert observations(build_bundle(retrained, context), "TP112")[0]["device"] != before

"""Defects put into a good Bundle are found, each by its own sentence, and the good Bundle has none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from timepoint_fhir.bundle import to_bundle
from timepoint_fhir.checks import check_bundle
from timepoint_fhir.context import PublishContext, Write
from timepoint_fhir.datatypes import Terminology
from timepoint_fhir.errors import BundleInvalid
from timepoint_fhir.publication import Publication, Resource

Json = dict[str, Any]


def pick(bundle: Json, code: str) -> Json:
    """The first Observation with this code."""
    resources: list[Json] = [entry["resource"] for entry in bundle["entry"]]
    for resource in resources:
        if code in {c["code"] for c in resource.get("code", {}).get("coding", [])}:
            return resource
    raise LookupError(code)


def status_outside_the_value_set(bundle: Json) -> None:
    pick(bundle, "TP112")["status"] = "done"


def report_status_outside_the_value_set(bundle: Json) -> None:
    pick(bundle, "126001")["status"] = "done"


def subject_is_a_study(bundle: Json) -> None:
    pick(bundle, "TP112")["subject"] = {"reference": "ImagingStudy/1"}


def subject_is_logically_a_study(bundle: Json) -> None:
    pick(bundle, "TP112")["subject"] = {"type": "ImagingStudy", "identifier": {"value": "1"}}


def member_is_a_device(bundle: Json) -> None:
    group = pick(bundle, "125007")
    group["hasMember"].append(group["device"])


def device_is_not_in_the_bundle(bundle: Json) -> None:
    pick(bundle, "TP112")["device"]["reference"] = "urn:uuid:00000000-0000-4000-8000-000000000000"


def value_and_reason_for_its_absence(bundle: Json) -> None:
    pick(bundle, "TP112")["dataAbsentReason"] = {"text": "unknown"}


def component_with_the_own_code(bundle: Json) -> None:
    volume = pick(bundle, "TP112")
    volume["component"][0]["code"] = volume["code"]


def component_that_says_nothing(bundle: Json) -> None:
    del pick(bundle, "TP112")["component"][0]["valueQuantity"]


def two_values(bundle: Json) -> None:
    pick(bundle, "TP112")["valueString"] = "12.5 mL"


def no_value_at_all(bundle: Json) -> None:
    volume = pick(bundle, "TP112")
    del volume["valueQuantity"]
    del volume["component"]


def quantity_code_without_system(bundle: Json) -> None:
    del pick(bundle, "TP112")["valueQuantity"]["system"]


def component_unit_without_code(bundle: Json) -> None:
    del pick(bundle, "TP011")["component"][0]["valueQuantity"]["code"]


def forecast_with_a_value(bundle: Json) -> None:
    forecast = pick(bundle, "TP100")
    forecast["valueQuantity"] = forecast["component"][0]["valueQuantity"]


def forecast_with_the_code_of_a_measurement(bundle: Json) -> None:
    forecast = pick(bundle, "TP100")
    forecast["code"]["coding"].append({"system": "http://snomed.info/sct", "code": "118565006"})


def forecast_component_with_the_code_of_a_measurement(bundle: Json) -> None:
    forecast = pick(bundle, "TP100")
    forecast["component"][0]["code"] = {"coding": [{"system": "http://snomed.info/sct", "code": "118565006"}]}


def final_forecast(bundle: Json) -> None:
    pick(bundle, "TP100")["status"] = "final"


def forecast_without_label(bundle: Json) -> None:
    del pick(bundle, "TP100")["meta"]


def created_again_each_time(bundle: Json) -> None:
    bundle["entry"][0]["request"] = {"method": "POST", "url": "Device"}


def put_to_another_id(bundle: Json) -> None:
    bundle["entry"][0]["request"]["url"] = "Device/1"


def conditional_update_without_system(bundle: Json) -> None:
    bundle["entry"][0]["request"]["url"] = "Device?identifier=1"


def the_same_entry_twice(bundle: Json) -> None:
    bundle["entry"].append(copy.deepcopy(bundle["entry"][0]))


def identifier_that_the_server_would_rewrite(bundle: Json) -> None:
    entry = bundle["entry"][0]
    entry["resource"]["identifier"][0]["value"] = entry["fullUrl"]


DEFECTS: list[tuple[Callable[[Json], None], str]] = [
    (status_outside_the_value_set, "'done' is not in the required value set"),
    (report_status_outside_the_value_set, "'done' is not in the required value set"),
    (subject_is_a_study, "subject must not refer to ImagingStudy"),
    (subject_is_logically_a_study, "subject must not refer to ImagingStudy"),
    (member_is_a_device, "hasMember must not refer to Device"),
    (device_is_not_in_the_bundle, "which is not in the Bundle"),
    (value_and_reason_for_its_absence, "obs-6"),
    (component_with_the_own_code, "obs-7"),
    (component_that_says_nothing, "neither a value nor"),
    (two_values, "more than one value"),
    (no_value_at_all, "has no value"),
    (quantity_code_without_system, "needs a value, a UCUM code and its system"),
    (component_unit_without_code, "component.valueQuantity needs a value, a UCUM code and its system"),
    (forecast_with_a_value, "must not carry a value"),
    (forecast_with_the_code_of_a_measurement, "must not carry the code of a measurement"),
    (forecast_component_with_the_code_of_a_measurement, "must not carry the code of a measurement"),
    (final_forecast, "must be preliminary"),
    (forecast_without_label, "AIAST"),
    (created_again_each_time, "no ifNoneExist"),
    (put_to_another_id, "another address than its own id"),
    (conditional_update_without_system, "without system and value"),
    (the_same_entry_twice, "two entries have the same full URL"),
    (identifier_that_the_server_would_rewrite, "which the server would replace"),
]


def test_the_good_bundle_has_no_findings(bundle: Json) -> None:
    assert check_bundle(bundle) == ()


@pytest.mark.parametrize(("defect", "sentence"), DEFECTS, ids=lambda v: getattr(v, "__name__", ""))
def test_defect_is_found(bundle: Json, defect: Callable[[Json], None], sentence: str) -> None:
    defect(bundle)
    findings = check_bundle(bundle)
    assert any(sentence in finding for finding in findings), findings


def test_a_broken_resource_never_becomes_a_bundle(result: Any, context: PublishContext) -> None:
    publication = Publication(result, context, Terminology(context.code_system))
    key = publication.observation_uuid("group", "x")
    body = {"resourceType": "Observation", "status": "final", "valueQuantity": {"value": 3}}
    with pytest.raises(BundleInvalid, match="code"):
        to_bundle([Resource(key, body, "identifier=a|b")], Write.BY_ID)
    complete = {**body, "code": {"text": "x"}}
    with pytest.raises(BundleInvalid, match="UCUM"):
        to_bundle([Resource(key, complete, "identifier=a|b")], Write.BY_ID)

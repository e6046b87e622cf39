"""A forecast cannot be mistaken for a measurement, whichever way a reader looks for volumes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from longitudinal.types import StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.context import PublishContext

Json = dict[str, Any]
VOLUME = ("http://snomed.info/sct", "118565006")


def all_observations(bundle: Json) -> list[Json]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"]


def forecasts(bundle: Json) -> list[Json]:
    return [o for o in all_observations(bundle) if o["code"]["coding"][0]["code"] == "TP100"]


def pairs(concept: Json) -> set[tuple[str, str]]:
    return {(c["system"], c["code"]) for c in concept.get("coding", [])}


def test_reader_of_volumes_by_code_finds_measurements_only(bundle: Json) -> None:
    volumes = [o for o in all_observations(bundle) if VOLUME in pairs(o["code"])]
    inside = [c for o in all_observations(bundle) for c in o.get("component", []) if VOLUME in pairs(c["code"])]
    assert sorted(o["valueQuantity"]["value"] for o in volumes) == [0, 0, 0, 0, 8.125, 12.5, 28.75, 41.25]
    assert inside == []


def test_reader_of_any_value_in_millilitres_finds_no_forecast(bundle: Json) -> None:
    valued = [o for o in all_observations(bundle) if o.get("valueQuantity", {}).get("code") == "mL"]
    assert valued
    assert not [o for o in valued if o in forecasts(bundle)]


def test_reader_of_final_results_or_of_the_imaging_category_finds_no_forecast(bundle: Json) -> None:
    assert {o["status"] for o in forecasts(bundle)} == {"preliminary"}
    assert all("imaging" not in json.dumps(o["category"]) for o in forecasts(bundle))


def test_forecast_is_no_member_of_a_measurement_group(bundle: Json) -> None:
    addresses = {e["fullUrl"] for e in bundle["entry"] if e["resource"] in forecasts(bundle)}
    members = {m["reference"] for o in all_observations(bundle) for m in o.get("hasMember", [])}
    sources = {r.get("reference") for o in all_observations(bundle) for r in o.get("derivedFrom", [])}
    assert addresses
    assert not addresses & (members | sources)


def test_forecast_has_its_interval_horizon_model_and_label(bundle: Json) -> None:
    first, second = forecasts(bundle)
    values = {c["code"]["coding"][0]["code"]: c for c in first["component"]}
    volumes = [values[code]["valueQuantity"]["value"] for code in ("TP101", "TP102", "TP103", "TP106")]
    assert volumes == [14.0, 11.0, 19.0, 12.5]
    assert values["TP020"]["valueQuantity"]["value"] == 90.0
    assert values["TP104"]["valueQuantity"] == {
        "value": 90,
        "unit": "d",
        "system": "http://unitsofmeasure.org",
        "code": "d",
    }
    assert values["TP105"]["valueDateTime"] == "2026-06-30"
    assert values["TP107"]["valueString"] == "timepoint-lstm 2.0.1"
    assert values["TP044"]["valueString"] == "conformal-2026-01"
    assert values["TP040"]["valueCodeableConcept"]["coding"][0]["code"] == "TP041"
    assert first["meta"]["security"][0]["code"] == "AIAST"
    assert first["effectiveDateTime"] == "2026-04-01T10:15:00+02:00", "the index study, not the date that is forecast"
    assert "180 days" in second["code"]["text"]
    assert "not a measurement" in first["note"][0]["text"]


def test_forecast_starts_from_the_observed_volumes_of_all_lesions(bundle: Json) -> None:
    by_address = {e["fullUrl"]: e["resource"] for e in bundle["entry"]}
    sources = [by_address[r["reference"]] for r in forecasts(bundle)[0]["derivedFrom"]]
    assert [s["code"]["coding"][0]["code"] for s in sources] == ["TP112", "TP112"]
    assert sum(s["valueQuantity"]["value"] for s in sources) == 12.5


def test_forecast_comes_from_the_forecaster(bundle: Json) -> None:
    by_address = {e["fullUrl"]: e["resource"] for e in bundle["entry"]}
    device = by_address[forecasts(bundle)[0]["device"]["reference"]]
    assert device["deviceName"][0]["name"] == "timepoint-lstm"
    origin = next(
        p
        for p in by_address.values()
        if p["resourceType"] == "Provenance" and len(p["target"]) == len(forecasts(bundle))
    )
    assert by_address[origin["agent"][0]["who"]["reference"]] is device


def test_abstention_is_published_with_its_reason(result: StudyResult, context: PublishContext) -> None:
    assert result.forecast is not None
    silent = replace(result.forecast, points=(), abstained="Only one time point is known.")
    (observation,) = forecasts(build_bundle(replace(result, forecast=silent), context))
    assert observation["dataAbsentReason"]["text"] == "Only one time point is known."
    assert "component" not in observation

"""Taking back a study, and what a later revision no longer says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from longitudinal.types import StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.checks import check_bundle
from timepoint_fhir.context import PublishContext, Write
from timepoint_fhir.retraction import retraction_bundle, revision_bundle

Json = dict[str, Any]


def statuses(bundle: Json) -> dict[str, str]:
    return {e["fullUrl"]: e["resource"]["status"] for e in bundle["entry"] if e["resource"]["resourceType"] in KINDS}


KINDS = ("Observation", "DiagnosticReport")


@pytest.mark.parametrize("write", Write)
def test_everything_said_about_the_study_is_taken_back(
    result: StudyResult, context: PublishContext, write: Write
) -> None:
    published = build_bundle(result, replace(context, write=write, create_patient=True))
    retracted = retraction_bundle(published)
    assert statuses(retracted).keys() == statuses(published).keys()
    assert set(statuses(retracted).values()) == {"entered-in-error"}
    assert check_bundle(retracted) == ()
    before = {e["fullUrl"]: e["request"] for e in published["entry"]}
    assert all(before[e["fullUrl"]] == e["request"] for e in retracted["entry"]), "the same resources are written"


def test_devices_and_lesions_are_left_as_they_are(bundle: Json) -> None:
    kept = [e for e in retraction_bundle(bundle)["entry"] if e["resource"]["resourceType"] not in KINDS]
    assert {e["resource"]["resourceType"] for e in kept} == {"Device", "BodyStructure"}
    assert all(e in bundle["entry"] for e in kept)


def test_building_a_retraction_leaves_the_original_alone(bundle: Json) -> None:
    before = statuses(bundle)
    retraction_bundle(bundle)
    assert statuses(bundle) == before


def test_a_revision_takes_back_the_lesion_and_horizon_it_no_longer_has(
    result: StudyResult, context: PublishContext, bundle: Json
) -> None:
    assert result.forecast is not None
    fewer = replace(
        result,
        revision=2,
        lesions=result.lesions[:1],
        forecast=replace(result.forecast, points=result.forecast.points[:1]),
    )
    current = build_bundle(fewer, context)
    revised = revision_bundle(bundle, current)
    gone = {url for url, status in statuses(revised).items() if status == "entered-in-error"}
    # The second lesion's group, four volumes, change and response, and the forecast at 180 days.
    assert len(gone) == 8
    assert gone == statuses(bundle).keys() - statuses(current).keys()
    assert statuses(revised).items() >= statuses(current).items()


def test_a_new_model_version_takes_its_old_device_along(
    result: StudyResult, context: PublishContext, bundle: Json
) -> None:
    fewer = replace(
        result,
        revision=2,
        lesions=result.lesions[:1],
        segmentation=replace(result.segmentation, version="1.3.0"),
    )
    revised = revision_bundle(bundle, build_bundle(fewer, context))
    models = {e["resource"]["version"][0]["value"] for e in revised["entry"] if "version" in e["resource"]}
    assert {"1.2.0", "1.3.0"} <= models, "what is taken back still names the device that made it"


def test_a_revision_that_changes_nothing_takes_nothing_back(bundle: Json) -> None:
    assert revision_bundle(bundle, bundle) == bundle

"""A follow-up study with two lesions (one of them gone), changes, responses and a forecast at two horizons."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from longitudinal.types import (
    AlgorithmIdentity,
    Change,
    Compartment,
    Diameter,
    Forecast,
    ForecastPoint,
    LesionMeasurement,
    LesionResult,
    Reference,
    Region,
    Response,
    StudyResult,
    TimePointContext,
)
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.context import PublishContext

STUDY_UID = "1.2.826.0.1.3680043.8.498.20260401"
BASELINE_STUDY_UID = "1.2.826.0.1.3680043.8.498.20260101"


@pytest.fixture
def result() -> StudyResult:
    segmentation = AlgorithmIdentity("timepoint-segmentation", "1.2.0", "ab" * 32, ("device=cpu",))
    forecaster = AlgorithmIdentity("timepoint-lstm", "2.0.1", "cd" * 32)
    longest = Diameter((0.0, 0.0, 0.0), (30.0, 0.0, 0.0), 30.0)
    perpendicular = Diameter((0.0, 0.0, 0.0), (0.0, 20.5, 0.0), 20.5)
    measurement = LesionMeasurement(
        index=1,
        volumes_ml={Region.WHOLE: 41.25, Region.CORE: 12.5, Region.ENHANCING: 8.125, Region.OEDEMA: 28.75},
        volume_sd_ml={Region.WHOLE: 2.1, Region.CORE: 0.8, Region.ENHANCING: 0.6, Region.OEDEMA: 1.9},
        compartments_ml={
            Compartment.NECROTIC: 4.375,
            Compartment.OEDEMA: 28.75,
            Compartment.ENHANCING: 8.125,
            Compartment.CAVITY: 0.0,
        },
        centroid=(10.0, -20.0, 30.0),
        longest=longest,
        perpendicular=perpendicular,
        diameter_sop_instance_uid="1.2.3.4",
        max_3d_diameter_mm=33.0,
        surface_area_mm2=4200.0,
        sphericity=0.7,
    )
    baseline, previous = dt.date(2026, 1, 1), dt.date(2026, 2, 15)
    changes = (
        Change(Reference.BASELINE, baseline, 90, 10.0, 2.5, 0.25, True),
        Change(Reference.PREVIOUS, previous, 45, 12.0, 0.5, 1 / 24, False),
    )
    gone = (Change(Reference.BASELINE, baseline, 90, 1.5, -1.5, -1.0, True),)
    lesions = (
        LesionResult("2.25.1001", "Lesion 1", measurement, changes, Response.STABLE),
        LesionResult("2.25.1002", "Lesion 2", None, gone, Response.COMPLETE),
    )
    points = (ForecastPoint(90, 14.0, 11.0, 19.0, 0.9), ForecastPoint(180, 17.0, 12.0, 27.0, 0.9))
    forecast = Forecast("2.25.2001", Region.CORE, 12.5, points, forecaster, "conformal-2026-01")
    return StudyResult(
        study_instance_uid=STUDY_UID,
        revision=1,
        timepoint=TimePointContext(3, dt.date(2026, 4, 1), 90, is_baseline=False, is_nadir=False),
        lesions=lesions,
        response=Response.STABLE,
        target=Region.CORE,
        forecast=forecast,
        segmentation=segmentation,
        warnings=("T2 was missing; FLAIR stands in for it.",),
    )


@pytest.fixture
def context() -> PublishContext:
    zone = dt.timezone(dt.timedelta(hours=2))
    return PublishContext(
        patient_identifier="MRN 00417",
        patient_identifier_system="urn:oid:1.2.276.0.76.4.999",
        study_instance_uid=STUDY_UID,
        study_datetime=dt.datetime(2026, 4, 1, 10, 15, tzinfo=zone),
        issued=dt.datetime(2026, 4, 1, 11, 30, tzinfo=zone),
        software_version="0.1.0",
        accession_number="ACC-5521",
        accession_system="urn:oid:1.2.276.0.76.4.998",
        seg_sop_instance_uid="2.25.31",
        sr_sop_instance_uid="2.25.32",
        forecast_sr_sop_instance_uid="2.25.33",
        reference_studies={Reference.BASELINE: BASELINE_STUDY_UID},
    )


@pytest.fixture
def bundle(result: StudyResult, context: PublishContext) -> dict[str, Any]:
    return build_bundle(result, context)


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """One plain HTTP client for looking at what a server keeps; each new one reads all certificates again."""
    with httpx2.Client() as client:
        yield client

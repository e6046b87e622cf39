"""A study result as one FHIR transaction Bundle (R4 or R5) that may be posted any number of times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from longitudinal.types import StudyResult
from timepoint_fhir import codes
from timepoint_fhir.body_structure import lesion_structure
from timepoint_fhir.checks import check_bundle
from timepoint_fhir.context import PublishContext, Version, Write
from timepoint_fhir.datatypes import Json, Terminology
from timepoint_fhir.device import algorithm_device, gateway_device
from timepoint_fhir.errors import BundleInvalid
from timepoint_fhir.forecasts import forecast_observations
from timepoint_fhir.observations import lesion_observations
from timepoint_fhir.provenance import provenance
from timepoint_fhir.publication import Publication, Resource
from timepoint_fhir.r5 import in_r5
from timepoint_fhir.report import diagnostic_report
from timepoint_fhir.response import change_observations, lesion_response, patient_response


def build_bundle(result: StudyResult, context: PublishContext) -> dict[str, Any]:
    """The transaction Bundle (JSON of R4 4.0.1, or of R5 5.0.0 where the context says so) that publishes `result`.

    Every resource is written by an id or an identifier derived from what it describes, so posting the Bundle again, or
    a later revision of the study, changes the resources that are there and adds none. The order of the entries is
    fixed; the same result and context give the same Bundle.

    Raises ValueError when the context is of another study than the result, BundleInvalid when a resource breaks a rule
    of FHIR or of ours (nothing that this returns does).
    """
    if context.study_instance_uid != result.study_instance_uid:
        raise ValueError("the publish context belongs to another study than the result")
    publication = Publication(result, context, Terminology(context.code_system))
    resources = _resources(publication)
    if context.version is Version.R5:
        resources = in_r5(publication, resources)
    return to_bundle(resources, context.write, context.version)


def _resources(publication: Publication) -> list[Resource]:
    result = publication.result
    gateway = gateway_device(publication)
    segmenter = algorithm_device(publication, result.segmentation, codes.DEVICE_SEGMENTATION, gateway)
    structures = [lesion_structure(publication, lesion) for lesion in result.lesions]
    measured = [
        lesion_observations(publication, lesion, structure, segmenter)
        for lesion, structure in zip(result.lesions, structures, strict=True)
    ]
    changes = [change_observations(publication, lesion, segmenter) for lesion in measured]
    responses = [
        lesion_response(publication, lesion, of_lesion, segmenter)
        for lesion, of_lesion in zip(measured, changes, strict=True)
    ]
    overall = patient_response(publication, responses, segmenter)
    observed = [resource for lesion in measured for resource in lesion.all]
    concluded = [resource for of_lesion in changes for resource in of_lesion] + [*responses, overall]

    forecaster: list[Resource] = []
    forecasts: list[Resource] = []
    if result.forecast is not None:
        forecaster = [algorithm_device(publication, result.forecast.model, codes.DEVICE_FORECASTER, gateway)]
        forecasts = forecast_observations(publication, result.forecast, measured, forecaster[0])

    groups = [lesion.group for lesion in measured]
    report = diagnostic_report(publication, [*groups, *concluded, *forecasts])
    origins = [provenance(publication, "measurements", [*observed, *concluded, report], [segmenter, gateway])]
    if forecasts:
        origins.append(provenance(publication, "forecast", forecasts, [*forecaster, gateway]))
    devices = [gateway, segmenter, *forecaster]
    return [*_patient(publication), *devices, *structures, *observed, *concluded, *forecasts, report, *origins]


def _patient(publication: Publication) -> list[Resource]:
    if not publication.context.create_patient:
        return []
    body: Json = {"resourceType": "Patient", "identifier": [publication.patient_identifier]}
    return [Resource(publication.patient_uuid, body, publication.patient_search)]


def to_bundle(resources: Iterable[Resource], write: Write, version: Version = Version.R4) -> dict[str, Any]:
    """The resources as a validated transaction Bundle. Raises BundleInvalid."""
    entries = [_entry(resource, write) for resource in resources]
    raw = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    try:
        bundle: dict[str, Any] = _model(version).model_validate(raw).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        found = tuple(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise BundleInvalid(found) from error
    if findings := check_bundle(bundle):
        raise BundleInvalid(findings)
    return bundle


def _model(version: Version) -> Any:
    """The model of a Bundle in a version; each loads hundreds of classes, so only what is used."""
    if version is Version.R5:
        from fhir.resources.bundle import Bundle as BundleR5

        return BundleR5
    from fhir.resources.R4B.bundle import Bundle as BundleR4

    return BundleR4


def _entry(resource: Resource, write: Write) -> Json:
    kind = resource.type
    if kind == "Patient":
        # A patient that exists is never changed, whatever the way of writing.
        request = {"method": "POST", "url": kind, "ifNoneExist": resource.search}
        return {"fullUrl": resource.full_url, "resource": resource.body, "request": request}
    if write is Write.BY_ID:
        body = {"resourceType": kind, "id": str(resource.uuid), **resource.body}
        request = {"method": "PUT", "url": f"{kind}/{resource.uuid}"}
        return {"fullUrl": resource.full_url, "resource": body, "request": request}
    request = {"method": "PUT", "url": f"{kind}?{resource.search}"}
    return {"fullUrl": resource.full_url, "resource": resource.body, "request": request}

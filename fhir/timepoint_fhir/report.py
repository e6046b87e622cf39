"""FHIR R4 DiagnosticReport: the study's results in one place, preliminary until a physician reads it."""

from __future__ import annotations

from longitudinal.types import Response, StudyResult
from timepoint_fhir import codes
from timepoint_fhir.datatypes import Json, logical
from timepoint_fhir.identifiers import dicom_uid, token, uid_identifier
from timepoint_fhir.publication import Publication, Resource
from timepoint_fhir.response import UNVERIFIED

SUPPORTING_INFO_EXTENSION = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"
SEGMENTATION = "DICOM Segmentation"


def diagnostic_report(publication: Publication, results: list[Resource]) -> Resource:
    """The report over `results`; the DICOM objects (SEG, SR) are its supporting information."""
    key = publication.observation_uuid("report")
    identifier = uid_identifier(dicom_uid(key))
    body: Json = {"resourceType": "DiagnosticReport", "identifier": [identifier]}
    if objects := _dicom_objects(publication):
        body["extension"] = [{"url": SUPPORTING_INFO_EXTENSION, "valueReference": item} for item in objects]
    body |= publication.result_element("preliminary")
    body |= {
        "category": [publication.terms.concept(codes.RADIOLOGY)],
        "code": publication.terms.concept(codes.ONCOLOGY_REPORT),
        "result": [resource.reference() for resource in results],
        "imagingStudy": [publication.study()],
        "conclusion": conclusion(publication.result),
    }
    return Resource(key, body, f"identifier={token(identifier['system'], identifier['value'])}")


def _dicom_objects(publication: Publication) -> list[Json]:
    """Logical references to the DICOM objects of this result, by SOP Instance UID."""
    context = publication.context
    named = (
        (context.seg_sop_instance_uid, SEGMENTATION),
        (context.sr_sop_instance_uid, "DICOM Comprehensive 3D SR (TID 1500), measurements"),
        (context.forecast_sr_sop_instance_uid, "DICOM Comprehensive 3D SR (TID 1500), forecast"),
    )
    return [logical(uid_identifier(uid), display=display) for uid, display in named if uid]


def conclusion(result: StudyResult) -> str:
    """The result in sentences, with every warning a reader must know."""
    total = sum(lesion.volume_ml(result.target) for lesion in result.lesions)
    region = codes.REGIONS[result.target].display.lower()
    sentences = [f"{len(result.lesions)} lesion(s), {region} {total:.1f} mL in all."]
    if result.response is Response.BASELINE:
        sentences.append("Baseline study.")
    else:
        sentences.append(f"Response category: {codes.RESPONSE_TEXTS[result.response].lower()}. {UNVERIFIED}")
    if result.preliminary:
        sentences.append("Preliminary: the study may be incomplete.")
    return " ".join([*sentences, *result.warnings])

"""FHIR R4 BodyStructure: a lesion under its tracking UID, the same at every time point."""

from __future__ import annotations

from longitudinal.types import LesionResult
from timepoint_fhir import codes
from timepoint_fhir.datatypes import Json
from timepoint_fhir.identifiers import derived_uuid, token, uid_identifier
from timepoint_fhir.publication import Publication, Resource

BODY_SITE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/bodySite"


def lesion_structure(publication: Publication, lesion: LesionResult) -> Resource:
    """The lesion: Tracking UID (112040) and Tracking Identifier (112039, PS3.16) are its identifiers."""
    terms = publication.terms
    uid = uid_identifier(lesion.tracking_uid)
    body: Json = {
        "resourceType": "BodyStructure",
        "identifier": [
            {"type": terms.concept(codes.TRACKING_UID), **uid},
            {"type": terms.concept(codes.TRACKING_IDENTIFIER), "value": lesion.tracking_id},
        ],
        "active": True,
        "morphology": terms.concept(codes.NEOPLASM),
        "location": terms.concept(codes.BRAIN),
        "patient": publication.subject(),
    }
    key = derived_uuid("lesion", lesion.tracking_uid)
    return Resource(key, body, f"identifier={token(uid['system'], uid['value'])}")


def body_site(publication: Publication, structure: Resource) -> Json:
    """Observation.bodySite: the brain, with the lesion as R4's bodySite extension."""
    extension = {"url": BODY_SITE_EXTENSION, "valueReference": structure.reference()}
    return {"extension": [extension], **publication.terms.concept(codes.BRAIN)}

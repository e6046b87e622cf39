"""The resources of a publication in FHIR R5 (5.0.0), with what only R5 has: ImagingSelection and bodyStructure.

R5 is written from the R4 resources, so that both say the same; here stands only what differs
(hl7.org/fhir/R5/diff.html, and the HL7 mapping of DICOM SR to FHIR for ImagingSelection).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

from timepoint_fhir import codes
from timepoint_fhir.body_structure import BODY_SITE_EXTENSION
from timepoint_fhir.datatypes import Json
from timepoint_fhir.identifiers import derived_uuid, dicom_uid, token, uid_identifier
from timepoint_fhir.publication import Publication, Resource

DICOM_UID_PREFIX = "urn:oid:"


def in_r5(publication: Publication, resources: Iterable[Resource]) -> list[Resource]:
    """The resources in R5, and an ImagingSelection for each lesion with segments, which its group is derived from."""
    converted = [Resource(r.uuid, _converted(r.body), r.search) for r in resources]
    selections = _selections(publication, [r for r in converted if r.type == "BodyStructure"])
    for resource in converted:
        structure = resource.body.get("bodyStructure", {}).get("reference")
        if resource.type == "Observation" and "hasMember" in resource.body and structure in selections:
            resource.body["derivedFrom"].append(selections[structure].reference())
    last = max((i for i, r in enumerate(converted) if r.type == "BodyStructure"), default=-1) + 1
    return [*converted[:last], *selections.values(), *converted[last:]]


def _converted(body: Json) -> Json:
    changed = copy.deepcopy(body)
    _BY_TYPE.get(body["resourceType"], _unchanged)(changed)
    return changed


def _unchanged(body: Json) -> None:
    del body


def _observation(body: Json) -> None:
    """The lesion has an element of its own, which excludes bodySite (obs-9)."""
    site = body.pop("bodySite", None)
    for extension in (site or {}).get("extension", []):
        if extension["url"] == BODY_SITE_EXTENSION:
            body["bodyStructure"] = extension["valueReference"]


def _body_structure(body: Json) -> None:
    body["includedStructure"] = [{"structure": body.pop("location")}]


def _device(body: Json) -> None:
    body["name"] = [{"value": name["name"], "type": "registered-name"} for name in body.pop("deviceName")]
    body["type"] = [body["type"]]
    properties = [
        {"type": stated["type"], "valueCodeableConcept": value}
        for stated in body.pop("property", [])
        for value in stated["valueCode"]
    ]
    if properties:
        body["property"] = properties


def _report(body: Json) -> None:
    body["study"] = body.pop("imagingStudy")


def _provenance(body: Json) -> None:
    body["authorization"] = [{"concept": reason} for reason in body.pop("reason")]
    for entity in body["entity"]:
        if entity["role"] == "derivation":  # R5 has no such role
            entity["role"] = "source"


_BY_TYPE: dict[str, Callable[[Json], None]] = {
    "Observation": _observation,
    "BodyStructure": _body_structure,
    "Device": _device,
    "DiagnosticReport": _report,
    "Provenance": _provenance,
}


def _selections(publication: Publication, structures: Iterable[Resource]) -> dict[str, Resource]:
    """The segments of each lesion in the delivered SEG (121191, DCM), by the address of its BodyStructure."""
    seg = publication.context.seg_sop_instance_uid
    found = {}
    for structure in structures:
        tracking_uid = structure.body["identifier"][0]["value"].removeprefix(DICOM_UID_PREFIX)
        numbers = publication.context.segments.get(tracking_uid, ())
        if seg and numbers:
            found[structure.full_url] = _selection(publication, tracking_uid, seg, numbers)
    return found


def _selection(publication: Publication, tracking_uid: str, seg: str, numbers: Iterable[int]) -> Resource:
    key = derived_uuid("selection", publication.context.key, tracking_uid)
    own = uid_identifier(dicom_uid(key))
    sop_class = {"system": "urn:ietf:rfc:3986", "code": f"{DICOM_UID_PREFIX}{publication.context.seg_class}"}
    body: Json = {
        "resourceType": "ImagingSelection",
        "meta": publication.label(),
        "identifier": [own],
        "status": "available",
        "subject": publication.subject(),
        "code": publication.terms.concept(codes.REFERENCED_SEGMENT),
        "studyUid": publication.context.study_instance_uid,
        "derivedFrom": [publication.study()],
        "instance": [
            {
                "uid": seg,
                "sopClass": sop_class,
                "subset": [str(number) for number in numbers],
            }
        ],
    }
    return Resource(key, body, f"identifier={token(own['system'], own['value'])}")

"""FHIR R4 Provenance: which algorithm made which resources from what."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from timepoint_fhir import codes
from timepoint_fhir.datatypes import Json, logical
from timepoint_fhir.identifiers import DICOM_UID, derived_uuid, dicom_uid, token, uid_identifier
from timepoint_fhir.publication import Publication, Resource
from timepoint_fhir.report import SEGMENTATION


def provenance(publication: Publication, name: str, targets: Sequence[Resource], devices: list[Resource]) -> Resource:
    """Provenance of `targets` for this revision; `devices` are the algorithm and the gateway it ran in.

    R4 gives Provenance no identifier, so a tag carries its UID and makes it findable (`_tag`).
    """
    result, terms = publication.result, publication.terms
    key = _key(publication, name)
    tag = {"system": DICOM_UID, "code": f"urn:oid:{dicom_uid(key)}"}
    body: Json = {
        "resourceType": "Provenance",
        "meta": {**publication.label(), "tag": [tag]},
        "target": [target.reference() for target in targets],
        "recorded": publication.context.issued.isoformat(timespec="seconds"),
        "reason": [terms.concept(codes.AI_ASSERTED)],
        "activity": terms.concept(codes.UPDATE if result.revision > 1 else codes.CREATE),
        "agent": [{"type": terms.concept(codes.ASSEMBLER), "who": device.reference()} for device in devices],
        "entity": [{"role": "source", "what": publication.study()}],
    }
    if mask := publication.context.seg_sop_instance_uid:
        body["entity"].append({"role": "derivation", "what": logical(uid_identifier(mask), display=SEGMENTATION)})
    return Resource(key, body, f"_tag={token(tag['system'], tag['code'])}")


def _key(publication: Publication, name: str) -> uuid.UUID:
    return derived_uuid("provenance", publication.context.key, publication.result.revision, name)

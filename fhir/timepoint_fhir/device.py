"""FHIR R4 Device: the algorithms that computed a value and the gateway they ran in (TID 4019)."""

from __future__ import annotations

import uuid

from longitudinal.types import AlgorithmIdentity
from timepoint_fhir import codes
from timepoint_fhir.codes import Code
from timepoint_fhir.datatypes import Json
from timepoint_fhir.identifiers import derived_uuid, dicom_uid, token, uid_identifier
from timepoint_fhir.publication import Publication, Resource, device_uuid

MANUFACTURER = "Timepoint"


def gateway_device(publication: Publication) -> Resource:
    """The gateway software at its version."""
    version = publication.context.software_version
    return _device(
        derived_uuid("gateway", version),
        {
            "resourceType": "Device",
            "status": "active",
            "manufacturer": MANUFACTURER,
            "deviceName": [{"name": "Timepoint", "type": "model-name"}],
            "type": publication.terms.concept(codes.DEVICE_SOFTWARE),
            "version": [{"value": version}],
        },
    )


def algorithm_device(publication: Publication, identity: AlgorithmIdentity, kind: Code, parent: Resource) -> Resource:
    """An algorithm: name, version, parameters and, as a second identifier, the SHA-256 of its weights."""
    body: Json = {
        "resourceType": "Device",
        "status": "active",
        "manufacturer": identity.manufacturer,
        "deviceName": [{"name": identity.name, "type": "model-name"}],
        "type": publication.terms.concept(kind),
        "version": [{"value": identity.version}],
        "parent": parent.reference(),
    }
    if identity.parameters:
        parameter = publication.terms.concept(codes.DEVICE_PARAMETER)
        body["property"] = [{"type": parameter, "valueCode": [{"text": text}]} for text in identity.parameters]
    weights = {"type": {"text": "SHA-256 of the model weights"}, "value": identity.weights_sha256}
    key = derived_uuid("algorithm", str(device_uuid(identity)), kind.value, str(parent.uuid))
    return _device(key, body, [weights] if identity.weights_sha256 else [])


def _device(key: uuid.UUID, body: Json, more_identifiers: list[Json] | None = None) -> Resource:
    # Not urn:uuid: a server replaces the full URLs of a Bundle wherever they stand, also inside an identifier.
    own = uid_identifier(dicom_uid(key))
    identifiers = [own, *(more_identifiers or [])]
    return Resource(key, body | {"identifier": identifiers}, f"identifier={token(own['system'], own['value'])}")

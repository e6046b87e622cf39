"""One publication: the result, its context, and what every resource of it has in common."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from longitudinal.types import AlgorithmIdentity, Region, StudyResult
from timepoint_fhir import codes
from timepoint_fhir.context import PublishContext
from timepoint_fhir.datatypes import Json, Terminology, date_time, literal, logical
from timepoint_fhir.identifiers import derived_uuid, dicom_uid, token, uid_identifier


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the Bundle: its FHIR body, without `id` where the server is to choose it, and how it is known."""

    uuid: uuid.UUID
    body: Json
    search: str
    """The search that finds this resource and no other, as in `identifier=system|value`."""

    @property
    def type(self) -> str:
        return str(self.body["resourceType"])

    @property
    def full_url(self) -> str:
        return f"urn:uuid:{self.uuid}"

    def reference(self, display: str | None = None) -> Json:
        """A reference from within the same Bundle; the server puts the resource's own address in its place."""
        return literal(self.full_url, display)


@dataclass(frozen=True, slots=True)
class Publication:
    """A result on its way out, with the words, references and status that its resources share."""

    result: StudyResult
    context: PublishContext
    terms: Terminology

    @property
    def status(self) -> str:
        """Status of a measured value: PreliminaryFlag of the SR, and `amended` once a later revision changes it."""
        if self.result.preliminary:
            return "preliminary"
        return "amended" if self.result.revision > 1 else "final"

    @property
    def patient_uuid(self) -> uuid.UUID:
        return derived_uuid("patient", self.context.patient_identifier_system, self.context.patient_identifier)

    @property
    def patient_identifier(self) -> Json:
        return {"system": self.context.patient_identifier_system, "value": self.context.patient_identifier}

    @property
    def patient_search(self) -> str:
        return f"identifier={token(self.context.patient_identifier_system, self.context.patient_identifier)}"

    def subject(self) -> Json:
        if self.context.create_patient:
            return literal(f"urn:uuid:{self.patient_uuid}")
        if self.context.match_patient:
            return literal(f"Patient?{self.patient_search}")
        return logical(self.patient_identifier, "Patient")

    def study(self) -> Json:
        identifier = uid_identifier(self.context.study_instance_uid)
        if self.context.match_study:
            return literal(f"ImagingStudy?identifier={token(identifier['system'], identifier['value'])}")
        typed = {"type": self.terms.concept(codes.STUDY_INSTANCE_UID), **identifier}
        return logical(typed, "ImagingStudy", "The MR study that was measured")

    def order(self) -> list[Json]:
        """The imaging order by accession number, as a logical reference; empty where there is none."""
        if not self.context.accession_number:
            return []
        identifier: Json = {"type": self.terms.concept(codes.ACCESSION), "value": self.context.accession_number}
        if self.context.accession_system:
            identifier["system"] = self.context.accession_system
        return [logical(identifier, "ServiceRequest")]

    def label(self) -> Json:
        """The security label of what artificial intelligence asserted (AI transparency on FHIR)."""
        return {"security": [self.terms.coding(codes.AI_ASSERTED)]}

    def result_element(self, status: str) -> Json:
        """Elements that every Observation and DiagnosticReport of this study shares."""
        body: Json = {"meta": self.label()}
        if order := self.order():
            body["basedOn"] = order
        body |= {"status": status, "subject": self.subject()}
        body["effectiveDateTime"] = date_time(self.context.study_datetime)
        body["issued"] = self.context.issued.isoformat(timespec="seconds")
        return body

    def observation_uuid(self, kind: str, *parts: str | int) -> uuid.UUID:
        return derived_uuid("observation", self.context.key, kind, *parts)

    def observation(self, key: uuid.UUID, device: Resource, status: str, **body: object) -> Resource:
        """An Observation under its observation UID; elements of `body` that are None or empty are left out."""
        identifier = uid_identifier(dicom_uid(key))
        content: Json = {"resourceType": "Observation", "identifier": [identifier], "partOf": [self.study()]}
        content |= self.result_element(status)
        content["device"] = device.reference()
        content |= {name: value for name, value in body.items() if value not in (None, [], {})}
        return Resource(key, content, f"identifier={token(identifier['system'], identifier['value'])}")

    def volume_uuid(self, tracking_uid: str, region: Region) -> uuid.UUID:
        return volume_uuid(self.context.key, tracking_uid, region)


def volume_uuid(publication_key: str, tracking_uid: str, region: Region) -> uuid.UUID:
    """The UUID of a region's volume of one lesion in one study, computable from another study's publication."""
    return derived_uuid("observation", publication_key, "volume", tracking_uid, region.value)


def device_uuid(identity: AlgorithmIdentity) -> uuid.UUID:
    parameters = "\x1e".join(identity.parameters)
    return derived_uuid("device", identity.name, identity.version, identity.weights_sha256, parameters)

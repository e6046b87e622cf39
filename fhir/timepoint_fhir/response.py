"""FHIR R4 Observations of what is concluded from measurements: change of volume and response category."""

from __future__ import annotations

from longitudinal.types import Change, Response
from timepoint_fhir import codes
from timepoint_fhir.body_structure import body_site
from timepoint_fhir.codes import Code
from timepoint_fhir.datatypes import Json, absent, days, logical, millilitres, percent
from timepoint_fhir.identifiers import dicom_uid, uid_identifier
from timepoint_fhir.observations import LesionObservations
from timepoint_fhir.publication import Publication, Resource, volume_uuid

UNVERIFIED = (
    "Suggested by software from imaging alone; not verified. Response assessment also needs the steroid dose and the "
    "clinical status."
)


def change_observations(publication: Publication, measured: LesionObservations, device: Resource) -> list[Resource]:
    """One Observation for each reference time point of a lesion's target region.

    The value is the absolute change; `derivedFrom` names the volume now and, where the reference study is known, the
    volume then, as a logical reference because that study may never have been published here.
    """
    return [_change(publication, measured, change, device) for change in measured.lesion.changes]


def _change(publication: Publication, measured: LesionObservations, change: Change, device: Resource) -> Resource:
    terms, region = publication.terms, publication.result.target
    sources = [measured.volumes[region].reference()]
    if study := publication.context.reference_studies.get(change.reference):
        then = volume_uuid(study, measured.lesion.tracking_uid, region)
        display = f"{codes.REFERENCES[change.reference].display} volume of {change.reference_date.isoformat()}"
        sources.append(logical(uid_identifier(dicom_uid(then)), "Observation", display))
    reference_name = codes.REFERENCES[change.reference].display.lower()
    return publication.observation(
        publication.observation_uuid("change", measured.lesion.tracking_uid, region.value, change.reference.value),
        device,
        publication.status,
        category=[terms.concept(codes.IMAGING)],
        code=terms.concept(codes.CHANGE, text=f"Change of volume since {reference_name}"),
        valueQuantity=millilitres(change.absolute_ml),
        bodySite=body_site(publication, measured.structure),
        derivedFrom=sources,
        component=_change_components(publication, change),
    )


def _change_components(publication: Publication, change: Change) -> list[Json]:
    terms = publication.terms
    if change.relative is None:
        no_ratio = absent(codes.NOT_APPLICABLE, "The reference volume is zero.")
        relative = terms.component(codes.RELATIVE_CHANGE, dataAbsentReason=no_ratio)
    else:
        relative = terms.component(codes.RELATIVE_CHANGE, valueQuantity=percent(change.relative))
    reference = terms.concept(codes.REFERENCES[change.reference])
    region = terms.concept(codes.REGIONS[publication.result.target])
    return [
        relative,
        terms.component(codes.REGION, valueCodeableConcept=region),
        terms.component(codes.CHANGE_REFERENCE, valueCodeableConcept=reference),
        terms.component(codes.REFERENCE_DATE, valueDateTime=change.reference_date.isoformat()),
        terms.component(codes.REFERENCE_VOLUME, valueQuantity=millilitres(change.reference_ml)),
        terms.component(codes.CHANGE_INTERVAL, valueQuantity=days(change.interval_days)),
        terms.component(codes.CHANGE_RELIABLE, valueBoolean=change.reliable),
    ]


def lesion_response(
    publication: Publication, measured: LesionObservations, changes: list[Resource], device: Resource
) -> Resource:
    """The response category of one lesion (Current Response, CID 6143 and our code), always preliminary."""
    response = measured.lesion.response
    standard = codes.LESION_RESPONSES.get(response)
    sources = changes or [measured.volumes[publication.result.target]]
    return _response(
        publication,
        measured.lesion.tracking_uid,
        response,
        device,
        [standard] if standard else [],
        derivedFrom=[source.reference() for source in sources],
        bodySite=body_site(publication, measured.structure),
    )


def patient_response(publication: Publication, lesions: list[Resource], device: Resource) -> Resource:
    """The patient's category at this time point from all lesions, always preliminary."""
    sources = [lesion.reference() for lesion in lesions] or [publication.study()]
    return _response(publication, "patient", publication.result.response, device, [], derivedFrom=sources)


def _response(
    publication: Publication, of: str, response: Response, device: Resource, standard: list[Code], **body: object
) -> Resource:
    terms = publication.terms
    if response is Response.BASELINE:
        value: Json = {"dataAbsentReason": absent(codes.NOT_APPLICABLE, "Baseline: there is nothing to compare with.")}
    else:
        value = {"valueCodeableConcept": terms.concept(codes.RESPONSES[response], *standard)}
    return publication.observation(
        publication.observation_uuid("response", of),
        device,
        "preliminary",
        category=[terms.concept(codes.IMAGING)],
        code=terms.concept(codes.CURRENT_RESPONSE),
        note=[{"text": UNVERIFIED}],
        method=terms.concept(codes.RESPONSE_METHOD),
        **value,
        **body,
    )

"""FHIR R4 Observations of what is concluded from measurements: change of volume and response category."""

from __future__ import annotations

from longitudinal.types import Change
from timepoint_fhir import codes
from timepoint_fhir.body_structure import body_site
from timepoint_fhir.datatypes import Json, absent, days, logical, millilitres, percent
from timepoint_fhir.identifiers import dicom_uid, uid_identifier
from timepoint_fhir.observations import LesionObservations
from timepoint_fhir.publication import Publication, Resource, volume_uuid

UNVERIFIED = (
    "Suggested by software from imaging alone; not verified. Response assessment also needs the steroid dose and the "
    "clinical status."
)

METHOD = "Volumetric, in the manner of RANO 2.0, from imaging alone"


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
        display = f"Volume at {change.reference.value}, {change.reference_date.isoformat()}"
        sources.append(logical(uid_identifier(dicom_uid(then)), "Observation", display))
    return publication.observation(
        publication.observation_uuid("change", measured.lesion.tracking_uid, region.value, change.reference.value),
        device,
        publication.status,
        category=[terms.concept(codes.IMAGING)],
        code=terms.concept(codes.ABSOLUTE_CHANGES[change.reference]),
        valueQuantity=millilitres(change.absolute_ml),
        bodySite=body_site(publication, measured.structure),
        derivedFrom=sources,
        component=_change_components(publication, change),
    )


def _change_components(publication: Publication, change: Change) -> list[Json]:
    terms = publication.terms
    ratio = codes.RELATIVE_CHANGES[change.reference]
    if change.relative is None:
        no_ratio = absent(codes.NOT_APPLICABLE, "The reference volume is zero.")
        relative = terms.component(ratio, dataAbsentReason=no_ratio)
    else:
        relative = terms.component(ratio, valueQuantity=percent(change.relative))
    region = terms.concept(codes.REGIONS[publication.result.target])
    significance = codes.SIGNIFICANT if change.reliable else codes.NOT_SIGNIFICANT
    return [
        relative,
        terms.component(codes.REGION, valueCodeableConcept=region),
        terms.component(codes.REFERENCE_DATE, valueDateTime=change.reference_date.isoformat()),
        terms.component(codes.REFERENCE_VOLUME, valueQuantity=millilitres(change.reference_ml)),
        terms.component(codes.CHANGE_INTERVAL, valueQuantity=days(change.interval_days)),
        terms.component(codes.SIGNIFICANCE, valueCodeableConcept=terms.concept(significance)),
    ]


def lesion_response(
    publication: Publication, measured: LesionObservations, changes: list[Resource], device: Resource
) -> Resource:
    """The volumetric response of one lesion (TP030), always preliminary."""
    response = measured.lesion.response
    sources = changes or [measured.volumes[publication.result.target]]
    return _response(
        publication,
        measured.lesion.tracking_uid,
        device,
        code=publication.terms.concept(codes.LESION_RESPONSE),
        valueCodeableConcept=publication.terms.concept(codes.LESION_RESPONSES[response]),
        derivedFrom=[source.reference() for source in sources],
        bodySite=body_site(publication, measured.structure),
    )


def patient_response(publication: Publication, lesions: list[Resource], device: Resource) -> Resource:
    """The patient's category at this time point from all lesions (Current Response, CID 6143), always preliminary."""
    response = publication.result.response
    value = publication.terms.concept(codes.PATIENT_RESPONSES[response], text=codes.RESPONSE_TEXTS[response])
    return _response(
        publication,
        "patient",
        device,
        code=publication.terms.concept(codes.CURRENT_RESPONSE),
        valueCodeableConcept=value,
        derivedFrom=[lesion.reference() for lesion in lesions] or [publication.study()],
    )


def _response(publication: Publication, of: str, device: Resource, **body: object) -> Resource:
    return publication.observation(
        publication.observation_uuid("response", of),
        device,
        "preliminary",
        category=[publication.terms.concept(codes.IMAGING)],
        note=[{"text": UNVERIFIED}],
        method=publication.terms.concept(codes.RANO, text=METHOD),
        **body,
    )

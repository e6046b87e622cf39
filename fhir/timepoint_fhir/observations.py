"""FHIR R4 Observations of what was measured: a group per lesion with its volumes and diameters (TID 1411).

Shaped after the HL7 mapping of DICOM SR to FHIR: a group of category Measurement Group whose `hasMember` are the
measurements, each with method, body site, algorithm and the study that it was measured in.
"""

from __future__ import annotations

from dataclasses import dataclass

from longitudinal.types import LesionResult, Region
from timepoint_fhir import codes
from timepoint_fhir.body_structure import body_site
from timepoint_fhir.codes import Code
from timepoint_fhir.datatypes import Json, days, millilitres, millimetres
from timepoint_fhir.publication import Publication, Resource

NOT_FOUND = "The lesion was looked for and not found at this time point."
NORMAL_95 = 1.96
"""Half-width of the central 95 % interval of a normal distribution in standard deviations."""


@dataclass(frozen=True, slots=True)
class LesionObservations:
    """The Observations of one lesion: the group and its members, the volumes also by region."""

    lesion: LesionResult
    structure: Resource
    group: Resource
    volumes: dict[Region, Resource]
    diameters: tuple[Resource, ...]

    @property
    def all(self) -> tuple[Resource, ...]:
        return (*self.volumes.values(), *self.diameters, self.group)


def lesion_observations(
    publication: Publication, lesion: LesionResult, structure: Resource, device: Resource
) -> LesionObservations:
    """The measured Observations of one lesion; a lesion that was not found has volumes of 0 mL and no diameters.

    The uncertainty of a volume is, as in the SR, the half-width of the 95 % interval of repeat measurement.
    """
    volumes = {region: _volume(publication, lesion, region, structure, device) for region in Region}
    diameters = tuple(_diameters(publication, lesion, structure, device))
    group = _group(publication, lesion, structure, device, (*volumes.values(), *diameters))
    return LesionObservations(lesion, structure, group, volumes, diameters)


def _volume(
    publication: Publication, lesion: LesionResult, region: Region, structure: Resource, device: Resource
) -> Resource:
    terms = publication.terms
    found = lesion.measurement
    components = []
    if found is not None:
        half_width = millilitres(NORMAL_95 * found.volume_sd_ml[region])
        components.append(terms.component(codes.UNCERTAINTY, valueQuantity=half_width))
    return publication.observation(
        publication.volume_uuid(lesion.tracking_uid, region),
        device,
        publication.status,
        category=_categories(publication),
        code=terms.concept(codes.REGIONS[region], codes.VOLUME, text=codes.REGIONS[region].display),
        valueQuantity=millilitres(lesion.volume_ml(region)),
        interpretation=None if found else [terms.concept(codes.NOT_DETECTED)],
        note=None if found else [{"text": NOT_FOUND}],
        method=terms.concept(codes.VOXEL_SUM),
        bodySite=body_site(publication, structure),
        derivedFrom=[publication.study()],
        component=components,
    )


def _diameters(publication: Publication, lesion: LesionResult, structure: Resource, device: Resource) -> list[Resource]:
    found = lesion.measurement
    if found is None:
        return []
    lengths: list[tuple[str, Code, float | None, Code | None]] = [
        ("longest", codes.LONG_AXIS, found.longest.length_mm if found.longest else None, codes.RANO),
        ("perpendicular", codes.SHORT_AXIS, found.perpendicular.length_mm if found.perpendicular else None, codes.RANO),
        ("max-3d", codes.MAX_3D_DIAMETER, found.max_3d_diameter_mm, None),
    ]
    return [
        publication.observation(
            publication.observation_uuid("diameter", lesion.tracking_uid, name),
            device,
            publication.status,
            category=_categories(publication),
            code=publication.terms.concept(code),
            valueQuantity=millimetres(length),
            method=publication.terms.concept(method) if method else None,
            bodySite=body_site(publication, structure),
            derivedFrom=[publication.study()],
        )
        for name, code, length, method in lengths
        if length is not None
    ]


def _group(
    publication: Publication,
    lesion: LesionResult,
    structure: Resource,
    device: Resource,
    members: tuple[Resource, ...],
) -> Resource:
    terms = publication.terms
    return publication.observation(
        publication.observation_uuid("group", lesion.tracking_uid),
        device,
        publication.status,
        category=_categories(publication),
        code=terms.concept(codes.MEASUREMENT_GROUP, text=f"Measurements of {lesion.tracking_id}"),
        valueCodeableConcept=terms.concept(codes.NEOPLASM),
        note=None if lesion.measurement else [{"text": NOT_FOUND}],
        bodySite=body_site(publication, structure),
        hasMember=[member.reference() for member in members],
        derivedFrom=[publication.study()],
        component=_time_point(publication, lesion),
    )


def _time_point(publication: Publication, lesion: LesionResult) -> list[Json]:
    """Longitudinal context as components (TID 1502), so that it is never read as a measurement of its own."""
    terms, point = publication.terms, publication.result.timepoint
    components = [
        terms.component(codes.TRACKING_IDENTIFIER, valueString=lesion.tracking_id),
        terms.component(codes.TRACKING_UID, valueString=lesion.tracking_uid),
        terms.component(codes.TIME_POINT_ORDER, valueInteger=point.order),
        terms.component(codes.TEMPORAL_OFFSET, valueQuantity=days(point.days_from_baseline)),
    ]
    for holds, kind in ((point.is_baseline, codes.BASELINE_TIME_POINT), (point.is_nadir, codes.NADIR_TIME_POINT)):
        if holds:
            components.append(terms.component(codes.TIME_POINT_TYPE, valueCodeableConcept=terms.concept(kind)))
    for holds, status in ((lesion.is_new, codes.NEW_LESION), (lesion.measurement is None, codes.LESION_NOT_FOUND)):
        if holds:
            components.append(terms.component(codes.LESION_STATUS, valueCodeableConcept=terms.concept(status)))
    return components


def _categories(publication: Publication) -> list[Json]:
    return [publication.terms.concept(codes.IMAGING), publication.terms.concept(codes.MEASUREMENT_GROUP)]

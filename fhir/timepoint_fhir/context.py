"""What the publisher knows about a study beyond its result: the patient, the order, the objects and the server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from longitudinal.types import Reference
from timepoint_fhir.codes import DEFAULT_CODE_SYSTEM


class Write(StrEnum):
    """How a resource is written so that posting it twice leaves one resource.

    BY_ID puts each resource under an id of ours (`PUT Observation/<uuid>`): no search, no race, but the server must
    let clients choose ids (CapabilityStatement `updateCreate`; a Medplum project allows it to privileged clients only).
    CONDITIONAL lets the server choose the id and finds the resource by its identifier
    (`PUT Observation?identifier=...`; CapabilityStatement `conditionalUpdate`).
    """

    BY_ID = "by-id"
    CONDITIONAL = "conditional"


class Version(StrEnum):
    """The FHIR version that is written."""

    R4 = "R4"
    R5 = "R5"


def publication_key(study_instance_uid: str, record: str = "") -> str:
    """The name of a study's publication: its UID, and which record of it where it was taken back before."""
    return f"{study_instance_uid}#{record}" if record else study_instance_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishContext:
    """The clinical-zone facts around one `StudyResult`.

    `study_datetime` is the acquisition time in the original study: an aware datetime, or a date where the zone of the
    scanner's clock is not known. `issued` is when this revision was made (aware); keep it with the revision, because a
    Bundle built again with another `issued` changes every resource. `reference_studies` gives the publication key
    (`publication_key`) of the baseline, nadir and previous study where it is known; a change then names the
    Observation that it is measured against.

    `record` is empty as a rule. A study that was published for the wrong patient, and was taken back, is published
    again under another `record`: what one patient's chart was told never comes back to life as another's.

    `match_patient`: the patient is a conditional reference (`Patient?identifier=...`), and a server that has no such
    patient, or several, refuses the whole Bundle. With False it is a logical reference (identifier only), which every
    server accepts and none resolves by itself; for servers that do not hold the patients. `create_patient` adds a
    Patient that carries nothing but the identifier where the server has none; it is for demonstrations. `match_study`
    does for the ImagingStudy what `match_patient` does for the patient, and is off because few servers hold one.

    `segments` gives the segment numbers of each lesion in the SEG by tracking UID, and `seg_class` the SEG's SOP class;
    only R5 has a place for them (ImagingSelection).

    Raises ValueError for an empty patient identifier or system and for an `issued` or `study_datetime` without zone.
    """

    patient_identifier: str
    patient_identifier_system: str
    study_instance_uid: str
    study_datetime: dt.datetime | dt.date
    issued: dt.datetime
    software_version: str
    accession_number: str | None = None
    accession_system: str | None = None
    seg_sop_instance_uid: str | None = None
    sr_sop_instance_uid: str | None = None
    forecast_sr_sop_instance_uid: str | None = None
    reference_studies: Mapping[Reference, str] = field(default_factory=dict)
    code_system: str = DEFAULT_CODE_SYSTEM
    match_patient: bool = True
    create_patient: bool = False
    match_study: bool = False
    write: Write = Write.BY_ID
    record: str = ""
    version: Version = Version.R4
    segments: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seg_class: str = "1.2.840.10008.5.1.4.1.1.66.4"

    @property
    def key(self) -> str:
        """What the resources of this study are derived from."""
        return publication_key(self.study_instance_uid, self.record)

    def __post_init__(self) -> None:
        if not self.patient_identifier.strip() or not self.patient_identifier_system.strip():
            raise ValueError("a FHIR patient needs an identifier and its system; map the issuer of the patient ID")
        if self.issued.tzinfo is None:
            raise ValueError("issued needs a time zone: FHIR instants have one")
        if isinstance(self.study_datetime, dt.datetime) and self.study_datetime.tzinfo is None:
            raise ValueError("study_datetime needs a time zone; give the date alone where the zone is not known")

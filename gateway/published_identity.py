"""Which patient the results of a study state.

As a rule the one that its images state, byte for byte. Where the study belongs to another record - merged, moved by a
person, or assigned because the images state none - results state that record's identifier:

- of a merged record it is the same person: ID and issuer are replaced, what the images stated stands in Original
  Attributes (PS3.3 C.12.1.1.9);
- of a moved study name, birth date and all else of the Patient module are another person's: they are replaced by what
  a study of the right patient states, or left empty, and are not kept anywhere in the result.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset
from sqlmodel import Session, col, select

from gateway.errors import IdentityConflict
from gateway.identity_tables import StudyAssignment
from gateway.ownership import family_of, identifiers_in, stated_patient
from gateway.tables import Study

MODIFYING_SYSTEM = "Timepoint gateway"


class Origin(StrEnum):
    """Where the patient that results state comes from."""

    IMAGES = "images"
    ASSIGNED = "assigned"
    MERGED = "merged"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class PublishedIdentity:
    """The patient as results state it. Name, birth date and sex count for `MOVED` only."""

    origin: Origin
    patient_id: str
    issuer: str
    name: str = ""
    birth_date: str = ""
    sex: str = ""


def identity_to_publish(session: Session, study: Study) -> PublishedIdentity:
    """Whom the results of a study state.

    Raises:
        IdentityConflict: when the patient has no identifier.
    """
    stated = _stated(study)
    if session.get(StudyAssignment, study.study_key) is not None:
        found = _of_record(session, study)
        if found.patient_id == stated.patient_id and found.issuer == stated.issuer:
            return stated
        return found
    if stated_patient(session, study) == study.patient_key:
        return stated
    found = _of_record(session, study)
    return PublishedIdentity(Origin.MERGED, found.patient_id, found.issuer)


def _stated(study: Study) -> PublishedIdentity:
    identity = study.identity
    if identity.get("assigned") or not identity.get("patient_id"):
        patient_id, issuer = identity.get("normalised") or ("", "")
        return PublishedIdentity(Origin.ASSIGNED, patient_id, issuer)
    return PublishedIdentity(
        Origin.IMAGES,
        str(identity["patient_id"]),
        str(identity.get("issuer") or ""),
        str(identity.get("name") or ""),
        str(identity.get("birth_date") or ""),
        str(identity.get("sex") or ""),
    )


def _of_record(session: Session, study: Study) -> PublishedIdentity:
    """The patient of a record as its newest own study states it, else by the identifier it was met with first."""
    owner = str(study.patient_key)
    others = session.exec(
        select(Study)
        .where(Study.patient_key == owner, Study.study_key != study.study_key)
        .order_by(col(Study.acquired).desc(), col(Study.study_key))
    ).all()
    for other in others:
        own = session.get(StudyAssignment, other.study_key) is None and stated_patient(session, other) == owner
        stated = _stated(other)
        if own and stated.origin is Origin.IMAGES:
            return PublishedIdentity(
                Origin.MOVED, stated.patient_id, stated.issuer, stated.name, stated.birth_date, stated.sex
            )
    known = identifiers_in(session, [owner]) or identifiers_in(
        session, [p.patient_key for p in family_of(session, owner)]
    )
    if not known:
        raise IdentityConflict(f"Patient {owner} has no identifier.")
    return PublishedIdentity(Origin.MOVED, known[0].patient_id, known[0].issuer)


def state_patient(headers: Iterable[Dataset], who: PublishedIdentity) -> None:
    """Make the headers of source images, which results are built of, state the patient `who`."""
    if who.origin is Origin.IMAGES:
        return
    for header in headers:
        if who.origin is Origin.MOVED:
            for tag in [tag for tag in header.keys() if tag.group == 0x0010]:  # noqa: SIM118 - would parse all
                del header[tag]
            _allow(header, who.name)
            header.PatientName = who.name
            header.PatientBirthDate, header.PatientSex = who.birth_date, who.sex
        _set_identifier(header, who)


def original_attributes(header: Dataset, who: PublishedIdentity, created: dt.datetime) -> list[Dataset]:
    """The Original Attributes Sequence for results of a merged record; `header` is the untouched one of an image."""
    if who.origin is not Origin.MERGED:
        return []
    before = Dataset()
    before.PatientID = str(header.get("PatientID") or "")
    if "IssuerOfPatientID" in header:
        before.IssuerOfPatientID = str(header.get("IssuerOfPatientID") or "")
    item = Dataset()
    item.ModifiedAttributesSequence = [before]
    item.AttributeModificationDateTime = f"{created.astimezone(dt.UTC):%Y%m%d%H%M%S}+0000"
    item.ModifyingSystem = MODIFYING_SYSTEM
    item.SourceOfPreviousValues = ""
    item.ReasonForTheAttributeModification = "COERCE"
    return [item]


def _set_identifier(header: Dataset, who: PublishedIdentity) -> None:
    for keyword in ("IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence", "OtherPatientIDs"):
        if keyword in header:
            delattr(header, keyword)
    _allow(header, who.patient_id + who.issuer)
    header.PatientID = who.patient_id
    if who.issuer:
        header.IssuerOfPatientID = who.issuer
    elif "IssuerOfPatientID" in header:
        del header.IssuerOfPatientID


def _allow(header: Dataset, text: str) -> None:
    """See that a text from elsewhere can be written: with letters beyond ASCII the header changes to UTF-8."""
    if not text.isascii():
        header.decode()
        header.SpecificCharacterSet = "ISO_IR 192"

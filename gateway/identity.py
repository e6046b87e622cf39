"""Who a study belongs to: patient ID under its issuer, one person for each pair, a person's decision where unsure.

Names and birth dates never decide. A missing issuer takes the default of the sender (settings `dicom.peers[].issuer`,
else `dicom.default_issuer`), because the same number at two hospitals is two patients.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session, col, select

from gateway.database import insert_or_ignore
from gateway.errors import IdentityConflict, NotFound
from gateway.instance_facts import Identity
from gateway.settings import Dicom
from gateway.tables import Patient, PatientIdentifier


@dataclass(frozen=True, slots=True)
class PatientId:
    """A patient ID and its issuer, normalised: what `patient_identifier` is unique on."""

    patient_id: str
    issuer: str


@dataclass(frozen=True)
class IssuerRules:
    """The issuer of patient IDs that come without one, by calling AE title."""

    by_ae: Mapping[str, str]
    default: str = ""

    @classmethod
    def from_settings(cls, dicom: Dicom) -> IssuerRules:
        return cls({p.ae_title.strip(): p.issuer for p in dicom.peers if p.issuer}, dicom.default_issuer)

    def normalise(self, stated: Identity, source_ae: str) -> PatientId | None:
        """The normalised pair, None where there is no patient ID.

        Outer blanks are no part of an ID (PS3.5 6.2, LO); leading zeros and case are. Issuers are compared without
        regard to case, as sites write them both ways.
        """
        patient_id = _plain(stated.patient_id)
        if not patient_id:
            return None
        issuer = _plain(stated.issuer) or _plain(self.by_ae.get(source_ae.strip(), "")) or _plain(self.default)
        return PatientId(patient_id[:64], issuer.upper()[:255])


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def agree(first: PatientId, second: PatientId) -> bool:
    """Whether two images of one study can be of the same patient: an issuer that one of them lacks is no conflict."""
    if first.patient_id != second.patient_id:
        return False
    return first.issuer == second.issuer or not first.issuer or not second.issuer


def patient_key_of(session: Session, who: PatientId) -> str:
    """The key of the person behind an identifier, made at first contact; merged records lead to the survivor.

    Safe against any number of simultaneous first contacts: the unique key of `patient_identifier` decides, and whoever
    loses takes the winner's person.
    """
    known = _find(session, who)
    if known is None:
        patient = Patient(surrogate=secrets.token_hex(16))
        session.add(patient)
        session.flush()
        row = PatientIdentifier(patient_key=patient.patient_key, patient_id=who.patient_id, issuer=who.issuer)
        if not insert_or_ignore(session, row):
            session.delete(patient)
            session.flush()
        known = _find(session, who)
    if known is None:
        raise IdentityConflict("The identifier disappeared while it was being recorded.")
    return survivor_of(session, known)


def survivor_of(session: Session, patient_key: str) -> str:
    """Follow merges to the record that stands.

    Each row is read under a shared lock: a merge under way is waited for, and one that begins later sees what this
    transaction gives to the patient. Two arrivals do not wait for each other.

    Raises:
        NotFound: for an unknown key.
    """
    seen: set[str] = set()
    while patient_key not in seen:
        seen.add(patient_key)
        query = select(Patient).where(Patient.patient_key == patient_key).with_for_update(read=True)
        patient = session.exec(query.execution_options(populate_existing=True)).one_or_none()
        if patient is None:
            raise NotFound(patient_key)
        if patient.merged_into is None:
            return patient_key
        patient_key = patient.merged_into
    raise IdentityConflict("The merges of this patient run in a circle.")


def identifiers_of(session: Session, patient_key: str) -> list[PatientId]:
    """All identifiers of a person, in the order they were met."""
    query = select(PatientIdentifier).where(PatientIdentifier.patient_key == patient_key)
    rows = session.exec(query.order_by(col(PatientIdentifier.id)))
    return [PatientId(r.patient_id, r.issuer) for r in rows]


def _find(session: Session, who: PatientId) -> str | None:
    query = select(PatientIdentifier.patient_key).where(
        PatientIdentifier.patient_id == who.patient_id, PatientIdentifier.issuer == who.issuer
    )
    return session.exec(query).first()

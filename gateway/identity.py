"""Who a study belongs to: patient ID under its issuer, one person for each pair, a person's decision where unsure.

Names and birth dates never decide. A missing issuer takes the default of the sender (settings `dicom.peers[].issuer`,
else `dicom.default_issuer`), because the same number at two hospitals is two patients.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sqlmodel import Session, col, select

from gateway.database import insert_or_ignore
from gateway.errors import IdentityConflict, NotFound
from gateway.identity_settings import IdentityRules
from gateway.instance_facts import Identity
from gateway.settings import Dicom
from gateway.tables import Patient, PatientIdentifier, Study

DERIVED = "DERIVED:"
"""Beginning of an issuer that was derived from name and birth date."""


@dataclass(frozen=True, slots=True)
class PatientId:
    """A patient ID and its issuer, normalised: what `patient_identifier` is unique on."""

    patient_id: str
    issuer: str


@dataclass(frozen=True)
class IssuerRules:
    """The issuer of a patient ID: the one stated, where it counts; else that of the sender, by calling AE title; else
    that of the site; else what `missing` says. See `gateway.identity_settings.IdentityRules`."""

    by_ae: Mapping[str, str]
    default: str = ""
    ignored_from: frozenset[str] = frozenset()
    trusted: tuple[str, ...] = ()
    untrusted: str = "quarantine"
    aliases: Mapping[str, str] = field(default_factory=dict)
    missing: str = "accept"
    merged_ids_agree: bool = True

    @classmethod
    def from_settings(cls, dicom: Dicom, identity: IdentityRules | None = None) -> IssuerRules:
        rules = identity or IdentityRules()
        return cls(
            by_ae={p.ae_title.strip(): p.issuer for p in dicom.peers if p.issuer},
            default=dicom.default_issuer,
            ignored_from=frozenset(p.ae_title.strip() for p in dicom.peers if p.stated_issuer == "ignore"),
            trusted=tuple(_plain(pattern).upper() for pattern in rules.trusted_issuers),
            untrusted=rules.untrusted_issuer,
            aliases={_plain(k).upper(): _plain(v).upper() for k, v in rules.issuer_aliases.items()},
            missing=rules.missing_issuer,
            merged_ids_agree=rules.conflicting_ids == "merged",
        )

    def normalise(self, stated: Identity, source_ae: str) -> PatientId | None:
        """The normalised pair, None where there is no patient ID or its issuer has to be decided by a person.

        Outer blanks are no part of an ID (PS3.5 6.2, LO); leading zeros and case are. Issuers are compared without
        regard to case, as sites write them both ways.
        """
        patient_id = _plain(stated.patient_id)
        issuer = self._issuer(stated, source_ae.strip())
        if not patient_id or issuer is None:
            return None
        return PatientId(patient_id[:64], issuer[:255])

    def decided(self, patient_id: str, issuer: str) -> PatientId | None:
        """The pair as a person or a trusted message states it: no rule overrides the issuer; None without an ID, and
        without an issuer where the site has none."""
        known = self.canonical(issuer) or self.canonical(self.default)
        if not _plain(patient_id) or (not known and self.missing != "accept"):
            return None
        return PatientId(_plain(patient_id)[:64], known[:255])

    def canonical(self, issuer: str) -> str:
        """The one name of an issuer."""
        plain = _plain(issuer).upper()
        return self.aliases.get(plain, plain)

    def _issuer(self, stated: Identity, source_ae: str) -> str | None:
        given = "" if source_ae in self.ignored_from else self.canonical(stated.issuer)
        if given and self.trusted and not any(fnmatchcase(given, pattern) for pattern in self.trusted):
            if self.untrusted == "quarantine":
                return None
            given = ""
        issuer = given or self.canonical(self.by_ae.get(source_ae, "")) or self.canonical(self.default)
        if issuer or self.missing == "accept":
            return issuer
        return _derived_issuer(stated) if self.missing == "derive" else None


def _derived_issuer(stated: Identity) -> str | None:
    """An issuer for numbers that came without one: the same for the same name, birth date and sex, and no other.

    None where name or birth date is missing: two people without would get the same.
    """
    name = "^".join(part.strip() for part in _plain(stated.name).casefold().partition("=")[0].split("^")).rstrip("^")
    birth_date = "".join(filter(str.isdigit, stated.birth_date))
    if not name or not birth_date:
        return None
    told = "\x1f".join((name, birth_date, _plain(stated.sex).upper()))
    return DERIVED + hashlib.sha256(told.encode()).hexdigest()[:24].upper()


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def agree(first: PatientId, second: PatientId) -> bool:
    """Whether two images of one study can be of the same patient: an issuer that one of them lacks (or that was derived
    because it lacks it) is no conflict."""
    if first.patient_id != second.patient_id:
        return False
    if first.issuer == second.issuer or not first.issuer or not second.issuer:
        return True
    return first.issuer.startswith(DERIVED) is not second.issuer.startswith(DERIVED)


def accept_merged(session: Session, study: Study, who: PatientId | None) -> bool:
    """Whether an image under another ID is of the person of its study because their records were merged.

    The study remembers such IDs: if the merge is unmade, it holds images of two people.
    """
    settled = find_record(session, who) if who else None
    if who is None or settled is None or study.patient_key is None:
        return False
    if survivor_of(session, settled) != survivor_of(session, study.patient_key):
        return False
    others = [list(pair) for pair in study.identity.get("also", [])]
    if [who.patient_id, who.issuer] not in others:
        study.identity = {**study.identity, "also": [*others, [who.patient_id, who.issuer]]}
    return True


def patient_key_of(session: Session, who: PatientId) -> str:
    """The key of the person behind an identifier, made at first contact; merged records lead to the survivor."""
    return survivor_of(session, first_contact(session, who))


def find_record(session: Session, who: PatientId) -> str | None:
    """The record that an identifier came with, whatever it was merged into since; None where it was never met."""
    query = select(PatientIdentifier.patient_key).where(
        PatientIdentifier.patient_id == who.patient_id, PatientIdentifier.issuer == who.issuer
    )
    return session.exec(query).first()


def first_contact(session: Session, who: PatientId) -> str:
    """The record that an identifier came with, whatever it was merged into since; made where there is none.

    Safe against any number of simultaneous first contacts: the unique key of `patient_identifier` decides, and whoever
    loses takes the winner's person.
    """
    known = find_record(session, who)
    if known is None:
        patient = Patient(surrogate=secrets.token_hex(16))
        session.add(patient)
        session.flush()
        row = PatientIdentifier(patient_key=patient.patient_key, patient_id=who.patient_id, issuer=who.issuer)
        if not insert_or_ignore(session, row):
            session.delete(patient)
            session.flush()
        known = find_record(session, who)
    if known is None:
        raise IdentityConflict("The identifier disappeared while it was being recorded.")
    return known


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


def stated_person(session: Session, patient_id: str, issuer: str) -> str | None:
    """The record that stands for an identifier; None where it was never met."""
    known = find_record(session, PatientId(patient_id, issuer))
    return survivor_of(session, known) if known else None


def identifiers_of(session: Session, patient_key: str) -> list[PatientId]:
    """All identifiers of a person, in the order they were met."""
    query = select(PatientIdentifier).where(PatientIdentifier.patient_key == patient_key)
    rows = session.exec(query.order_by(col(PatientIdentifier.id)))
    return [PatientId(r.patient_id, r.issuer) for r in rows]

"""Who is who in a folder: one person per (issuer, PatientID), also where only some slices name the issuer."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from deidentify import charsets
from deidentify.elements import text_of


@dataclass(frozen=True)
class Claim:
    """What one instance says about the person: issuer "" where it does not tell."""

    issuer: str
    patient_id: str
    study_uid: str


def claim_of(ds: Dataset) -> Claim:
    """Issuer from (0010,0021), else from the qualifiers; texts normalised. Raises `Refused` for undecodable text."""
    terms = charsets.declared(ds)
    return Claim(_issuer(ds, terms), _text(ds, "PatientID", terms), _text(ds, "StudyInstanceUID", terms))


def _issuer(ds: Dataset, terms: tuple[str, ...]) -> str:
    issuer = _text(ds, "IssuerOfPatientID", terms)
    if issuer or "IssuerOfPatientIDQualifiersSequence" not in ds:
        return issuer
    items = ds["IssuerOfPatientIDQualifiersSequence"].value
    return _text(items[0], "UniversalEntityID", terms) if items else ""


def _text(ds: Dataset, keyword: str, terms: tuple[str, ...]) -> str:
    if keyword not in ds:
        return ""
    raw = ds.get_item(keyword).value
    text = charsets.decode(raw, terms) if isinstance(raw, bytes) else text_of(ds.get_item(keyword))
    return unicodedata.normalize("NFKC", text).strip(" \0")


@dataclass
class Identities:
    """The persons of a set of claims.

    A claim without issuer belongs to the issuer that other instances of its study name for the same ID, else to the
    only issuer that is named for that ID at all; else it stands for itself. A claim without ID is told apart by study.
    """

    by_study: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    by_id: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, claims: Iterable[Claim]) -> Identities:
        identities = cls()
        for claim in claims:
            if claim.issuer and claim.patient_id:
                identities.by_study[claim.study_uid, claim.patient_id].add(claim.issuer)
                identities.by_id[claim.patient_id].add(claim.issuer)
        return identities

    def person(self, claim: Claim) -> str:
        """A text that is equal for claims of one person and differs between persons."""
        if not claim.patient_id:
            return f"study\0{claim.study_uid}"
        issuer = claim.issuer
        if not issuer:
            in_study = self.by_study.get((claim.study_uid, claim.patient_id))
            candidates = in_study or self.by_id.get(claim.patient_id, set())
            issuer = next(iter(candidates)) if len(candidates) == 1 else ""
        return f"{issuer}\0{claim.patient_id}"

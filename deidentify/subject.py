"""Whom an object is about, and the identifiers of patient and staff that must not be left in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from deidentify import charsets
from deidentify.elements import tags_of
from deidentify.parsing import parsing
from deidentify.quiet import quiet
from deidentify.tables import words_of

_KEYWORDS = (
    "PatientID", "OtherPatientIDs", "PatientBirthDate", "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar", "PatientAddress", "PatientTelephoneNumbers",
    "PatientTelecomInformation", "CountryOfResidence", "RegionOfResidence", "Occupation", "MilitaryRank",
    "MedicalRecordLocator", "InsurancePlanIdentification", "PatientAlternativeCalendar", "IssuerOfPatientID",
    "AccessionNumber", "StudyID", "AdmissionID", "ServiceEpisodeID", "RequestedProcedureID",
    "ScheduledProcedureStepID", "PerformedProcedureStepID", "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest", "IssuerOfAdmissionID", "CurrentPatientLocation", "InstitutionName",
    "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber", "DeviceID",
    "GantryID", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "PersonAddress",
    "PersonTelephoneNumbers", "PersonTelecomInformation", "ResponsibleOrganization", "VerifyingOrganization",
    "RequestingService", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime",
    "InstanceCreationDate", "PerformedProcedureStepStartDate",
)  # fmt: skip
_TAGS = frozenset(tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None)
_NAMES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "PN")
_SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")
_ORGANISATIONS = frozenset(
    tag
    for keyword in ("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "ResponsibleOrganization",
                    "VerifyingOrganization", "RequestingService", "StationName")
    if (tag := tag_for_keyword(keyword)) is not None
)  # fmt: skip

GENERIC = words_of("generic_words.txt")
VENDORS = words_of("vendor_words.txt")
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "AE", "Ö": "OE", "Ü": "UE", "ß": "ss", "ø": "oe"})
_WORD = re.compile(r"[^\W_]+")
_DATETIME = re.compile(r"(?:19|20)\d{12}(?:\.\d+)?(?:[+-]\d{4})?")


def fold(text: str) -> str:
    """Lower case without accents: `MÜLLER` and `Müller` become `muller`."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def significant_words(identifier: str) -> list[str]:
    """The words that can tell a person: not those of any hospital, nor those of a maker within a technical name."""
    common = GENERIC | VENDORS if any(map(str.isdigit, identifier)) else GENERIC
    return [word for word in _WORD.findall(identifier) if fold(word) not in common]


@dataclass(frozen=True)
class Subject:
    """The person an object is about.

    `surrogate`: 128 random bits that stand for the person (pseudonym and date shift derive from it). `identifiers`:
    texts of the patient and the staff of this study, as `identifiers_of` gathers them; dates as YYYYMMDD.
    """

    surrogate: bytes
    identifiers: tuple[str, ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """The single words of the identifiers, folded, two characters and longer; a fold of ISO umlauts as well."""
        words = {word for identifier in self.identifiers for word in significant_words(identifier)}
        folded = {fold(form) for word in words for form in (word, word.translate(UMLAUTS))}
        return frozenset(word for word in folded if len(word) > 1)


@quiet()
@parsing()
def identifiers_of(ds: Dataset) -> tuple[str, ...]:
    """Names, IDs, dates and places in a dataset and its sequences, sorted, each once.

    Every person name at any depth counts, also in private elements. Raises `Refused` when such a text cannot be
    decoded in the declared character set.
    """
    return tuple(sorted(set(_gather(ds, charsets.DEFAULT))))


def _gather(ds: Dataset, inherited: tuple[str, ...]) -> Iterator[str]:
    terms = charsets.declared(ds, inherited)
    for tag in tags_of(ds):
        vr = ds.get_item(tag).VR
        if tag in _TAGS or tag in _NAMES or vr == "PN":
            yield from _values(ds, tag, terms)
        elif vr == "SQ" or tag in _SEQUENCES:
            items = ds[tag].value
            for item in items if isinstance(items, Sequence) else ():
                yield from _gather(item, terms)


def _values(ds: Dataset, tag: int, terms: tuple[str, ...]) -> Iterator[str]:
    raw = ds.get_item(tag).value
    if isinstance(raw, bytes):
        values = charsets.decode(raw, terms).split("\\")
    elif isinstance(raw, str):
        values = [raw]
    elif isinstance(raw, (list, tuple, MultiValue)):
        values = [str(value) for value in raw]
    else:
        values = [] if raw is None else [str(raw)]
    for value in values:
        text = value.strip(" \0")
        if tag in _ORGANISATIONS:
            yield from (word for word in _WORD.findall(text) if fold(word) not in GENERIC | VENDORS)
        elif _WORD.search(text):
            yield text[:8] if _DATETIME.fullmatch(text) else text

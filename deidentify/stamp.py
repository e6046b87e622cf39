"""The marks that say what was done (PS3.15 E.1.1): only codes of steps that ran."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from deidentify import codes
from deidentify.elements import ascii_element
from deidentify.profile import Profile
from deidentify.tables import EDITION

RULES_VERSION = "1"
_IDENTITY_REMOVED, _METHOD, _METHOD_CODES, _TEMPORAL = 0x00120062, 0x00120063, 0x00120064, 0x00280303
BASIC = ("113100", "Basic Application Confidentiality Profile")
# Context group CID 7050; the option of the profile, its code and meaning.
OPTION_CODES = (
    ("clean_graphics", "113103", "Clean Graphics Option"),
    ("clean_structured_content", "113104", "Clean Structured Content Option"),
    ("clean_descriptors", "113105", "Clean Descriptors Option"),
    ("retain_modified_dates", "113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("retain_patient_characteristics", "113108", "Retain Patient Characteristics Option"),
    ("retain_safe_private", "113111", "Retain Safe Private Option"),
)
METHOD = (f"Timepoint de-identification rules {RULES_VERSION}", f"PS3.15 Annex E {EDITION}")
CONSTANTS = (*METHOD, BASIC[1], *(meaning for _, _, meaning in OPTION_CODES))
"""Texts that every object carries: no word in them tells anything."""


def stamp(out: Dataset, profile: Profile, key_id: str) -> None:
    """Record method, edition, profile, key and options in the dataset that leaves."""
    method = (*METHOD, f"Profile {profile.name}", f"Key {key_id}")
    out[_IDENTITY_REMOVED] = ascii_element(_IDENTITY_REMOVED, "CS", "YES")
    out[_METHOD] = ascii_element(_METHOD, "LO", method)
    ran = [BASIC] + [(code, meaning) for option, code, meaning in OPTION_CODES if getattr(profile, option)]
    out.add_new(_METHOD_CODES, "SQ", Sequence([_item(*entry) for entry in ran]))
    temporal = "MODIFIED" if profile.retain_modified_dates else "REMOVED"
    out[_TEMPORAL] = ascii_element(_TEMPORAL, "CS", temporal)


def _item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    codes.write(codes.Code(value, "DCM", meaning, "", False), item)
    return item

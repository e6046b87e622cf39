"""Which objects may pass at all; every other is refused with the reason that fits it."""

from __future__ import annotations

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from deidentify.elements import text_of
from deidentify.errors import RefusalCode, Refused
from deidentify.profile import Profile
from deidentify.tables import iods

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_PREFIX = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE = f"{_PREFIX}7"
_ON_PURPOSE = {
    "7": "Secondary Capture images may show text in their pixels; a profile can list the class to have them cleaned",
    "104": "encapsulated documents cannot be cleaned",
    "66": "Raw Data has no defined content",
    "481": "of the radiotherapy objects only structure sets are handled",
    "2": "CT shows the face in full and is not needed for follow-up MR",
    "128": "PET is not needed for follow-up MR",
    "130": "PET is not needed for follow-up MR",
    "4": "of the MR objects spectroscopy and colour images are not handled",
    "1": "radiographs often show text in their pixels",
    "3": "ultrasound shows text in its pixels",
    "6": "ultrasound shows text in its pixels",
    "12": "angiography is not handled",
    "20": "nuclear medicine is not handled",
    "11": "of the presentation states only the greyscale softcopy one is handled",
    "68": "surface scans may show a person",
    "131": "structured displays hold text and layout of a site",
    "200": "CT is not needed for follow-up MR",
    "77": "photographs and other visible-light images may show a person",
    "9": "waveforms are not handled",
    "88": "this report class is not handled",
}


def accepted(ds: Dataset, profile: Profile) -> str:
    """The SOP class UID of `ds`. Raises `Refused` unless the IOD is known and the profile lists it."""
    uid = text_of(ds.get_item("SOPClassUID")).strip() if "SOPClassUID" in ds else ""
    if "DirectoryRecordSequence" in ds or uid == _MEDIA_DIRECTORY:
        why = "a DICOMDIR lists patients and file names; it is of no use for the files that leave"
        raise Refused(RefusalCode.SOP_CLASS_REFUSED, why)
    if not uid:
        raise Refused(RefusalCode.MISSING_ATTRIBUTE, "SOP Class UID is missing or empty")
    if uid in profile.sop_classes and uid in iods().sop_classes:
        return uid
    if not uid.startswith("1.2.840.10008."):
        raise Refused(RefusalCode.SOP_CLASS_PRIVATE, "private SOP classes have no published content")
    if uid in iods().sop_classes and not uid.startswith(_SECONDARY_CAPTURE):
        raise Refused(RefusalCode.SOP_CLASS_NOT_IN_PROFILE, f"the profile does not accept {_name(uid)}")
    if uid not in UID_dictionary:
        raise Refused(RefusalCode.SOP_CLASS_UNKNOWN, "the SOP class is not one that this release knows")
    family = uid.removeprefix(_PREFIX).partition(".")[0] if uid.startswith(_PREFIX) else ""
    why = _ON_PURPOSE.get(family, "this SOP class is not handled")
    raise Refused(RefusalCode.SOP_CLASS_REFUSED, f"{_name(uid)}: {why}")


def _name(uid: str) -> str:
    entry = UID_dictionary.get(uid)
    return entry[0] if entry else uid

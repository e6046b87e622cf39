"""Which action an attribute gets: reviewed exceptions first, then PS3.15 Annex E resolved by Type, then its VR."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from deidentify.profile import Profile
from deidentify.tables import annex_e


class Action(Enum):
    """What the engine does with an attribute."""

    KEEP = auto()  # numbers, pixel and table data
    KEEP_NUMBER_STRING = auto()
    KEEP_TERM = auto()  # CS
    KEEP_TIME = auto()
    MAP_UID = auto()
    SHIFT_DATE = auto()
    SHIFT_DATETIME = auto()
    CAP_AGE = auto()
    CLEAN = auto()  # vocabulary words only
    PUBLIC = auto()  # what the equipment is
    SEQUENCE_NAME = auto()
    PRESENCE = auto()  # reduce to "there is one"
    SHORT_TERM = auto()  # text of a defined term of up to four letters
    TOKEN = auto()  # keep if known words, else an opaque stand-in
    PSEUDONYM = auto()
    CHARACTER_SET = auto()
    DESCEND = auto()
    CODE = auto()
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()


@dataclass(frozen=True)
class Decision:
    """`reason` is what the ledger says."""

    action: Action
    reason: str


_REVIEWED: dict[str, tuple[Action, str]] = {
    **dict.fromkeys(("PatientID", "PatientName"), (Action.PSEUDONYM, "pseudonym")),
    "SpecificCharacterSet": (Action.CHARACTER_SET, "output is ASCII"),
    "ContrastBolusAgent": (Action.PRESENCE, "reduced to presence"),
    "SequenceName": (Action.SEQUENCE_NAME, "vendor sequence name"),
    "PulseSequenceName": (Action.SEQUENCE_NAME, "vendor sequence name"),
    "ContentSequence": (Action.DESCEND, "113104 Clean Structured Content"),
    **dict.fromkeys(
        ("ImagedNucleus", "RescaleType", "ModalityLUTType", "StackID"), (Action.SHORT_TERM, "defined term")
    ),
    "TrackingID": (Action.TOKEN, "tracking identifier"),
    **dict.fromkeys(
        ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ManufacturerModelVersion",
         "AlgorithmName", "AlgorithmVersion", "SegmentAlgorithmName", "AlgorithmSource"),
        (Action.PUBLIC, "names equipment or software"),
    ),
    **dict.fromkeys(
        ("LUTLabel", "ReceiveCoilName", "TransmitCoilName", "ReceiveCoilManufacturerName",
         "TransmitCoilManufacturerName", "MultiCoilElementName", "DimensionDescriptionLabel",
         "WindowCenterWidthExplanation", "LUTExplanation", "PositionReferenceIndicator",
         "ASLTechniqueDescription", "ASLCrusherDescription", "ASLBolusCutoffTechnique"),
        (Action.CLEAN, "text of the acquisition, cleaned"),
    ),
    # Partners of what goes, and dates and numbers that identify a person or a machine by themselves.
    **dict.fromkeys(
        ("ResponsiblePersonRole", "PatientAlternativeCalendar", "PatientBirthDateInAlternativeCalendar",
         "PatientDeathDateInAlternativeCalendar", "TimezoneOffsetFromUTC", "DateOfManufacture",
         "DateOfInstallation", "DateOfLastCalibration", "TimeOfLastCalibration", "LastMenstrualDate",
         "PatientBirthTime", "DeviceID", "EncryptedAttributesSequence", "MACParametersSequence",
         "DigitalSignaturesSequence", "IconImageSequence", "PrivateDataElementCharacteristicsSequence",
         "HL7StructuredDocumentReferenceSequence", "ContributingEquipmentSequence",
         "CodingSchemeIdentificationSequence", "ContextGroupIdentificationSequence",
         "MappingResourceIdentificationSequence", "QueryRetrieveView", "InstanceOriginStatus", "BarcodeValue",
         "PixelDataProviderURL", "RetrieveURL", "RetrieveURI", "RetrieveAETitle", "StorageMediaFileSetID",
         "StorageMediaFileSetUID", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
         "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "StrainDescription",
         "StrainNomenclature", "GeneticModificationsSequence", "ExtendedOffsetTable",
         "ExtendedOffsetTableLengths", "SelectorUCValue", "NTPSourceAddress",
         "AuthorizationEquipmentCertificationNumber", "SOPAuthorizationComment", "StrainStockSequence",
         "PatientIdentityRemoved",
         "DeidentificationMethod", "DeidentificationMethodCodeSequence",
         "LongitudinalTemporalInformationModified", "FillPattern", "ICCProfile", "ColorSpace"),
        (Action.REMOVE, "reviewed: not needed or identifying"),
    ),
    "PatientBirthDate": (Action.EMPTY, "birth date"),
}  # fmt: skip
_CHARACTERISTICS: dict[str, Action] = {
    "PatientSex": Action.KEEP_TERM,
    "PatientAge": Action.CAP_AGE,
    "PatientSize": Action.KEEP_NUMBER_STRING,
    "PatientWeight": Action.KEEP_NUMBER_STRING,
}
_BY_VR: dict[str, Action] = {
    **dict.fromkeys(
        ("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT", "US or SS", "US or SS or OW", "US or OW"), Action.KEEP
    ),
    **dict.fromkeys(("OW", "OF", "OD", "OL", "OV", "OB or OW"), Action.KEEP),
    **dict.fromkeys(("DS", "IS"), Action.KEEP_NUMBER_STRING),
    "CS": Action.KEEP_TERM,
    "TM": Action.KEEP_TIME,
    "DA": Action.SHIFT_DATE,
    "DT": Action.SHIFT_DATETIME,
    "AS": Action.CAP_AGE,
    "UI": Action.MAP_UID,
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC"), Action.CLEAN),
    "SQ": Action.DESCEND,
}
_DATES = ("DA", "DT", "TM")
_BASIC = "113100 Basic Profile"
_MODIFIED_DATES = "113107 Retain Longitudinal Temporal Information, Modified Dates"


def decide(keyword: str, tag: int, vr: str, type_: str, is_code: bool, profile: Profile) -> Decision:
    """The action for an attribute at a path where its IOD allows it. `is_code`: the items are coded entries."""
    if keyword in _REVIEWED:
        action, reason = _REVIEWED[keyword]
        if action in (Action.REMOVE, Action.EMPTY):
            return Decision(without(action, type_), reason)
        return Decision(action, reason)
    if keyword in _CHARACTERISTICS and profile.retain_patient_characteristics:
        return Decision(_CHARACTERISTICS[keyword], "113108 Retain Patient Characteristics")
    if keyword in profile.descriptors and profile.clean_descriptors:
        return Decision(Action.CLEAN, "113105 Clean Descriptors")
    code = annex_e().code(tag)
    if vr in _DATES and profile.retain_modified_dates:
        return Decision(_BY_VR[vr], _MODIFIED_DATES)
    if code is not None:
        return _resolve(code, vr, type_, is_code)
    if vr in _DATES:
        return Decision(without(Action.REMOVE, type_), "dates are not retained")
    if is_code:
        return Decision(Action.CODE, "coded entry")
    if vr in _BY_VR:
        return Decision(_BY_VR[vr], "IOD attribute that Annex E does not list")
    return Decision(without(Action.REMOVE, type_), f"VR {vr} is never kept")


def _resolve(code: str, vr: str, type_: str, is_code: bool) -> Decision:
    """An Annex E code under the Type of the attribute: the weakest change that leaves the object valid."""
    reason = f"{_BASIC} {code}"
    if "U" in code:
        return Decision(Action.DESCEND if vr == "SQ" else Action.MAP_UID, reason)
    wanted = type_ in ("1", "2") or (type_ == "1C" and "D" in code) or "X" not in code
    if not wanted:
        return Decision(Action.REMOVE, reason)
    if type_.startswith("2") or (type_ == "3" and "Z" in code):
        return Decision(Action.EMPTY, reason)
    if vr == "SQ":
        return Decision(Action.CODE if is_code else Action.DESCEND, reason)
    return Decision(Action.DUMMY, reason)


def without(action: Action, type_: str) -> Action:
    """What removal becomes under the Type of the attribute (PS3.5 7.4): required attributes get a dummy or nothing."""
    if type_ == "1":
        return Action.DUMMY
    if type_ == "2":
        return Action.EMPTY
    return action

"""Coded concepts of the resources: standard codes where one exists, Timepoint's own where none does.

Standard codes and own codes are those of the SR (PS3.16 TID 1500, CID 7469, CID 6143; `docs/codes.md`), so that both
encodings of a result say the same. What only FHIR needs a word for has the numbers from TP100 (`docs/fhir.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from longitudinal.types import Reference, Region, Response

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
SCT: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
NCIT: Final = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"
UMLS: Final = "http://www.nlm.nih.gov/research/umls"
IBSI: Final = "urn:oid:1.2.840.10008.2.16.13"
LOINC: Final = "http://loinc.org"
OBSERVATION_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
ABSENT_REASON: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
DIAGNOSTIC_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"
PARTICIPANT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
DATA_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
INTERPRETATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
OBSERVATION_VALUE: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"

DEFAULT_CODE_SYSTEM: Final = "urn:oid:2.25.248743496101459958618204982848143287468"
"""The private scheme 99TIMEPOINT. A site that publishes the codes elsewhere sets `PublishContext.code_system`."""


@dataclass(frozen=True, slots=True)
class Code:
    """A concept of a code system; an own code has `system` None and takes the configured one."""

    value: str
    display: str
    system: str | None = None


VOLUME = Code("118565006", "Volume", SCT)
LONG_AXIS = Code("103339001", "Long axis", SCT)
SHORT_AXIS = Code("103340004", "Short axis", SCT)
MAX_3D_DIAMETER = Code("L0JK", "Maximum 3D Diameter of a Mesh", IBSI)
UNCERTAINTY = Code("371884006", "+/-, range of measurement uncertainty", SCT)
SIGNIFICANCE = Code("121403", "Level of Significance", DCM)
SIGNIFICANT = Code("386134007", "Significant", SCT)
NOT_SIGNIFICANT = Code("371928007", "Not significant", SCT)
BRAIN = Code("12738006", "Brain", SCT)
NEOPLASM = Code("108369006", "Neoplasm", SCT)
VOXEL_SUM = Code("126030", "Sum of segmented voxel method for volume", DCM)
RANO = Code("C114879", "RANO", NCIT)
MEASUREMENT_GROUP = Code("125007", "Measurement Group", DCM)
ONCOLOGY_REPORT = Code("126001", "Oncology Measurement Report", DCM)
CURRENT_RESPONSE = Code("112048", "Current Response", DCM)
STUDY_INSTANCE_UID = Code("110180", "Study Instance UID", DCM)
TRACKING_IDENTIFIER = Code("112039", "Tracking Identifier", DCM)
TRACKING_UID = Code("112040", "Tracking Unique Identifier", DCM)
REFERENCED_SEGMENT = Code("121191", "Referenced Segment", DCM)
TIME_POINT_TYPE = Code("126072", "Time Point Type", DCM)
TIME_POINT_ORDER = Code("126073", "Time Point Order", DCM)
TEMPORAL_OFFSET = Code("128740", "Longitudinal Temporal Offset from Event", DCM)
BASELINE_TIME_POINT = Code("C1442488", "Baseline", UMLS)
NADIR_TIME_POINT = Code("C1708760", "Nadir", UMLS)
ACCESSION = Code("ACSN", "Accession ID", IDENTIFIER_TYPE)
RADIOLOGY = Code("RAD", "Radiology", DIAGNOSTIC_SERVICE)
IMAGING = Code("imaging", "Imaging", OBSERVATION_CATEGORY)
AI_ASSERTED = Code("AIAST", "Artificial Intelligence asserted", OBSERVATION_VALUE)
NOT_DETECTED = Code("ND", "Not detected", INTERPRETATION)
NOT_APPLICABLE = Code("not-applicable", "Not Applicable", ABSENT_REASON)
NOT_PERFORMED = Code("not-performed", "Not Performed", ABSENT_REASON)
ASSEMBLER = Code("assembler", "Assembler", PARTICIPANT_TYPE)
CREATE = Code("CREATE", "create", DATA_OPERATION)
UPDATE = Code("UPDATE", "revise", DATA_OPERATION)

COVERAGE = Code("TP020", "Nominal coverage of prediction interval")
LESION_RESPONSE = Code("TP030", "Volumetric response of this lesion, imaging only")
NEW_LESION = Code("TP037", "Lesion is new at this time point")
LESION_STATUS = Code("TP038", "Lesion status")
LESION_NOT_FOUND = Code("TP039", "Lesion looked for and not found")
VALUE_STATUS = Code("TP040", "Status of the values in this group")
FORECAST_NOT_MEASURED = Code("TP041", "Model forecast, not a measurement")
CALIBRATION = Code("TP044", "Identifier of the calibration of the prediction interval")

FORECAST = Code("TP100", "Forecast tumor volume, not a measurement")
FORECAST_MEDIAN = Code("TP101", "Median of the forecast tumor volume")
FORECAST_LOWER = Code("TP102", "Lower bound of the forecast tumor volume")
FORECAST_UPPER = Code("TP103", "Upper bound of the forecast tumor volume")
FORECAST_HORIZON = Code("TP104", "Forecast horizon after the index study")
FORECAST_DATE = Code("TP105", "Date that is forecast")
FORECAST_START = Code("TP106", "Last observed tumor volume that the forecast starts from")
FORECAST_MODEL = Code("TP107", "Forecast model and its version")
FORECAST_CATEGORY = Code("TP108", "Forecast")
REGION = Code("TP110", "Tumor region")
REFERENCE_DATE = Code("TP120", "Date of the reference time point")
REFERENCE_VOLUME = Code("TP121", "Tumor volume at the reference time point")
CHANGE_INTERVAL = Code("TP122", "Days since the reference time point")
DEVICE_SOFTWARE = Code("TP130", "Gateway software")
DEVICE_SEGMENTATION = Code("TP131", "Tumor segmentation and measurement algorithm")
DEVICE_FORECASTER = Code("TP132", "Tumor volume forecasting algorithm")
DEVICE_PARAMETER = Code("TP133", "Algorithm parameter")

REGIONS: Final = {
    Region.WHOLE: Code("TP111", "Whole tumor volume"),
    Region.CORE: Code("TP112", "Tumor core volume"),
    Region.ENHANCING: Code("TP113", "Enhancing tumor volume"),
    Region.OEDEMA: Code("TP114", "Peritumoral edema and non-enhancing FLAIR hyperintensity volume"),
}
ABSOLUTE_CHANGES: Final = {
    Reference.BASELINE: Code("TP011", "Volume change since baseline"),
    Reference.NADIR: Code("TP012", "Volume change since nadir"),
    Reference.PREVIOUS: Code("TP013", "Volume change since previous time point"),
}
RELATIVE_CHANGES: Final = {
    Reference.BASELINE: Code("TP014", "Relative volume change since baseline"),
    Reference.NADIR: Code("TP015", "Relative volume change since nadir"),
    Reference.PREVIOUS: Code("TP016", "Relative volume change since previous time point"),
}
_NO_RESPONSE: Final = {
    Response.BASELINE: Code("TP031", "Baseline, no response to state"),
    Response.NOT_EVALUABLE: Code("TP032", "Response not evaluable"),
}
PATIENT_RESPONSES: Final = _NO_RESPONSE | {
    Response.COMPLETE: Code("112041", "Target Lesion Complete Response", DCM),
    Response.PARTIAL: Code("112042", "Target Lesion Partial Response", DCM),
    Response.STABLE: Code("112044", "Target Lesion Stable Disease", DCM),
    Response.PROGRESSIVE: Code("112043", "Target Lesion Progressive Disease", DCM),
}
"""CID 6143, worded for RECIST; the method beside it says RANO, and the text says it plainly (`RESPONSE_TEXTS`)."""

LESION_RESPONSES: Final = _NO_RESPONSE | {
    Response.COMPLETE: Code("TP033", "Lesion not found any more"),
    Response.PARTIAL: Code("TP034", "Lesion volume decreased beyond the partial response limit"),
    Response.STABLE: Code("TP036", "Lesion volume within the limits of stable disease"),
    Response.PROGRESSIVE: Code("TP035", "Lesion volume increased beyond the progression limit"),
}
RESPONSE_TEXTS: Final = {
    Response.BASELINE: "Baseline, no response to state",
    Response.NOT_EVALUABLE: "Response not evaluable",
    Response.COMPLETE: "Complete response",
    Response.PARTIAL: "Partial response",
    Response.STABLE: "Stable disease",
    Response.PROGRESSIVE: "Progressive disease",
}


def own_codes() -> dict[str, str]:
    """Value and display of every code of our own scheme that the resources use."""
    tables: list[dict[Any, Code]] = [REGIONS, ABSOLUTE_CHANGES, RELATIVE_CHANGES, PATIENT_RESPONSES, LESION_RESPONSES]
    listed = [code for table in tables for code in table.values()]
    single = [value for value in globals().values() if isinstance(value, Code)]
    return {code.value: code.display for code in (*single, *listed) if code.system is None}

"""Coded concepts of the resources: standard codes where one exists, Timepoint's own where none does.

Standard codes are those of the SR (PS3.16 TID 1500, CID 7469, CID 6143), so that both encodings of a result say the
same. Own codes have at most 16 characters and therefore also fit a DICOM Code Value (PS3.5, VR SH).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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

DEFAULT_CODE_SYSTEM: Final = "urn:oid:2.25.152272773073095458168148778320414366098"
"""Timepoint's own code system. A site that publishes the code list elsewhere sets `PublishContext.code_system`."""


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
STANDARD_DEVIATION = Code("386136009", "Standard Deviation", SCT)
BRAIN = Code("12738006", "Brain structure", SCT)
NEOPLASM = Code("108369006", "Neoplasm", SCT)
VOXEL_SUM = Code("126030", "Sum of segmented voxel method for volume", DCM)
RANO = Code("C114879", "RANO", NCIT)
MEASUREMENT_GROUP = Code("125007", "Measurement Group", DCM)
ONCOLOGY_REPORT = Code("126001", "Oncology Measurement Report", DCM)
CURRENT_RESPONSE = Code("112048", "Current Response", DCM)
STUDY_INSTANCE_UID = Code("110180", "Study Instance UID", DCM)
TRACKING_IDENTIFIER = Code("112039", "Tracking Identifier", DCM)
TRACKING_UID = Code("112040", "Tracking Unique Identifier", DCM)
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

CHANGE = Code("CHG-ABSOLUTE", "Change of tumour volume")
RELATIVE_CHANGE = Code("CHG-RELATIVE", "Change of tumour volume relative to the reference volume")
CHANGE_REFERENCE = Code("CHG-REFERENCE", "Time point that the change is measured against")
REFERENCE_DATE = Code("CHG-REF-DATE", "Date of the reference time point")
REFERENCE_VOLUME = Code("CHG-REF-VOLUME", "Tumour volume at the reference time point")
CHANGE_INTERVAL = Code("CHG-INTERVAL", "Days since the reference time point")
CHANGE_RELIABLE = Code("CHG-RELIABLE", "Change exceeds what repeat measurement of an unchanged lesion shows (95 %)")
REGION = Code("REGION", "Tumour region")
NEW_LESION = Code("NEW-LESION", "Lesion not seen at any earlier time point")
RESPONSE_METHOD = Code("RESP-VOLUMETRIC", "Volumetric response in the manner of RANO, from imaging alone")
FORECAST = Code("FORECAST-VOLUME", "Forecast tumour volume (not a measurement)")
FORECAST_CATEGORY = Code("FORECAST", "Forecast")
FORECAST_MEDIAN = Code("FC-MEDIAN", "Median of the forecast tumour volume")
FORECAST_LOWER = Code("FC-LOWER", "Lower bound of the forecast interval")
FORECAST_UPPER = Code("FC-UPPER", "Upper bound of the forecast interval")
FORECAST_COVERAGE = Code("FC-COVERAGE", "Stated coverage of the forecast interval")
FORECAST_HORIZON = Code("FC-HORIZON", "Forecast horizon after the index study")
FORECAST_DATE = Code("FC-DATE", "Date that is forecast")
FORECAST_START = Code("FC-START", "Last observed tumour volume that the forecast starts from")
FORECAST_MODEL = Code("FC-MODEL", "Forecast model")
FORECAST_CALIBRATION = Code("FC-CALIBRATION", "Calibration of the forecast interval")
DEVICE_SOFTWARE = Code("DEV-GATEWAY", "Gateway software")
DEVICE_SEGMENTATION = Code("DEV-SEGMENT", "Tumour segmentation and measurement algorithm")
DEVICE_FORECASTER = Code("DEV-FORECAST", "Tumour volume forecasting algorithm")
DEVICE_PARAMETER = Code("DEV-PARAMETER", "Algorithm parameter")

REGIONS: Final = {
    Region.WHOLE: Code("VOL-WHOLE", "Whole tumour volume"),
    Region.CORE: Code("VOL-CORE", "Tumour core volume"),
    Region.ENHANCING: Code("VOL-ENHANCING", "Enhancing tumour volume"),
    Region.OEDEMA: Code("VOL-OEDEMA", "Peritumoural oedema / non-enhancing FLAIR hyperintensity volume"),
}
REFERENCES: Final = {
    Reference.BASELINE: Code("REF-BASELINE", "Baseline"),
    Reference.NADIR: Code("REF-NADIR", "Nadir"),
    Reference.PREVIOUS: Code("REF-PREVIOUS", "Previous time point"),
}
RESPONSES: Final = {
    Response.COMPLETE: Code("RESP-CR", "Complete response"),
    Response.PARTIAL: Code("RESP-PR", "Partial response"),
    Response.STABLE: Code("RESP-SD", "Stable disease"),
    Response.PROGRESSIVE: Code("RESP-PD", "Progressive disease"),
    Response.NOT_EVALUABLE: Code("RESP-NE", "Not evaluable"),
}
LESION_RESPONSES: Final = {
    Response.COMPLETE: Code("112041", "Target Lesion Complete Response", DCM),
    Response.PARTIAL: Code("112042", "Target Lesion Partial Response", DCM),
    Response.STABLE: Code("112044", "Target Lesion Stable Disease", DCM),
    Response.PROGRESSIVE: Code("112043", "Target Lesion Progressive Disease", DCM),
}
"""CID 6143; worded for one target lesion, so the patient's own category carries only our code."""

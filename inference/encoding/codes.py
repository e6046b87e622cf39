"""Every coded concept that the encoders write, with its source.

Standard codes come from PS3.16 (the context group is named beside each); what no standard code says is in the
private scheme 99TIMEPOINT, published in `docs/codes.md` and declared in each object that uses it
(Coding Scheme Identification Sequence, PS3.3 C.12.1.1.5).
"""

from __future__ import annotations

from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from longitudinal.types import Reference, Response

PRIVATE_SCHEME = "99TIMEPOINT"
PRIVATE_SCHEME_VERSION = "1"
PRIVATE_SCHEME_UID = "2.25.248743496101459958618204982848143287468"
"""Drawn once at random (ITU-T X.667); names the scheme for good."""


def _own(value: str, meaning: str) -> Code:
    code = Code(value, PRIVATE_SCHEME, meaning)
    PRIVATE_CODES[value] = meaning
    return code


PRIVATE_CODES: dict[str, str] = {}
"""Code value -> meaning of everything in 99TIMEPOINT; `docs/codes.md` is checked against it."""

# Document titles, CID 7021. OHIF shows a report of volumetric groups only under the oncology title, and draws
# calipers only under the imaging title.
ONCOLOGY_REPORT = Code("126001", "DCM", "Oncology Measurement Report")
IMAGING_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
MRI_PROCEDURE = Code("25056-3", "LN", "MRI unspecified body region")  # CID 100
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500 row 12

PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")  # CID 7005
DEVICE_OBSERVER = Code("121007", "DCM", "Device")  # CID 270

# Segments, CID 7150, 7151, 7168
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")
ENHANCING_LESION = Code("C113842", "NCIt", "Enhancing Lesion")
NECROSIS = Code("6574001", "SCT", "Necrosis")
OEDEMA = Code("79654002", "SCT", "Edema")
BRAIN = Code("12738006", "SCT", "Brain")
TUMOUR_CORE = _own("TP001", "Tumor core (enhancing and non-enhancing or necrotic tumor)")
RESECTION_CAVITY = _own("TP002", "Resection cavity")
NO_LESION = _own("TP003", "No lesion found by the algorithm")

# Quantities, CID 7469, 7470, 218
VOLUME = Code("118565006", "SCT", "Volume")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")  # the capital A is what Cornerstone's readers compare with
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
DIAMETER_PRODUCT = _own("TP010", "Product of perpendicular diameters")
MAXIMUM_3D_DIAMETER = Code("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh")
SURFACE_AREA = Code("C0JK", "IBSI", "Surface Area of Mesh")
SPHERICITY = Code("QCFX", "IBSI", "Sphericity")
ABSOLUTE_CHANGE = {
    Reference.BASELINE: _own("TP011", "Volume change since baseline"),
    Reference.NADIR: _own("TP012", "Volume change since nadir"),
    Reference.PREVIOUS: _own("TP013", "Volume change since previous time point"),
}
RELATIVE_CHANGE = {
    Reference.BASELINE: _own("TP014", "Relative volume change since baseline"),
    Reference.NADIR: _own("TP015", "Relative volume change since nadir"),
    Reference.PREVIOUS: _own("TP016", "Relative volume change since previous time point"),
}
FORECAST_MEDIAN = _own("TP101", "Median of the forecast tumor volume")
FORECAST_START = _own("TP106", "Last observed tumor volume that the forecast starts from")
NOMINAL_COVERAGE = _own("TP020", "Nominal coverage of prediction interval")

# Units, UCUM
CUBIC_CENTIMETRE = Code("cm3", "UCUM", "cubic centimeter")  # CID 7462; 1 cm3 = 1 ml
MILLIMETRE = Code("mm", "UCUM", "mm")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
PERCENT = Code("%", "UCUM", "Percent")
DAY = Code("d", "UCUM", "day")
NO_UNITS = Code("1", "UCUM", "no units")

# Modifiers and properties of a measurement, TID 300, TID 310, TID 1419
VOXEL_SUM = Code("126030", "DCM", "Sum of segmented voxel method for volume")  # CID 7474
RANO = Code("C114879", "NCIt", "RANO")  # CID 6147
UNCERTAINTY = Code("371884006", "SCT", "+/-, range of measurement uncertainty")  # CID 225
UPPER_UNCERTAINTY = Code("371886008", "SCT", "+, range of upper measurement uncertainty")
LOWER_UNCERTAINTY = Code("371885007", "SCT", "-, range of lower measurement uncertainty")
EQUIVALENT_MEANING = Code("121050", "DCM", "Equivalent Meaning of Concept Name")
DERIVATION = Code("121401", "DCM", "Derivation")
SIGNIFICANCE = Code("121403", "DCM", "Level of Significance")
SIGNIFICANT = Code("386134007", "SCT", "Significant")  # CID 220
NOT_SIGNIFICANT = Code("371928007", "SCT", "Not significant")
CALCULATED = Code("258090004", "SCT", "Calculated")  # CID 3627
ESTIMATED = Code("414135002", "SCT", "Estimated")  # CID 3627
FRACTIONAL_CHANGE = Code("125314", "DCM", "Fractional Change")
AI_FAMILY = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162

# Time points, TID 1502, CID 6146
BASELINE = Code("C1442488", "UMLS", "Baseline")
NADIR = Code("C1708760", "UMLS", "Nadir")
CURRENT_STUDY = _own("TP021", "Current study")

# Response, CID 6143 (worded for RECIST; the method beside it says RANO)
CURRENT_RESPONSE = Code("112048", "DCM", "Current Response")
RESPONSE_METHOD = Code("112021", "DCM", "Response Evaluation Method")
LESION_RESPONSE = _own("TP030", "Volumetric response of this lesion, imaging only")
PATIENT_RESPONSE_VALUES = {
    Response.COMPLETE: Code("112041", "DCM", "Target Lesion Complete Response"),
    Response.PARTIAL: Code("112042", "DCM", "Target Lesion Partial Response"),
    Response.PROGRESSIVE: Code("112043", "DCM", "Target Lesion Progressive Disease"),
    Response.STABLE: Code("112044", "DCM", "Target Lesion Stable Disease"),
    Response.BASELINE: _own("TP031", "Baseline, no response to state"),
    Response.NOT_EVALUABLE: _own("TP032", "Response not evaluable"),
}
LESION_RESPONSE_VALUES = {
    Response.COMPLETE: _own("TP033", "Lesion not found any more"),
    Response.PARTIAL: _own("TP034", "Lesion volume decreased beyond the partial response limit"),
    Response.PROGRESSIVE: _own("TP035", "Lesion volume increased beyond the progression limit"),
    Response.STABLE: _own("TP036", "Lesion volume within the limits of stable disease"),
    Response.BASELINE: PATIENT_RESPONSE_VALUES[Response.BASELINE],
    Response.NOT_EVALUABLE: PATIENT_RESPONSE_VALUES[Response.NOT_EVALUABLE],
}
NEW_LESION = _own("TP037", "Lesion is new at this time point")
LESION_STATUS = _own("TP038", "Lesion status")
LESION_NOT_FOUND = _own("TP039", "Lesion looked for and not found")

# Status and notes
VALUE_STATUS = _own("TP040", "Status of the values in this group")
FORECAST_NOT_MEASURED = _own("TP041", "Model forecast, not a measurement")
UNION_OF_SEGMENTS = _own("TP042", "Sum of segments of this lesion, no segment of its own")
ALGORITHM_NOTE = _own("TP043", "Note of the algorithm")
CALIBRATION = _own("TP044", "Identifier of the calibration of the prediction interval")

# Series descriptions (Series Description Code Sequence, 0008,103F)
SERIES_SEGMENTATION = _own("TP050", "Tumor segmentation")
SERIES_MEASUREMENTS = _own("TP051", "Tumor measurements")
SERIES_DIAMETERS = _own("TP052", "Tumor diameters")
SERIES_FORECAST = _own("TP053", "Tumor volume forecast")
SERIES_SUMMARY = _own("TP054", "Tumor summary page")

# Display colours, chosen apart in hue and lightness so that red-green colour blindness does not merge them
COLOUR_WHOLE = CIELabColor.from_rgb(255, 255, 255)
COLOUR_CORE = CIELabColor.from_rgb(204, 121, 167)
COLOUR_ENHANCING = CIELabColor.from_rgb(230, 159, 0)
COLOUR_NECROTIC = CIELabColor.from_rgb(86, 60, 180)
COLOUR_OEDEMA = CIELabColor.from_rgb(86, 180, 233)
COLOUR_CAVITY = CIELabColor.from_rgb(0, 158, 115)


def private_scheme_item() -> Dataset:
    """The item that declares 99TIMEPOINT (Coding Scheme Identification Sequence, 0008,0110)."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = PRIVATE_SCHEME_UID
    item.CodingSchemeName = "Timepoint private codes"
    item.CodingSchemeVersion = PRIVATE_SCHEME_VERSION
    item.CodingSchemeResponsibleOrganization = "Timepoint"
    return item

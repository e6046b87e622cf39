"""One way to read measurement reports and segmentations, ours and those of other toolkits.

Works on any TID 1500 tree (our own, dcmqi's, highdicom's) and any BINARY, FRACTIONAL or LABELMAP SEG. The numbers of
the time point context (TID 1502), which other readers list among the measurements, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.encoding import codes
from inference.encoding.errors import EncodingError

_TO_ML = {"ml": 1.0, "mL": 1.0, "cm3": 1.0, "cc": 1.0, "mm3": 1e-3, "ul": 1e-3, "uL": 1e-3, "dm3": 1e3, "l": 1e3}
_VOLUMES = frozenset({("SCT", "118565006"), ("SRT", "G-D705"), ("99SDM", "G-D705"), ("IBSI", "RNU0"), ("IBSI", "YEKZ")})
_CONTEXT_NUMBERS = frozenset({("DCM", "126073"), ("DCM", "128740")})
_GROUP = ("DCM", "125007")
_TRACKING_ID, _TRACKING_UID = ("DCM", "112039"), ("DCM", "112040")
_FINDING, _REFERENCED_SEGMENT = ("DCM", "121071"), ("DCM", "121191")
_DERIVATION, _ESTIMATED = ("DCM", "121401"), ("SCT", "414135002")
_UNCERTAINTIES = frozenset({("SCT", "371884006"), ("SCT", "371886008"), ("SCT", "371885007")})
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


@dataclass(frozen=True)
class ReadNumber:
    """One NUM of a group. `value` is None where only a qualifier is given; `uncertainty` holds (concept code value,
    half-width, unit) as written."""

    name: Code
    value: float | None
    unit: str
    derivation: Code | None
    uncertainty: tuple[tuple[str, float, str], ...]

    @property
    def is_volume(self) -> bool:
        return (self.name.scheme_designator, self.name.value) in _VOLUMES

    @property
    def volume_ml(self) -> float | None:
        """The value in millilitres, None where this is no volume or its unit is none of volume."""
        if not self.is_volume or self.value is None or self.unit not in _TO_ML:
            return None
        return self.value * _TO_ML[self.unit]


@dataclass(frozen=True)
class ReadGroup:
    """One measurement group. `segment` is (SOP Instance UID of the SEG, segment number) where one is referenced.

    `template` is the template identifier written on the group ("1411", "1501", ...; empty where none is).
    """

    tracking_id: str
    tracking_uid: str
    template: str
    finding: Code | None
    segment: tuple[str, int] | None
    numbers: tuple[ReadNumber, ...]
    evaluations: tuple[tuple[Code, Code], ...]

    @property
    def volume_ml(self) -> float | None:
        """The first volume of the group in millilitres; a volume summed over voxels goes before a mesh volume."""
        volumes = sorted((n for n in self.numbers if n.volume_ml is not None), key=lambda n: n.name.value == "RNU0")
        return volumes[0].volume_ml if volumes else None

    @property
    def is_forecast(self) -> bool:
        """Whether the values are estimates of a model, told by the derivation or by our status code."""
        stated = any(value.value == codes.FORECAST_NOT_MEASURED.value for _, value in self.evaluations)
        return stated or any(_key(n.derivation) == _ESTIMATED for n in self.numbers if n.derivation is not None)


def read_report(ds: Dataset) -> list[ReadGroup]:
    """All measurement groups of a TID 1500 document, in document order.

    Raises:
        EncodingError: when `ds` is no structured report.
    """
    if "ContentSequence" not in ds or ds.get("Modality") != "SR":
        raise EncodingError(f"SOP class {ds.get('SOPClassUID', 'unknown')} is no structured report with content")
    return [_read_group(item) for item in _walk(ds) if _name_key(item) == _GROUP and item.ValueType == "CONTAINER"]


def _walk(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence") or ():
        yield item
        yield from _walk(item)


def _read_group(group: Dataset) -> ReadGroup:
    children: Sequence[Dataset] = group.get("ContentSequence") or ()
    found = {_name_key(item): item for item in reversed(children)}
    template = group.get("ContentTemplateSequence")
    finding = found.get(_FINDING)
    return ReadGroup(
        tracking_id=str(found[_TRACKING_ID].TextValue) if _TRACKING_ID in found else "",
        tracking_uid=str(found[_TRACKING_UID].UID) if _TRACKING_UID in found else "",
        template=str(template[0].TemplateIdentifier) if template else "",
        finding=_code(finding.ConceptCodeSequence[0]) if finding is not None else None,
        segment=_segment(found.get(_REFERENCED_SEGMENT)),
        numbers=tuple(_read_number(item) for item in children if _is_measured(item)),
        evaluations=tuple(
            (_code(item.ConceptNameCodeSequence[0]), _code(item.ConceptCodeSequence[0]))
            for item in children
            if item.ValueType == "CODE" and item.get("RelationshipType") == "CONTAINS"
        ),
    )


def _is_measured(item: Dataset) -> bool:
    return (
        item.ValueType == "NUM"
        and item.get("RelationshipType") == "CONTAINS"
        and _name_key(item) not in _CONTEXT_NUMBERS
    )


def _read_number(item: Dataset) -> ReadNumber:
    value, unit = _value(item)
    children: Sequence[Dataset] = item.get("ContentSequence") or ()
    derivations = [child for child in children if _name_key(child) == _DERIVATION]
    uncertainty = []
    for child in children:
        if _name_key(child) in _UNCERTAINTIES:
            half_width, its_unit = _value(child)
            uncertainty.append((_name_key(child)[1], half_width or 0.0, its_unit))
    return ReadNumber(
        name=_code(item.ConceptNameCodeSequence[0]),
        value=value,
        unit=unit,
        derivation=_code(derivations[0].ConceptCodeSequence[0]) if derivations else None,
        uncertainty=tuple(uncertainty),
    )


def _value(item: Dataset) -> tuple[float | None, str]:
    measured = item.get("MeasuredValueSequence")
    if not measured:
        return None, ""
    exact = measured[0].get("FloatingPointValue")
    value = float(measured[0].NumericValue) if exact is None else float(exact)
    return value, _code(measured[0].MeasurementUnitsCodeSequence[0]).value


def _segment(item: Dataset | None) -> tuple[str, int] | None:
    if item is None or "ReferencedSOPSequence" not in item:
        return None
    reference = item.ReferencedSOPSequence[0]
    numbers: Any = reference.get("ReferencedSegmentNumber")
    if numbers is None:
        return None
    first = numbers if isinstance(numbers, int) else numbers[0]
    return str(reference.ReferencedSOPInstanceUID), int(first)


def _code(item: Dataset) -> Code:
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(str(value), str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeMeaning", "")))


def _key(code: Code) -> tuple[str, str]:
    return code.scheme_designator, code.value


def _name_key(item: Dataset) -> tuple[str, str]:
    names = item.get("ConceptNameCodeSequence")
    return _key(_code(names[0])) if names else ("", "")


def read_segment_volumes(ds: Dataset) -> dict[int, float]:
    """Volume of each segment of a SEG in millilitres, by segment number, counted from its pixels.

    A FRACTIONAL segment counts where it is at least half of the maximum. The slice distance is Spacing Between Slices,
    where that is absent the smallest step between frame positions, and for a single slice its thickness.

    Raises:
        EncodingError: when `ds` is no SEG, or states no pixel spacing.
    """
    if ds.get("Modality") != "SEG":
        raise EncodingError(f"SOP class {ds.get('SOPClassUID', 'unknown')} is no segmentation")
    segmentation = Segmentation.from_dataset(ds, copy=False) if not isinstance(ds, Segmentation) else ds
    counts = _voxel_counts(segmentation)
    voxel_ml = _voxel_volume_ml(segmentation)
    return {number: count * voxel_ml for number, count in counts.items()}


def _voxel_counts(ds: Dataset) -> dict[int, int]:
    numbers = [int(item.SegmentNumber) for item in ds.SegmentSequence]
    counts = dict.fromkeys(numbers, 0)
    pixels = ds.pixel_array
    if pixels.ndim == 2:
        pixels = pixels[np.newaxis]
    if ds.SOPClassUID == _LABEL_MAP:
        for number in numbers:
            counts[number] = int((pixels == number).sum())
        return counts
    half = int(ds.get("MaximumFractionalValue", 1)) / 2 if ds.SegmentationType == "FRACTIONAL" else 0.5
    shared = ds.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(pixels, ds.PerFrameFunctionalGroupsSequence, strict=True):
        identification = groups.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        counts[int(identification[0].ReferencedSegmentNumber)] += int((frame >= half).sum())
    return counts


def _voxel_volume_ml(ds: Dataset) -> float:
    shared, first = ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence[0]
    measures = (shared.get("PixelMeasuresSequence") or first.get("PixelMeasuresSequence") or [Dataset()])[0]
    if "PixelSpacing" not in measures:
        raise EncodingError("the segmentation states no pixel spacing; its volume cannot be computed")
    distance = float(measures.get("SpacingBetweenSlices") or 0) or _slice_distance(ds, measures)
    return float(measures.PixelSpacing[0]) * float(measures.PixelSpacing[1]) * distance / 1000


def _slice_distance(ds: Dataset, measures: Dataset) -> float:
    shared = ds.SharedFunctionalGroupsSequence[0]
    frames = ds.PerFrameFunctionalGroupsSequence
    orientation = (shared.get("PlaneOrientationSequence") or frames[0].PlaneOrientationSequence)[0]
    cosines = np.array([float(x) for x in orientation.ImageOrientationPatient])
    normal = np.cross(cosines[:3], cosines[3:])
    placed = [(frame.get("PlanePositionSequence") or shared.get("PlanePositionSequence"))[0] for frame in frames]
    positions = np.array([[float(x) for x in place.ImagePositionPatient] for place in placed])
    steps = np.diff(np.unique((positions @ normal).round(3)))
    if steps.size:
        return float(steps.min())
    if not measures.get("SliceThickness"):
        raise EncodingError("the segmentation has one slice and states no thickness; its volume cannot be computed")
    return float(measures.SliceThickness)

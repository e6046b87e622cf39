"""What kind of picture a series is, beside its weighting: plane, 2-D or 3-D, Dixon component, original or computed.

Attributes: PS3.3 C.7.6.1.1.2 (Image Type), C.8.3.1 (MR Image), C.8.13 (Enhanced MR Image).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from inference.series_header import SeriesHeader

OBLIQUE_DEG = 10.0
"""A slice tilted by more than this against its closest anatomical plane is oblique."""


class Plane(StrEnum):
    """The anatomical plane closest to the slices."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    UNKNOWN = "unknown"


class Dixon(StrEnum):
    """Which image of a Dixon (fat-water) acquisition."""

    NONE = ""
    WATER = "water"
    FAT = "fat"
    IN_PHASE = "in-phase"
    OPPOSED = "opposed-phase"


class Origin(StrEnum):
    """Whether the scanner took the image or made it from others."""

    ORIGINAL = "original"
    REFORMAT = "reformat"
    COMPUTED = "computed"


@dataclass(frozen=True, slots=True)
class SeriesTraits:
    """`tilt_deg` is the angle between the slices and `plane`, None where the orientation is not stated."""

    plane: Plane
    tilt_deg: float | None
    volumetric: bool
    dixon: Dixon
    origin: Origin

    @property
    def oblique(self) -> bool:
        return self.tilt_deg is not None and self.tilt_deg > OBLIQUE_DEG


REFORMATS = frozenset({"MPR", "REFORMATTED", "RESAMPLED", "AVERAGE"})
_DIXON_TYPES = {
    Dixon.WATER: {"WATER", "W"},
    Dixon.FAT: {"FAT", "F"},
    Dixon.IN_PHASE: {"IN_PHASE", "INPHASE", "IP", "IN"},
    Dixon.OPPOSED: {"OPP_PHASE", "OUT_PHASE", "OPPOSED_PHASE", "OUTPHASE", "OP", "OPP"},
}
_DIXON_WORDS = {
    Dixon.OPPOSED: r"\b(opp|opposed|opp phase|out ?phase|out of phase|opposition|gegenphase|fuori fase)\b",
    Dixon.IN_PHASE: r"\b(in|in ?phase|en phase|in fase|en fase)\b",
    Dixon.FAT: r"\b(f|fat|fett|graisse|grasso|grasa)\b(?! ?s)",
    Dixon.WATER: r"\b(w|water|wasser|eau|acqua|agua)\b",
}
_DIXON_NAME = r"dixon|flex|ideal|\bwfs\b"
_PLANE_WORDS = {
    Plane.AXIAL: r"\b(ax|axi|axial\w*|tra|trans\w*|assial\w*|tr)\b",
    Plane.SAGITTAL: r"\b(sag|sagit\w*)\b",
    Plane.CORONAL: r"\b(cor|coron\w*|kor\w*|frontal)\b",
}


def traits_of(header: SeriesHeader) -> SeriesTraits:
    """Tell plane, dimension, Dixon component and origin of a series from its header."""
    plane, tilt = _plane(header)
    thickness = header.slice_thickness_mm or 99.0
    return SeriesTraits(
        plane, tilt, header.acquisition_type == "3D" or thickness <= 2.0, dixon_component(header), origin_of(header)
    )


def dixon_component(header: SeriesHeader) -> Dixon:
    """By Image Type, or by name where the name says that it is a Dixon acquisition."""
    for component, values in _DIXON_TYPES.items():
        if values.intersection(header.image_type[2:]):
            return component
    prefixed = re.match(r"(water|fat|in ?phase|out ?phase) ", header.words)  # GE: "WATER: Ax T1 Flex"
    if prefixed or re.search(_DIXON_NAME, header.words):
        for component, pattern in _DIXON_WORDS.items():
            if re.search(pattern, header.words):
                return component
    return Dixon.NONE


def origin_of(header: SeriesHeader) -> Origin:
    """Original, a reformat of the same values on other planes, or computed from other images."""
    if "DERIVED" not in header.image_type:
        return Origin.REFORMAT if REFORMATS.intersection(header.image_type) else Origin.ORIGINAL
    if header.image_type[:2] == ("DERIVED", "SECONDARY") and not REFORMATS.intersection(header.image_type):
        return Origin.COMPUTED
    return Origin.REFORMAT


def _plane(header: SeriesHeader) -> tuple[Plane, float | None]:
    if len(header.orientation) == 6:
        row, column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
        normal = np.cross(row, column)
        length = float(np.linalg.norm(normal))
        if length > 0.5:
            along = np.abs(normal) / length
            planes = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)
            best = int(np.argmax(along))
            return planes[best], math.degrees(math.acos(min(float(along[best]), 1.0)))
    for plane, pattern in _PLANE_WORDS.items():
        if re.search(pattern, header.words):
            return plane, None
    return Plane.UNKNOWN, None

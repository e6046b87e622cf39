"""The words of the domain as data: what is measured, compared, forecast and handed to the encoders.

Coordinates are DICOM patient coordinates (LPS+, millimetres, PS3.3 C.7.6.2.1.1); volumes are millilitres
(1 ml = 1 cm3), times are whole days relative to the baseline study unless a field says otherwise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Point = tuple[float, float, float]
"""A point in LPS millimetres."""


class Contrast(StrEnum):
    """The four MR contrasts of a brain-tumour protocol (BraTS naming in `brats`)."""

    T1C = "t1c"
    T1 = "t1n"
    T2 = "t2w"
    FLAIR = "t2f"


class Compartment(StrEnum):
    """A label of the segmentation; the integer in `label` is the voxel value in `labels.nii.gz`."""

    NECROTIC = "necrotic"
    OEDEMA = "oedema"
    ENHANCING = "enhancing"
    CAVITY = "cavity"

    @property
    def label(self) -> int:
        return _LABELS[self]


_LABELS = {Compartment.NECROTIC: 1, Compartment.OEDEMA: 2, Compartment.ENHANCING: 3, Compartment.CAVITY: 4}


class Region(StrEnum):
    """A union of compartments whose volume is reported (the resection cavity belongs to none)."""

    WHOLE = "whole"
    CORE = "core"
    ENHANCING = "enhancing"
    OEDEMA = "oedema"

    @property
    def compartments(self) -> tuple[Compartment, ...]:
        return _REGIONS[self]

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(c.label for c in _REGIONS[self])


_REGIONS: dict[Region, tuple[Compartment, ...]] = {
    Region.WHOLE: (Compartment.NECROTIC, Compartment.OEDEMA, Compartment.ENHANCING),
    Region.CORE: (Compartment.NECROTIC, Compartment.ENHANCING),
    Region.ENHANCING: (Compartment.ENHANCING,),
    Region.OEDEMA: (Compartment.OEDEMA,),
}


class TumourType(StrEnum):
    """Tumour type as in `patient-histories/1`; UNKNOWN until a person states it."""

    GBM = "GBM"
    ASTROCYTOMA = "ASTRO"
    OLIGODENDROGLIOMA = "OLIGO"
    MENINGIOMA = "MENING"
    METASTASIS = "BM"
    OTHER = "OTHER"
    SCHWANNOMA = "VS"

    @property
    def target(self) -> Region:
        """The region that is followed and forecast for this type: the core where the tumour enhances as a
        rule, the whole tumour for diffuse glioma and where the type is not known."""
        whole = (TumourType.ASTROCYTOMA, TumourType.OLIGODENDROGLIOMA, TumourType.OTHER)
        return Region.WHOLE if self in whole else Region.CORE


class Response(StrEnum):
    """Volumetric response category in the manner of RANO, from imaging alone."""

    BASELINE = "baseline"
    COMPLETE = "CR"
    PARTIAL = "PR"
    STABLE = "SD"
    PROGRESSIVE = "PD"
    NOT_EVALUABLE = "NE"


class Reference(StrEnum):
    """The time point that a change is measured against."""

    BASELINE = "baseline"
    NADIR = "nadir"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class AlgorithmIdentity:
    """What computed a value (TID 4019 Algorithm Identification, FHIR Device)."""

    name: str
    version: str
    weights_sha256: str
    parameters: tuple[str, ...] = ()
    manufacturer: str = "Timepoint"


@dataclass(frozen=True, slots=True)
class Diameter:
    """A straight line between two points of the lesion (LPS mm); `length_mm` is their distance."""

    start: Point
    end: Point
    length_mm: float


@dataclass(frozen=True, slots=True)
class LesionMeasurement:
    """One lesion at one time point, measured on the native grid of the reference series.

    `volumes_ml` and `volume_sd_ml` hold every `Region`; the SD is one standard deviation of repeat
    measurement. `compartments_ml` holds every `Compartment`. Diameters follow RANO: the longest in-plane line
    through the core and the longest perpendicular to it in the same plane, None where there is no core.
    `index` is the voxel value of this lesion in the lesion map of its study.
    """

    index: int
    volumes_ml: Mapping[Region, float]
    volume_sd_ml: Mapping[Region, float]
    compartments_ml: Mapping[Compartment, float]
    centroid: Point
    longest: Diameter | None
    perpendicular: Diameter | None
    diameter_sop_instance_uid: str | None
    max_3d_diameter_mm: float
    surface_area_mm2: float
    sphericity: float


@dataclass(frozen=True, slots=True)
class Change:
    """Change of one region's volume against a reference time point.

    `relative` is a fraction of the reference volume (0.4 = +40 %), None where that volume is zero.
    `reliable` says that the change exceeds what repeat measurement of an unchanged lesion would show (95 %).
    """

    reference: Reference
    reference_date: dt.date
    interval_days: int
    reference_ml: float
    absolute_ml: float
    relative: float | None
    reliable: bool


@dataclass(frozen=True, slots=True)
class LesionResult:
    """One tracked lesion at the time point of a result. `measurement` is None when a lesion that was seen
    before is looked for and not found (volume 0 under the same tracking UID)."""

    tracking_uid: str
    tracking_id: str
    measurement: LesionMeasurement | None
    changes: tuple[Change, ...]
    response: Response
    is_new: bool = False

    def volume_ml(self, region: Region) -> float:
        return self.measurement.volumes_ml[region] if self.measurement else 0.0


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """The forecast volume at one horizon: median and the central interval of the stated coverage."""

    horizon_days: int
    median_ml: float
    lower_ml: float
    upper_ml: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast of the patient's total volume of `region`, all lesions together.

    `abstained` tells why there is none; `points` is then empty. `last_observed_ml` is the volume it starts from.
    """

    tracking_uid: str
    region: Region
    last_observed_ml: float
    points: tuple[ForecastPoint, ...]
    model: AlgorithmIdentity
    calibration_id: str
    abstained: str | None = None


@dataclass(frozen=True, slots=True)
class TimePointContext:
    """Where this study stands in the record (TID 1502). `order` counts from 1 = baseline."""

    order: int
    acquired: dt.date
    days_from_baseline: int
    is_baseline: bool
    is_nadir: bool


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Everything that leaves for one study revision; SEG, SR, FHIR and the pages are encodings of this.

    `study_instance_uid` is the original one. `preliminary` with `warnings` tells what a reader must know.
    `response` is the patient's category at this time point, from all lesions.
    """

    study_instance_uid: str
    revision: int
    timepoint: TimePointContext
    lesions: tuple[LesionResult, ...]
    response: Response
    target: Region
    forecast: Forecast | None
    segmentation: AlgorithmIdentity
    preliminary: bool = False
    warnings: tuple[str, ...] = field(default=())

"""The followed tumour at any day: between time points a blend of the two, after the last the size that is forecast.

Between two time points their signed distances are blended and the level is taken that encloses the volume on the
straight line between the two measured ones. After the last one the surface is moved in or out along its distance until
it encloses the forecast volume: that shows how large, never where.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from gateway.context import Gateway
from gateway.database import read_scope
from gateway.errors import NotAllowed, NotFound
from gateway.results import read_result
from gateway.viewing.surfaces import Surface, surface_at_volume
from gateway.viewing.viewed_study import ViewedStudy, viewed_of_patient
from gateway.viewing.volumes import registered_mask
from inference.contracts import FloatArray, Matrix
from longitudinal.types import Forecast, Region

_MARGIN_MM = 24
_KEPT_PATIENTS = 4


class Bound(StrEnum):
    """Which value of a forecast is shown; measured days have one only."""

    MEDIAN = "median"
    LOWER = "lower"
    UPPER = "upper"


@dataclass(frozen=True)
class DatedShape:
    """The tumour of one time point as signed distance in mm (negative inside), None where nothing was found."""

    day: int
    volume_ml: float
    distance: FloatArray | None


@dataclass(frozen=True)
class PatientShapes:
    """All time points of a patient in one box of its grid, and the forecast made at the last."""

    region: Region
    affine: Matrix
    shapes: Sequence[DatedShape]
    forecast: Forecast | None

    @property
    def last_day(self) -> int:
        """The last day that can be shown."""
        points = self.forecast.points if self.forecast else ()
        return self.shapes[-1].day + max((p.horizon_days for p in points), default=0)


_kept: OrderedDict[tuple[str, ...], PatientShapes] = OrderedDict()
_guard = threading.Lock()


def shapes_of_patient(gateway: Gateway, patient_key: str) -> PatientShapes:
    """Raises NotFound for a patient without time points."""
    with read_scope(gateway.database) as session:
        found = viewed_of_patient(gateway, session, patient_key)
        results = [read_result(session, row.study_key, row.revision) for row, _ in found]
    key = (patient_key, *(f"{v.study_key}-{v.revision}-{v.labels_sha256}" for _, v in found))
    with _guard:
        if key not in _kept:
            days = [r.timepoint.days_from_baseline for r in results]
            _kept[key] = _load([v for _, v in found], days, results[-1].target, results[-1].forecast)
            while len(_kept) > _KEPT_PATIENTS:
                _kept.popitem(last=False)
        return _kept[key]


def shape_at(patient: PatientShapes, day: int, bound: Bound = Bound.MEDIAN) -> Surface | None:
    """The surface on a day after baseline; None where there is no tumour then.

    Raises:
        NotAllowed: for a day before the first time point or after the last forecast.
    """
    first, last = patient.shapes[0].day, patient.last_day
    if not first <= day <= last:
        raise NotAllowed(f"Day {day} is outside of {first} to {last}.")
    before = max((s for s in patient.shapes if s.day <= day), key=lambda s: s.day)
    after = min((s for s in patient.shapes if s.day >= day), key=lambda s: s.day, default=None)
    if after is None:
        field, volume = before.distance, _forecast_ml(patient, day - before.day, bound)
    else:
        field, volume = _blend(before, after, day)
    if field is None or volume <= 0:
        return None
    return surface_at_volume(-field, patient.affine, volume)


def _blend(before: DatedShape, after: DatedShape, day: int) -> tuple[FloatArray | None, float]:
    weight = (day - before.day) / (after.day - before.day) if after.day > before.day else 0.0
    volume = (1 - weight) * before.volume_ml + weight * after.volume_ml
    if before.distance is None or after.distance is None:
        return (before.distance if after.distance is None else after.distance), volume
    return np.asarray((1 - weight) * before.distance + weight * after.distance, dtype=np.float32), volume


def _forecast_ml(patient: PatientShapes, days: int, bound: Bound) -> float:
    made = patient.forecast
    if made is None or not made.points:
        raise NotFound("a forecast at the last study")
    at = [0, *(p.horizon_days for p in made.points)]
    values = {
        Bound.MEDIAN: [p.median_ml for p in made.points],
        Bound.LOWER: [p.lower_ml for p in made.points],
        Bound.UPPER: [p.upper_ml for p in made.points],
    }[bound]
    return float(np.interp(days, at, [made.last_observed_ml, *values]))


def _load(
    viewed: Sequence[ViewedStudy], days: Sequence[int], region: Region, forecast: Forecast | None
) -> PatientShapes:
    grid = viewed[0].registered_grid
    masks = [np.isin(registered_mask(v).array, region.labels) for v in viewed]
    together = np.any(masks, axis=0)
    if not together.any():
        raise NotFound(f"{region.value} in any study of the patient")
    low = [max(int(i.min()) - _MARGIN_MM, 0) for i in np.nonzero(together)]
    high = [int(i.max()) + _MARGIN_MM + 1 for i in np.nonzero(together)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = grid.affine.copy()
    affine[:3, 3] = affine[:3, :3] @ np.array(low, dtype=np.float64) + affine[:3, 3]
    volumes = [float(np.isin(v.analysis.labels.array, region.labels).sum()) * _voxel_ml(v) for v in viewed]
    shapes = [
        DatedShape(day, ml, _distance(np.asarray(mask[box])))
        for day, ml, mask in zip(days, volumes, masks, strict=True)
    ]
    return PatientShapes(region, affine, shapes, forecast)


def _voxel_ml(viewed: ViewedStudy) -> float:
    return float(abs(np.linalg.det(viewed.analysis.labels.affine[:3, :3])) / 1000.0)


def _distance(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> FloatArray | None:
    if not mask.any():
        return None
    signed = distance_transform_edt(~mask) - distance_transform_edt(mask)
    return np.asarray(gaussian_filter(signed, 0.8), dtype=np.float32)

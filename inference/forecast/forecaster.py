"""The forecaster as the gateway calls it: one patient's history in, one `Forecast` out, or the reason for none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch

from inference.forecast.arrays import FLOOR_ML, PatientArrays, arrays_of
from inference.forecast.calibration import MAXIMUM_HORIZON_DAYS
from inference.forecast.model import DEFAULT_MODEL, ForecastModel
from inference.forecast.network import MEDIAN
from inference.forecast.queries import Queries, planned_exposure
from longitudinal.histories import Patient
from longitudinal.types import AlgorithmIdentity, Forecast, ForecastPoint, Region

LARGEST_ML = 200.0
"""Larger volumes lie outside what the model has seen."""

_SURGERY = 3
_FEATURE_LIMITS = {3: 6.5, 4: 20.0}
"""Largest plausible ln(1 + oedema ml) and longest diameter in cm."""


class Forecaster:
    """Forecasts volumes with a trained model. Safe to share between threads: it holds no state of a patient."""

    def __init__(self, model: ForecastModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path = DEFAULT_MODEL) -> Self:
        """Load a model folder of kind "forecast"; the shipped model by default.

        Raises:
            ModelFolderError: when the folder is incomplete, damaged, of another kind, or made for other features.
        """
        return cls(ForecastModel.load(folder))

    @property
    def identity(self) -> AlgorithmIdentity:
        return self.model.identity

    def forecast(
        self, patient: Patient, horizons_days: Sequence[int], *, tracking_uid: str, region: Region | None = None
    ) -> Forecast:
        """Forecast the patient's total target volume at days after the last scan, from one scan on.

        Scans whose quality is "fail" are left out. A horizon past 13.5 months, or one that an already decided
        resection lies before, gets no point; when none is left, or the last scan is outside the model's range,
        `abstained` says why and `points` is empty. Whole forecasts depend on nothing after the last scan but
        treatments decided by its day, and not on which other horizons are asked for.

        Args:
            patient: the history; `longitudinal.patient_history.patient_from_record` makes one from a record.
            horizons_days: days after the last scan, each at least 1.
            tracking_uid: tracking UID that names the forecast in its encodings.
            region: the region that is forecast; that of the tumour type by default.

        Raises:
            ValueError: when a horizon is below one day, or `region` is not the region of the tumour type.
        """
        if any(days < 1 for days in horizons_days):
            raise ValueError(f"horizons are days after the last scan, at least 1: {list(horizons_days)}")
        target = patient.tumour_type.target
        if region is not None and region is not target:
            raise ValueError(f"{patient.tumour_type} is followed and forecast by {target} volume, not {region}")
        usable = _usable(patient)
        last_ml = usable.scans[-1].target_cc if usable else patient.scans[-1].target_cc

        def result(points: tuple[ForecastPoint, ...], abstained: str | None) -> Forecast:
            calibration = self.model.calibration.id
            return Forecast(tracking_uid, target, last_ml, points, self.identity, calibration, abstained)

        if usable is None:
            return result((), "No scan of this patient has passed quality control.")
        reason = _out_of_range(usable)
        if reason:
            return result((), reason)
        points = self._points(usable, sorted(set(horizons_days)))
        if not points:
            return result((), _why_no_horizon(horizons_days))
        return result(points, None)

    def _points(self, patient: Patient, horizons_days: Sequence[int]) -> tuple[ForecastPoint, ...]:
        arrays = arrays_of([patient])
        wanted = [days for days in horizons_days if days <= MAXIMUM_HORIZON_DAYS]
        queries = _queries(arrays, wanted)
        resected = planned_exposure(arrays, queries)[:, _SURGERY] > 0
        wanted = [days for days, cut in zip(wanted, resected, strict=True) if not cut]
        if not wanted:
            return ()
        with _one_thread():
            quantiles = self.model.quantiles_ml(arrays, _queries(arrays, wanted))
        coverage = self.model.calibration.coverage
        return tuple(
            ForecastPoint(days, float(row[MEDIAN]), float(row[0]), float(row[-1]), coverage)
            for days, row in zip(wanted, quantiles, strict=True)
        )


def _queries(arrays: PatientArrays, horizons_days: Sequence[int]) -> Queries:
    n = len(horizons_days)
    last = int(arrays.count[0]) - 1
    rows, scans = np.zeros(n, dtype=np.int64), np.full(n, last, dtype=np.int64)
    return Queries(rows, scans, np.asarray(horizons_days, dtype=np.float64))


def _usable(patient: Patient) -> Patient | None:
    scans = tuple(scan for scan in patient.scans if scan.quality.qc != "fail")
    if not scans:
        return None
    # Not validated again: without its first scan a history does not begin on day 0, which nothing here needs.
    return patient if len(scans) == len(patient.scans) else patient.model_copy(update={"scans": scans})


def _out_of_range(patient: Patient) -> str | None:
    last = patient.scans[-1]
    if last.target_cc < FLOOR_ML:
        return f"No tumour was measured in the last scan ({last.target_cc:.2g} ml); regrowth is not forecast."
    if last.target_cc > LARGEST_ML:
        return f"The last volume of {last.target_cc:.0f} ml is above the {LARGEST_ML:.0f} ml that the model knows."
    for number, limit in _FEATURE_LIMITS.items():
        if last.features[number] > limit:
            return "The measurements of the last scan lie outside the range that the model knows."
    return None


def _why_no_horizon(horizons_days: Sequence[int]) -> str:
    if not horizons_days:
        return "No horizon was asked for."
    if min(horizons_days) > MAXIMUM_HORIZON_DAYS:
        return f"Forecasts reach {MAXIMUM_HORIZON_DAYS} days; {min(horizons_days)} days and more were asked for."
    return "A resection is planned before the forecast horizon; the volume after it is not forecast."


@contextmanager
def _one_thread() -> Iterator[None]:
    """A network this small is slower on several threads, and they would be taken from others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

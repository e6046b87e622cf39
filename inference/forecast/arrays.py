"""Histories of many patients as padded arrays: the one form that prior, network and training read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from longitudinal.features import MAXIMUM_VOLUME_ML, MINIMUM_VOLUME_ML
from longitudinal.histories import Patient, Scan
from longitudinal.treatments import TreatmentTable, table_of
from longitudinal.types import TumourType

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TUMOUR_TYPES = tuple(TumourType)
"""The position is the code of the type in `PatientArrays.tumour`."""

OTHER = TUMOUR_TYPES.index(TumourType.OTHER)

FLOOR_ML = 0.1
"""Logarithms are taken of at least this volume: below it a tumour is not found."""

_DEFAULT_SD_LN = 0.1


@dataclass(frozen=True)
class PatientArrays:
    """`days`, `volume_ml`, `sd_ln`: (patients, scans), padded with the last scan; `features` (patients, scans, 10);
    `count` is the number of scans of each patient. Days count from each patient's first scan."""

    pids: tuple[str, ...]
    tumour: Ints
    count: Ints
    days: Floats
    volume_ml: Floats
    sd_ln: Floats
    features: Floats
    treatments: TreatmentTable
    whole_ml: Floats

    def __len__(self) -> int:
        return len(self.pids)

    @cached_property
    def ln_volume(self) -> Floats:
        return np.log(np.maximum(self.volume_ml, FLOOR_ML))

    @cached_property
    def given(self) -> Floats:
        """What was given since the scan before: (patients, scans, 4) as `EXPOSURES`, zero at the first scan."""
        n, scans = self.days.shape
        rows = np.repeat(np.arange(n), scans - 1)
        begin, until = self.days[:, :-1].ravel(), self.days[:, 1:].ravel()
        between = self.treatments.exposure(rows, begin, until, None).reshape(n, scans - 1, 4)
        return np.concatenate([np.zeros((n, 1, 4)), between], axis=1)

    def take(self, rows: Ints) -> PatientArrays:
        """The patients `rows`, in that order."""
        t = self.treatments
        return PatientArrays(
            tuple(self.pids[int(row)] for row in rows),
            self.tumour[rows],
            self.count[rows],
            self.days[rows],
            self.volume_ml[rows],
            self.sd_ln[rows],
            self.features[rows],
            TreatmentTable(t.kind[rows], t.decided[rows], t.start[rows], t.end[rows]),
            self.whole_ml[rows],
        )

    def of_unknown_type(self) -> PatientArrays:
        """The same patients as if nobody had stated the tumour type: they are followed by the whole tumour then."""
        features = self.features.copy()
        features[..., 0] = np.log(np.clip(self.whole_ml, MINIMUM_VOLUME_ML, MAXIMUM_VOLUME_ML))
        return dataclasses.replace(
            self, tumour=np.full_like(self.tumour, OTHER), volume_ml=self.whole_ml, features=features
        )


def arrays_of(patients: Sequence[Patient]) -> PatientArrays:
    """Patients as arrays.

    Raises:
        ValueError: when there is no patient.
    """
    if not patients:
        raise ValueError("there is no patient to forecast")
    count = np.array([len(p.scans) for p in patients], dtype=np.int64)
    shape = (len(patients), int(count.max()))
    days, volume, whole, sd = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    features = np.zeros((*shape, 10))
    for row, patient in enumerate(patients):
        n = len(patient.scans)
        days[row, :n] = [s.t for s in patient.scans]
        volume[row, :n] = [s.target_cc for s in patient.scans]
        whole[row, :n] = [_whole_ml(s) for s in patient.scans]
        sd[row, :n] = [s.target_sd_ln or _DEFAULT_SD_LN for s in patient.scans]
        features[row, :n] = [s.features for s in patient.scans]
        for padded in (days, volume, whole, sd, features):
            padded[row, n:] = padded[row, n - 1]
    tumour = np.array([TUMOUR_TYPES.index(p.tumour_type) for p in patients], dtype=np.int64)
    pids = tuple(p.pid for p in patients)
    return PatientArrays(pids, tumour, count, days, volume, sd, features, table_of(patients), whole)


def _whole_ml(scan: Scan) -> float:
    """Volume of the whole tumour; a scan whose compartments were not told apart has only its target."""
    v = scan.volume_cc
    return max(v.enhancing + v.necrotic + v.oedema, scan.target_cc)

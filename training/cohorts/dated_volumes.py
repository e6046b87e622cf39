"""Patients of `patient-histories/1` from tables of dated volumes, where there are no masks to measure shape on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from longitudinal.features import ScanQuantities, feature_vector
from longitudinal.histories import Patient, Scan, Treatment, Volumes
from longitudinal.treatments import treatment_flags, treatment_table
from longitudinal.types import Region, TumourType
from training.simulate.histories_parameters import measurement_sd_ln

TYPICAL_SPHERICITY = 0.7
"""Stands where no mask was measured: the middle of what the simulator draws."""


class CohortError(ValueError):
    """A table of a public cohort cannot be read; the message says where and what is wrong."""


@dataclass(frozen=True)
class DatedVolumes:
    """One scan: `day` counts from any fixed day of the patient; volumes in ml."""

    day: int
    enhancing_ml: float = 0.0
    necrotic_ml: float = 0.0
    oedema_ml: float = 0.0
    cavity_ml: float = 0.0


@dataclass(frozen=True)
class CohortPatient:
    """A patient of a table. `treatments` count days as the scans do; `name` is replaced by a `pid` of its hash."""

    name: str
    tumour_type: TumourType
    scans: Sequence[DatedVolumes]
    treatments: Sequence[Treatment] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def patient_of(source: CohortPatient) -> Patient:
    """The patient, with day 0 at the first scan.

    Longest diameter is that of a sphere of the volume and sphericity a typical one: the table has no shapes.

    Raises:
        CohortError: when the patient has no scan.
    """
    if not source.scans:
        raise CohortError(f"patient {source.name} has no scan")
    scans = sorted(source.scans, key=lambda s: s.day)
    first = scans[0].day
    treatments = tuple(_moved(t, first) for t in source.treatments)
    days = np.array([[float(s.day - first) for s in scans]])
    target = np.array([[_target_ml(source.tumour_type, s) for s in scans]])
    rows = feature_vector(
        ScanQuantities(
            target_ml=target,
            enhancing_ml=np.array([[s.enhancing_ml for s in scans]]),
            necrotic_ml=np.array([[s.necrotic_ml for s in scans]]),
            oedema_ml=np.array([[s.oedema_ml for s in scans]]),
            longest_mm=1.1 * (6000 * target / np.pi) ** (1 / 3),
            sphericity=np.where(target > 0, TYPICAL_SPHERICITY, 1.0),
            days_from_baseline=days,
            interval_days=np.diff(days, axis=1, prepend=0.0),
            **treatment_flags(treatment_table([treatments]), days),  # type: ignore[arg-type]  # named as its fields
        )
    )[0]
    sd_ln = measurement_sd_ln(target[0])
    made = [
        Scan(
            t=s.day - first,
            volume_cc=Volumes(enhancing=s.enhancing_ml, necrotic=s.necrotic_ml, oedema=s.oedema_ml, cavity=s.cavity_ml),
            target_cc=float(volume),
            target_sd_ln=float(sd),
            features=tuple(row.tolist()),
        )
        for s, volume, sd, row in zip(scans, target[0], sd_ln, rows, strict=True)
    ]
    pid = "p-" + hashlib.sha256(source.name.encode()).hexdigest()[:12]
    return Patient(pid=pid, tumour_type=source.tumour_type, treatments=treatments, scans=tuple(made), **source.facts)


def cycles(kind: Any, start: int, last: int, length_days: int) -> list[Treatment]:
    """A treatment given until `last` as cycles that are each decided when they begin.

    A table tells when a course ended, which is often because the tumour grew: a forecast must not know it.
    """
    begins = range(start, max(last, start) + 1, length_days)
    return [Treatment(kind=kind, decided=b, start=b, stop=min(b + length_days - 1, max(last, b))) for b in begins]


def _target_ml(tumour_type: TumourType, scan: DatedVolumes) -> float:
    core = scan.enhancing_ml + scan.necrotic_ml
    return core if tumour_type.target is Region.CORE else core + scan.oedema_ml


def _moved(treatment: Treatment, first: int) -> Treatment:
    stop = None if treatment.stop is None else treatment.stop - first
    return treatment.model_copy(
        update={"decided": treatment.decided - first, "start": treatment.start - first, "stop": stop}
    )

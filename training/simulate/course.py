"""Simulated patients: who they are, which lesions they have, and how these change from study to study."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from longitudinal.types import TumourType
from training.simulate.tumour import Growth


class Course(StrEnum):
    """What the disease does over the simulated time."""

    PROGRESSIVE = "progressive"
    REGRESSIVE = "regressive"
    STABLE = "stable"


@dataclass(frozen=True)
class Treatment:
    """A course of treatment between two dates (both included)."""

    kind: str
    start: dt.date
    end: dt.date


@dataclass(frozen=True)
class LesionCourse:
    """Volumes of one lesion at every time point; the core includes a resection cavity of `cavity_ml`."""

    growth: Growth
    cavity_ml: float
    core_ml: tuple[float, ...]
    whole_ml: tuple[float, ...]


@dataclass(frozen=True)
class Patient:
    """A simulated patient. `character_set` is the DICOM Specific Character Set that writes `name`."""

    index: int
    seed: int
    patient_id: str
    issuer: str
    name: str
    character_set: tuple[str, ...]
    sex: str
    born: dt.date
    tumour_type: TumourType
    course: Course
    dates: tuple[dt.date, ...]
    lesions: tuple[LesionCourse, ...]
    treatments: tuple[Treatment, ...]


_PEOPLE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("Nowak^Zofia Łucja", ("ISO_IR 192",), "F"),
    ("Testmann^Jörg", ("ISO_IR 100",), "M"),
    ("Sample^Robert^Q", (), "M"),
    ("Иванова^Анна", ("ISO_IR 144",), "F"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", ("", "ISO 2022 IR 87"), "M"),
    ("Παπαδοπούλου^Ελένη", ("ISO_IR 192",), "F"),
)
_TYPES = (TumourType.GBM, TumourType.METASTASIS, TumourType.ASTROCYTOMA, TumourType.GBM)
_GROWTHS = {
    TumourType.GBM: Growth.RING,
    TumourType.METASTASIS: Growth.SOLID,
    TumourType.ASTROCYTOMA: Growth.DIFFUSE,
}
_COURSES = tuple(Course)
_CORE_LIMIT_ML, _WHOLE_LIMIT_ML = 70.0, 170.0


def simulate_patient(index: int, timepoints: int, seed: int) -> Patient:
    """Draw patient number `index` (from 0) of the simulation `seed`; every course and tumour type comes in turn."""
    rng = np.random.default_rng([seed, index, 1])
    name, characters, sex = _PEOPLE[index % len(_PEOPLE)]
    kind, course = _TYPES[index % len(_TYPES)], _COURSES[index % len(_COURSES)]
    dates = _study_dates(rng, timepoints)
    born = dates[0] - dt.timedelta(days=int(rng.integers(30 * 365, 80 * 365)))
    return Patient(
        index=index,
        seed=int(np.random.SeedSequence([seed, index]).generate_state(1)[0]),
        patient_id=f"SIM{seed}-{index + 1:04d}",
        issuer="SIMULATION",
        name=name,
        character_set=characters,
        sex=sex,
        born=born,
        tumour_type=kind,
        course=course,
        dates=dates,
        lesions=tuple(_lesion(rng, kind, course, dates, n) for n in range(_lesion_count(rng, kind))),
        treatments=_treatments(course, kind, dates),
    )


def _study_dates(rng: np.random.Generator, timepoints: int) -> tuple[dt.date, ...]:
    day = dt.date(2021, 1, 4) + dt.timedelta(days=int(rng.integers(0, 700)))
    dates = [day]
    for _ in range(timepoints - 1):
        day = day + dt.timedelta(days=int(np.clip(rng.normal(91, 12), 56, 130)))
        dates.append(day)
    return tuple(dates)


def _lesion_count(rng: np.random.Generator, kind: TumourType) -> int:
    return int(rng.integers(2, 4)) if kind is TumourType.METASTASIS else 1


def _lesion(
    rng: np.random.Generator, kind: TumourType, course: Course, dates: tuple[dt.date, ...], number: int
) -> LesionCourse:
    growth = _GROWTHS[kind]
    small = kind is TumourType.METASTASIS
    core = float(rng.uniform(2.0, 5.0) * 0.7**number if small else rng.uniform(10.0, 24.0))
    extent = float(rng.uniform(2.4, 4.0) if growth is not Growth.DIFFUSE else rng.uniform(1.7, 2.5))
    if small and core > 2.5:
        growth = Growth.RING
    operated = growth is Growth.RING and not small and rng.random() < 0.25
    cavity = core * float(rng.uniform(0.15, 0.3)) if operated else 0.0
    factors = _volume_factors(rng, kind, course, dates)
    cores = tuple(float(min(max(core * f, 1.6 * cavity, 0.25), _CORE_LIMIT_ML)) for f in factors)
    wholes = tuple(
        float(min(max(core * extent * f**0.8, c * 1.05), _WHOLE_LIMIT_ML)) for f, c in zip(factors, cores, strict=True)
    )
    return LesionCourse(growth, cavity, cores, wholes)


def _volume_factors(
    rng: np.random.Generator, kind: TumourType, course: Course, dates: tuple[dt.date, ...]
) -> list[float]:
    """Volume relative to baseline. Doubling times under treatment lie between the untreated ones (GBM 21-50 days,
    metastases 86-139 days, lower-grade glioma years) and stable disease."""
    days = np.array([(d - dates[0]).days for d in dates], dtype=float)
    if course is Course.PROGRESSIVE:
        doubling = {TumourType.GBM: (70, 140), TumourType.METASTASIS: (90, 170)}.get(kind, (250, 500))
        exponent = days / rng.uniform(*doubling)
        return [float(2.0 ** (3.2 * (1 - np.exp(-e / 3.2)))) for e in exponent]
    if course is Course.REGRESSIVE:
        floor, half_life = rng.uniform(0.12, 0.3), rng.uniform(60, 130)
        return [float(floor + (1 - floor) * 0.5 ** (d / half_life)) for d in days]
    return [1.0] + [float(np.exp(rng.normal(0, 0.025))) for _ in days[1:]]


def _treatments(course: Course, kind: TumourType, dates: tuple[dt.date, ...]) -> tuple[Treatment, ...]:
    if course is Course.STABLE:
        return ()
    start = dates[0] + dt.timedelta(days=10)
    if kind is TumourType.METASTASIS:
        return (Treatment("SRS", start, start),)
    return (
        Treatment("RT", start, start + dt.timedelta(days=42)),
        Treatment("TMZ", start, start + dt.timedelta(days=200)),
    )

"""Coarsening of histories before they leave the hospital: rounded times, and fields that single a patient out blanked.

Every combination of the descriptive fields is shared by at least k patients afterwards (k-anonymity, Sweeney 2002);
what stands alone is blanked field by field, the least useful first. The volume curves themselves are kept: they are
what the export is for, they are not k-anonymous, and the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longitudinal.features import ScanQuantities, feature_vector
from longitudinal.histories import Deidentification, Histories, Patient, Scan, Treatment
from longitudinal.treatments import treatment_flags, treatment_table
from longitudinal.types import TumourType

BLANKED_IN_TURN = ("codel_1p19q", "mgmt", "who_grade", "idh", "sex", "age_decade", "tumour_type")
"""Fields that describe a patient, in the order in which they are given up."""


@dataclass(frozen=True)
class DisclosureReport:
    """What was done. `blanked` counts patients by field ("tumour_type" became OTHER), `agents` and `scanners` count
    the names removed because fewer than `k` patients share them. `smallest_class` is the smallest number of patients
    with one combination of the fields left; `reached` says whether it is at least `k`."""

    patients: int
    k: int
    interval_days: int
    blanked: Mapping[str, int]
    agents: int
    scanners: int
    smallest_class: int
    reached: bool
    sentences: tuple[str, ...]


def coarsen(histories: Histories, interval_days: int = 14, k: int = 5) -> tuple[Histories, DisclosureReport]:
    """Round all times to `interval_days` and blank what fewer than `k` patients share. No patient is dropped.

    A patient whose tumour type is blanked is followed by the whole tumour from then on, as `TumourType.OTHER` is.

    Raises:
        ValueError: when `interval_days` or `k` is below 1.
    """
    if interval_days < 1 or k < 1:
        raise ValueError(f"interval_days and k are at least 1, not {interval_days} and {k}")
    fields = _shared_fields(histories.patients, k)
    agents = _rare(((t.agent for t in p.treatments) for p in histories.patients), k)
    scanners = _rare(((s.scanner for s in p.scans) for p in histories.patients), k)
    patients = tuple(
        _coarse_patient(patient, values, interval_days, agents, scanners)
        for patient, values in zip(histories.patients, fields, strict=True)
    )
    smallest = min(Counter(_combination(p) for p in patients).values(), default=0)
    blanked = {
        name: sum(
            getattr(old, name) != getattr(new, name) for old, new in zip(histories.patients, patients, strict=True)
        )
        for name in BLANKED_IN_TURN
    }
    stated = histories.deidentification
    checked = Deidentification(profile=stated.profile if stated else "none stated", k_anonymity_checked=smallest >= k)
    coarse = Histories.model_validate({**_shallow(histories), "deidentification": checked, "patients": patients})
    report = DisclosureReport(
        patients=len(patients),
        k=k,
        interval_days=interval_days,
        blanked=blanked,
        agents=len(agents),
        scanners=len(scanners),
        smallest_class=smallest,
        reached=smallest >= k,
        sentences=_sentences(len(patients), k, interval_days, blanked, smallest),
    )
    return coarse, report


def _shallow(model: Any) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def _combination(patient: Patient) -> tuple[Any, ...]:
    return tuple(getattr(patient, name) for name in BLANKED_IN_TURN)


def _shared_fields(patients: Sequence[Patient], k: int) -> list[tuple[Any, ...]]:
    """The descriptive fields of each patient after blanking."""
    rows = [list(_combination(patient)) for patient in patients]
    blank: list[Any] = [None] * (len(BLANKED_IN_TURN) - 1) + [TumourType.OTHER]
    for column, value in enumerate(blank):
        size = Counter(map(tuple, rows))
        for row in rows:
            if size[tuple(row)] < k:
                row[column] = value
    # What is left over joins the smallest class there is, which gives up its fields too.
    while True:
        size = Counter(map(tuple, rows))
        left = size.get(tuple(blank), 0)
        others = sorted((n, repr(c), c) for c, n in size.items() if c != tuple(blank))
        if not 0 < left < k or not others:
            return [tuple(row) for row in rows]
        rows = [list(blank) if tuple(row) == others[0][2] else row for row in rows]


def _rare(names: Any, k: int) -> set[str]:
    patients_with: Counter[str] = Counter()
    for of_patient in names:
        patients_with.update({name for name in of_patient if name is not None})
    return {name for name, number in patients_with.items() if number < k}


def _coarse_patient(
    patient: Patient, values: Sequence[Any], interval_days: int, agents: set[str], scanners: set[str]
) -> Patient:
    fields = dict(zip(BLANKED_IN_TURN, values, strict=True))
    treatments = tuple(_coarse_treatment(t, interval_days, agents) for t in patient.treatments)
    followed_anew = fields["tumour_type"].target is not patient.tumour_type.target
    targets = [_whole(scan) if followed_anew else scan.target_cc for scan in patient.scans]
    days = [_round(scan.t, interval_days) for scan in patient.scans]
    features = features_again(patient.scans, targets, days, treatments)
    scans = tuple(
        Scan(
            **{
                **_shallow(scan),
                "t": day,
                "target_cc": target,
                "features": row,
                "scanner": None if scan.scanner in scanners else scan.scanner,
                "rano": None if followed_anew else scan.rano,
            }
        )
        for scan, day, target, row in zip(patient.scans, days, targets, features, strict=True)
    )
    return Patient(**{**_shallow(patient), **fields, "treatments": treatments, "scans": scans})


def _coarse_treatment(treatment: Treatment, interval_days: int, agents: set[str]) -> Treatment:
    start = _round(treatment.start, interval_days)
    stop = None if treatment.stop is None else max(start, _round(treatment.stop, interval_days))
    return Treatment(
        **{
            **_shallow(treatment),
            "decided": min(start, _round(treatment.decided, interval_days)),
            "start": start,
            "stop": stop,
            "agent": None if treatment.agent in agents else treatment.agent,
        }
    )


def features_again(
    scans: Sequence[Scan], targets: Sequence[float], days: Sequence[int], treatments: Sequence[Treatment]
) -> list[tuple[float, ...]]:
    """The features of scans whose times or volumes were rounded; diameter and sphericity are taken as they stand."""
    old = np.array([scan.features for scan in scans])
    day = np.array([days], dtype=np.float64)
    volumes = [scan.volume_cc for scan in scans]
    quantities = ScanQuantities(
        target_ml=np.array([targets]),
        enhancing_ml=np.array([[v.enhancing for v in volumes]]),
        necrotic_ml=np.array([[v.necrotic for v in volumes]]),
        oedema_ml=np.array([[v.oedema for v in volumes]]),
        longest_mm=old[None, :, 4] * 10,
        sphericity=old[None, :, 5],
        days_from_baseline=day,
        interval_days=np.diff(day, axis=1, prepend=0.0),
        **treatment_flags(treatment_table([treatments]), day),  # type: ignore[arg-type]  # named as its fields
    )
    return [tuple(row) for row in feature_vector(quantities)[0].tolist()]


def _whole(scan: Scan) -> float:
    return scan.volume_cc.enhancing + scan.volume_cc.necrotic + scan.volume_cc.oedema


def _round(day: int, interval_days: int) -> int:
    return int(np.floor(day / interval_days + 0.5)) * interval_days


def _sentences(patients: int, k: int, interval_days: int, blanked: Mapping[str, int], smallest: int) -> tuple[str, ...]:
    found = [f"All times were rounded to {interval_days} days."]
    found += [f"{name} was blanked for {number} of {patients} patients." for name, number in blanked.items() if number]
    if smallest < k and patients:
        found.append(
            f"With {patients} patients no group of {k} can be formed: every describing field was blanked, and the "
            "file is not k-anonymous."
        )
    found.append("Volume curves are kept as measured; they are not k-anonymous.")
    return tuple(found)

"""From the arrays of simulated courses to patients of `patient-histories/1` and their latent truth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from longitudinal.features import ScanQuantities, feature_vector
from longitudinal.histories import Patient, Scan, Treatment, Truth, Volumes
from longitudinal.treatments import KINDS, treatment_flags
from training.simulate.histories_course import Block
from training.simulate.histories_parameters import ASTRO, GBM, LAWS, OLIGO, TYPES, Floats

_AGE_DECADE = {
    0: (50, 60, 60, 70),
    1: (30, 40, 40),
    2: (40, 40, 50),
    3: (50, 60, 70),
    4: (50, 60, 60, 70),
    5: (40, 50, 60),
}
_SEXES: tuple[Literal["F", "M"], ...] = ("F", "M")


def assemble(block: Block, name: str, minimum_scans: int) -> Iterator[tuple[Patient, Truth]]:
    """One by one the patients of the block with at least `minimum_scans` scans; `name` seeds their random `pid`."""
    baseline = np.take_along_axis(block.day, block.first[:, None], axis=1)[:, 0]
    features = _features(block, baseline)
    keep = np.flatnonzero(block.count >= minimum_scans)
    for row in keep:
        yield _patient(block, int(row), name, float(baseline[row]), features[row])


def _features(block: Block, baseline: Floats) -> Floats:
    day = block.day - baseline[:, None]
    before = np.concatenate([day[:, :1], day[:, :-1]], axis=1)
    first = np.arange(day.shape[1])[None] <= block.first[:, None]
    found = block.measured
    quantities = ScanQuantities(
        target_ml=found.target_ml,
        enhancing_ml=found.enhancing_ml,
        necrotic_ml=found.necrotic_ml,
        oedema_ml=found.oedema_ml,
        longest_mm=found.longest_mm,
        sphericity=found.sphericity,
        days_from_baseline=day,
        interval_days=np.where(first, 0.0, day - before),
        **treatment_flags(block.plans.table(baseline), day),  # type: ignore[arg-type]  # named as its fields
    )
    return feature_vector(quantities)


def _patient(block: Block, row: int, name: str, baseline: float, features: Floats) -> tuple[Patient, Truth]:
    first = int(block.first[row])
    columns = range(first, first + int(block.count[row]))
    tumour = int(block.latent.tumour[row])
    digest = hashlib.sha256(f"{name}:{row}".encode()).digest()
    days = [int(block.day[row, column] - baseline) for column in columns]
    ages = _AGE_DECADE[tumour]
    patient = Patient(
        pid=f"p-{digest.hex()[:12]}",
        tumour_type=TYPES[tumour],
        age_decade=ages[digest[12] % len(ages)],
        sex=_SEXES[digest[13] % 2],
        treatments=_treatments(block, row, baseline, days[-1]),
        scans=tuple(_scan(block, row, c, day, features[c]) for c, day in zip(columns, days, strict=True)),
        **_markers(tumour, bool(block.latent.methylated[row])),
    )
    truth = Truth(t=tuple(days), target_cc=tuple(float(block.truth_ml[row, c]) for c in columns), law=LAWS[tumour])
    return patient, truth


def _markers(tumour: int, methylated: bool) -> dict[str, Any]:
    if tumour == GBM:
        return {"who_grade": 4, "idh": "wt", "mgmt": "meth" if methylated else "unmeth", "codel_1p19q": False}
    if tumour in (ASTRO, OLIGO):
        return {"who_grade": 2, "idh": "mut", "codel_1p19q": tumour == OLIGO}
    return {}


def _treatments(block: Block, row: int, baseline: float, last_day: int) -> tuple[Treatment, ...]:
    """The treatments that were decided while the patient was followed."""
    plans = block.plans
    found = []
    for slot in np.flatnonzero(plans.kind[row] >= 0):
        decided = int(plans.decided[row, slot] - baseline)
        if decided > last_day:
            continue
        start, stop = int(plans.start[row, slot] - baseline), int(plans.last[row, slot] - baseline)
        kind: Any = KINDS[plans.kind[row, slot]]
        found.append(Treatment(kind=kind, decided=decided, start=start, stop=stop, planned=start > last_day))
    return tuple(sorted(found, key=lambda t: (t.start, t.kind)))


def _scan(block: Block, row: int, column: int, day: int, features: Floats) -> Scan:
    found = block.measured
    return Scan(
        t=day,
        scanner=f"s{int(found.scanner[row, column])}",
        volume_cc=Volumes(
            enhancing=found.enhancing_ml[row, column],
            necrotic=found.necrotic_ml[row, column],
            oedema=found.oedema_ml[row, column],
        ),
        target_cc=found.target_ml[row, column],
        target_sd_ln=found.sd_ln[row, column],
        features=tuple(features.tolist()),
    )

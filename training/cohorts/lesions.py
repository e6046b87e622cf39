"""Lesion tables: one row per reading with a lesion, a day and a volume in mm3.

The layout is that of Laleh et al., PLOS Comput Biol 2022;18:e1009822 (`Pt_hashID`, `T_days`, `Lesion_vol`): 1,461
lung and bladder lesions under treatment. They are no brain tumours; they test the methods on real irregular series.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from longitudinal.histories import Histories, Source
from longitudinal.types import TumourType
from training.cohorts.dated_volumes import CohortError, CohortPatient, DatedVolumes, patient_of

LARGEST_ML = 2000.0
"""A lesion that is ever larger is left out: `patient-histories/1` holds no such volume (no head does)."""

COLUMNS = ("Pt_hashID", "T_days", "Lesion_vol")


def read_lesions(file: Path, smallest_first_ml: float = 1.0) -> Histories:
    """Read the lesions whose first reading has at least `smallest_first_ml`; a later reading may be 0.

    Raises:
        CohortError: naming the line and the column, when the table is not laid out as expected.
    """
    found: dict[str, list[DatedVolumes]] = defaultdict(list)
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise CohortError(f"{file}: column {sorted(missing)[0]} is missing")
            for line, row in enumerate(reader, start=2):
                found[row["Pt_hashID"]].append(_reading(file, line, row))
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{file} cannot be read: {error}") from None
    chosen = {
        name: scans
        for name, scans in found.items()
        if _first(scans).enhancing_ml >= smallest_first_ml and max(s.enhancing_ml for s in scans) <= LARGEST_ML
    }
    if not chosen:
        raise CohortError(f"{file}: no lesion begins with {smallest_first_ml:g} ml or more")
    patients = [
        patient_of(CohortPatient(name=f"lesions:{name}", tumour_type=TumourType.OTHER, scans=scans))
        for name, scans in sorted(chosen.items())
    ]
    return Histories(source=Source(kind="public", site="laleh-2022"), patients=tuple(patients))


def _first(scans: list[DatedVolumes]) -> DatedVolumes:
    return min(scans, key=lambda s: s.day)


def _reading(file: Path, line: int, row: dict[str, str]) -> DatedVolumes:
    try:
        return DatedVolumes(day=round(float(row["T_days"])), enhancing_ml=float(row["Lesion_vol"]) / 1000)
    except (TypeError, ValueError) as error:
        raise CohortError(f"{file}, line {line}: {error}") from None

"""LUMIERE layout (Suter et al., Sci Data 2022;9:768): glioblastoma, week of each MRI and volumes by an algorithm.

The cohort is licensed for non-commercial use and none of it is here. The table read is one row per time point with
`Patient`, `Date` (`week-044`, `week-044-1`) and volumes in mm3 in columns that name the label.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

from longitudinal.histories import Histories, Source
from longitudinal.types import TumourType
from training.cohorts.dated_volumes import CohortError, CohortPatient, DatedVolumes, patient_of

_WEEK = re.compile(r"^week-(\d{3})(?:-(\d))?$")
_COLUMNS = {
    "enhancing_ml": ("enhancing", "contrast-enhancing", "et"),
    "necrotic_ml": ("necrosis", "necrotic", "non-enhancing", "ncr"),
    "oedema_ml": ("edema", "oedema", "ed", "snfh"),
}


def read_lumiere(folder: Path) -> Histories:
    """Read every CSV table of volumes below `folder`; the same time point twice is read once.

    Raises:
        CohortError: when there is no such table, or a row cannot be read; file and line are named.
    """
    found: dict[str, dict[int, DatedVolumes]] = defaultdict(dict)
    for file in sorted(folder.rglob("*.csv")):
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = _columns(reader.fieldnames or [])
            if columns is None:
                continue
            for line, row in enumerate(reader, start=2):
                scan = _scan(f"{file}, line {line}", row, columns)
                found[row["Patient"]].setdefault(scan.day, scan)
    if not found:
        raise CohortError(f"{folder}: no CSV table with Patient, Date and volumes of labels")
    patients = [
        patient_of(CohortPatient(name=f"lumiere:{name}", tumour_type=TumourType.GBM, scans=list(scans.values())))
        for name, scans in sorted(found.items())
    ]
    return Histories(source=Source(kind="public", site="lumiere"), patients=tuple(patients))


def _columns(names: object) -> dict[str, str] | None:
    """The column of each label, or None where the table is another one."""
    headings = {str(name).strip().lower(): str(name) for name in (names if isinstance(names, list | tuple) else [])}
    if not {"patient", "date"} <= headings.keys():
        return None
    found = {}
    for field, words in _COLUMNS.items():
        match = [name for key, name in headings.items() if re.split(r"[ _(]", key)[0] in words]
        if match:
            found[field] = match[0]
    return found if "enhancing_ml" in found else None


def _scan(where: str, row: dict[str, str], columns: dict[str, str]) -> DatedVolumes:
    match = _WEEK.match((row.get("Date") or "").strip())
    if not match:
        raise CohortError(f"{where}: Date is {row.get('Date')!r}, not like week-044 or week-044-1")
    try:
        volumes = {field: float(row[name] or 0) / 1000 for field, name in columns.items()}
    except (TypeError, ValueError) as error:
        raise CohortError(f"{where}: {error}") from None
    # Two scans of one week are told apart by their order only.
    return DatedVolumes(day=7 * int(match[1]) + max(int(match[2] or 1) - 1, 0), **volumes)

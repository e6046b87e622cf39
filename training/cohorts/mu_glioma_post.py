"""MU-Glioma-Post (University of Missouri, TCIA): post-treatment glioma, from the two published workbooks.

The time point of a segmentation is written in its patient column for 57 patients only
(`PatientID_0198-Post-treatment_2`); for the others it can only be inferred from the order of rows, so they are left
out unless they are asked for. A label without a row at a visit has the volume 0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from openpyxl import load_workbook

from longitudinal.histories import Histories, Source, Treatment
from longitudinal.types import TumourType
from training.cohorts.dated_volumes import CohortError, CohortPatient, DatedVolumes, cycles, patient_of

CLINICAL = "MU-Glioma-Post_ClinicalData-July2025.xlsx"
VOLUMES = "MU-Glioma-Post_Segmentation_Volumes.xlsx"

_LABELS = {"Label1": "necrotic_ml", "Edema": "oedema_ml", "Label3": "enhancing_ml", "Label4": "cavity_ml"}
_EXPLICIT = re.compile(r"^(PatientID_\d+)[-_](?:Post-treatment|Timepoint)_(\d)$", re.IGNORECASE)
_TYPES = {
    "GBM": TumourType.GBM,
    "Glioblastoma": TumourType.GBM,
    "Astrocytoma": TumourType.ASTROCYTOMA,
    "Oligodendroglioma": TumourType.OLIGODENDROGLIOMA,
}
_MONTH = 28
_MOST_SCANS = 6

Row = Mapping[str, Any]
Visits = dict[tuple[str, int], dict[str, float]]


def read_mu_glioma_post(
    folder: Path, target: Literal["by-type", "whole"] = "by-type", inferred: bool = False
) -> Histories:
    """Read the cohort.

    Args:
        folder: holds the two workbooks under their published names.
        target: "by-type" follows glioblastoma by its core as the gateway does; "whole" leaves the tumour type
            unstated, so that the whole tumour is followed in everyone.
        inferred: also take the patients whose scans are only known by the order of rows. Good enough to learn
            from, not for figures.

    Raises:
        CohortError: when a workbook is missing or not laid out as published.
    """
    clinical = {str(row["Patient_ID"]): row for row in _sheet(folder / CLINICAL, 1) if row.get("Patient_ID")}
    visits, unnamed = _visits(folder / VOLUMES)
    if inferred:
        visits |= _by_order(unnamed, clinical)
    found = defaultdict(list)
    for (name, number), volumes in visits.items():
        day = _day(clinical.get(name, {}), f"{_ordinal(number)} MRI")
        if day is not None:
            found[name].append(DatedVolumes(day=day, **volumes))
    patients = [
        patient_of(
            CohortPatient(
                name=f"mu-glioma-post:{name}",
                tumour_type=TumourType.OTHER if target == "whole" else _type(clinical[name]),
                scans=scans,
                treatments=list(_treatments(clinical[name])),
                facts=_facts(clinical[name]),
            )
        )
        for name, scans in sorted(found.items())
    ]
    if not patients:
        raise CohortError(f"{folder / VOLUMES}: no dated scan was found; is this the workbook as published?")
    return Histories(source=Source(kind="public", site="mu-glioma-post"), patients=tuple(patients))


def _visits(file: Path) -> tuple[Visits, dict[str, dict[str, list[float]]]]:
    """Volumes by patient and time point, and by patient and label where the time point is not written."""
    named: Visits = defaultdict(dict)
    unnamed: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, title in enumerate(_titles(file)):
        label = next((field for word, field in _LABELS.items() if word in title), None)
        if label is None:
            raise CohortError(f"{file}: sheet {title!r} is of no known label")
        for row in _sheet(file, number):
            name, volume = str(row.get("Patient ID") or ""), row.get("Volume (mm^3)")
            if not name or volume is None:
                continue
            match = _EXPLICIT.match(name.strip())
            if match:
                # Some visits were segmented twice: the first row is taken.
                named[match[1], int(match[2])].setdefault(label, float(volume) / 1000)
            else:
                unnamed[name.strip()][label].append(float(volume) / 1000)
    return named, unnamed


def _by_order(unnamed: Mapping[str, Mapping[str, list[float]]], clinical: Mapping[str, Row]) -> Visits:
    """Time points by row order, for patients in whom each label has no row or one for every MRI."""
    found: Visits = {}
    for name, labels in unnamed.items():
        numbers = [
            n for n in range(1, _MOST_SCANS + 1) if _day(clinical.get(name, {}), f"{_ordinal(n)} MRI") is not None
        ]
        if any(len(volumes) != len(numbers) for label, volumes in labels.items() if label != "cavity_ml"):
            continue
        for position, number in enumerate(numbers):
            found[name, number] = {k: v[position] for k, v in labels.items() if len(v) == len(numbers)}
    return found


def _treatments(row: Row) -> Iterator[Treatment]:
    """What was given, in days from diagnosis. Courses of drugs come as cycles, each decided as it begins."""
    surgery = _day(row, "First surgery")
    if surgery is not None:
        yield Treatment(kind="surgery", decided=surgery, start=surgery, stop=surgery)
    rt = _day(row, "Radiation Therapy Start")
    if rt is not None:
        yield Treatment(kind="rt", decided=rt, start=rt, stop=max(_day(row, "Radiation Therapy end") or rt + 41, rt))
    insertion = _day(row, "Insertion of Brachytherapy")
    if insertion is not None:
        yield Treatment(kind="surgery", decided=insertion, start=insertion, stop=insertion)
        yield Treatment(kind="srs", decided=insertion, start=insertion, stop=insertion)
    for begin, end, agent in (
        ("Initial Chemo Therapy Start", "Initial Chemo Therapy end", "Name of Initial Chemo"),
        ("Starting Additional Therapy", "to Complete Additional Therapy", "Additional Therapy"),
        ("Starting 2nd_Additional", "Complete 2nd_Additional", "2nd_Additional Therapy"),
        ("Start Immunotherapy", "Complete Immunotherapy", "Immuno therapy"),
        ("to new treatment", "no such column", "Treatment started after 2nd progression"),
    ):
        start = _day(row, begin)
        if start is not None:
            last = _day(row, end)
            kind = "antiangiogenic" if _is_bevacizumab(_cell(row, agent)) else "chemo"
            yield from cycles(kind, start, start + 12 * _MONTH if last is None else last, _MONTH)


def _is_bevacizumab(agent: Any) -> bool:
    return any(word in str(agent).lower() for word in ("avastin", "bevaciz", "mvasi", "zirabev"))


def _type(row: Row) -> TumourType:
    return _TYPES.get(str(row.get("Primary Diagnosis")).strip(), TumourType.OTHER)


def _facts(row: Row) -> dict[str, Any]:
    idh, mgmt, age = row.get("IDH1 mutation"), row.get("MGMT methylation"), row.get("Age at diagnosis")
    grade, sex = row.get("Grade of Primary Brain Tumor"), str(row.get("Sex at Birth"))
    return {
        "who_grade": int(grade) if grade in (1, 2, 3, 4) else None,
        "idh": {0: "wt", 1: "mut"}.get(idh) if isinstance(idh, int) else None,
        "mgmt": {0: "unmeth", 1: "meth"}.get(mgmt) if isinstance(mgmt, int) else None,
        "age_decade": int(age) // 10 * 10 if isinstance(age, int | float) else None,
        "sex": {"Male": "M", "Female": "F"}.get(sex),
    }


def _day(row: Row, words: str) -> int | None:
    value = _cell(row, words)
    return round(value) if isinstance(value, int | float) else None


def _cell(row: Row, words: str) -> Any:
    """The cell of the column whose heading holds `words`; an exact heading goes first."""
    if words in row:
        return row[words]
    return next((value for heading, value in row.items() if words.lower() in heading.lower()), None)


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"


def _titles(file: Path) -> Sequence[str]:
    try:
        book = load_workbook(file, read_only=True)
    except (OSError, KeyError, ValueError) as error:
        raise CohortError(f"{file} cannot be read as a workbook: {error}") from None
    try:
        return list(book.sheetnames)
    finally:
        book.close()


def _sheet(file: Path, number: int) -> list[Row]:
    if number >= len(_titles(file)):
        raise CohortError(f"{file}: sheet number {number + 1} is missing")
    book = load_workbook(file, read_only=True, data_only=True)
    try:
        head, *rows = list(book.worksheets[number].iter_rows(values_only=True))
    finally:
        book.close()
    names = [str(cell).strip() if cell is not None else f"column {place}" for place, cell in enumerate(head)]
    return [dict(zip(names, row, strict=True)) for row in rows]

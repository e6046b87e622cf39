"""What of a cohort may leave: widened, rounded, cut and, where nobody can hide among others, suppressed.

`disclosure.coarsen` rounds times and blanks describing fields; on top of it ages are widened before they are given up,
volumes lose the digits that measure nothing, follow-ups longer than those of k patients are cut, and a cohort of fewer
than k patients does not leave at all. `release_check` proves the result on the written file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from longitudinal.disclosure import DisclosureReport, coarsen, features_again
from longitudinal.histories import Histories, Patient, Scan, Volumes

AGE_WIDTHS = (10, 20, 40)
"""Years in a class of ages: the narrowest that leaves nearly all ages in the file."""
AGES_LOST = 0.1
"""Share of patients whose age may be blanked before the classes are widened instead."""


@dataclass(frozen=True)
class ReleaseRules:
    """`k`: fewest patients that share what describes them. Times are rounded to `interval_days`, volumes to
    `volume_step_ml`. `age_years`: narrowest class of ages (that of the release before, so that two releases cannot be
    compared to tell an age more closely)."""

    k: int = 5
    interval_days: int = 14
    volume_step_ml: float = 0.1
    age_years: int = AGE_WIDTHS[0]


@dataclass(frozen=True)
class Release:
    """The cohort that may leave. `suppressed` patients are not in it, `scans_cut` scans beyond `longest` are not.
    `age_decade` of a patient is the first year of a class of `age_years`."""

    histories: Histories
    disclosure: DisclosureReport
    age_years: int
    suppressed: int
    scans_cut: int
    longest: int


def prepare_release(histories: Histories, rules: ReleaseRules) -> Release:
    """Apply the rules to a cohort.

    Raises:
        ValueError: for a `k`, an interval or a volume step that is not positive, or an unknown class of ages.
    """
    if rules.volume_step_ml <= 0 or rules.age_years not in AGE_WIDTHS:
        raise ValueError(f"volume_step_ml must be positive and age_years one of {AGE_WIDTHS}")
    longest = _longest(histories.patients, rules.k)
    cut = [_cut(patient, longest) for patient in histories.patients]
    for width in AGE_WIDTHS[AGE_WIDTHS.index(rules.age_years) :]:
        patients = tuple(_aged(_rounded(patient, rules.volume_step_ml), width) for patient in cut)
        coarse, report = coarsen(histories.model_copy(update={"patients": patients}), rules.interval_days, rules.k)
        if report.blanked["age_decade"] <= AGES_LOST * len(patients):
            break
    scans_cut = sum(len(p.scans) for p in histories.patients) - sum(len(p.scans) for p in cut)
    suppressed = 0 if report.reached else len(patients)
    if suppressed:
        coarse = coarse.model_copy(update={"patients": ()})
        report = replace(report, patients=0, smallest_class=0, sentences=(_too_few(suppressed, rules.k),))
    return Release(coarse, report, width, suppressed, scans_cut, longest if not suppressed else 0)


def _too_few(patients: int, k: int) -> str:
    return f"No history left: {patients} patients are fewer than the {k} among whom each must hide."


def _longest(patients: Sequence[Patient], k: int) -> int:
    """The greatest number of scans that at least k patients have."""
    lengths = sorted((len(patient.scans) for patient in patients), reverse=True)
    return lengths[min(k, len(lengths)) - 1] if lengths else 0


def _cut(patient: Patient, longest: int) -> Patient:
    scans = patient.scans[:longest]
    last = scans[-1].t
    treatments = tuple(t for t in patient.treatments if len(scans) == len(patient.scans) or t.decided <= last)
    return patient.model_copy(update={"scans": scans, "treatments": treatments})


def _aged(patient: Patient, width: int) -> Patient:
    if patient.age_decade is None:
        return patient
    return patient.model_copy(update={"age_decade": min(patient.age_decade, 90) // width * width})


def _rounded(patient: Patient, step_ml: float) -> Patient:
    scans = [_rounded_scan(scan, step_ml) for scan in patient.scans]
    rows = features_again(scans, [s.target_cc for s in scans], [s.t for s in scans], patient.treatments)
    together = tuple(s.model_copy(update={"features": row}) for s, row in zip(scans, rows, strict=True))
    return patient.model_copy(update={"scans": together})


def _rounded_scan(scan: Scan, step_ml: float) -> Scan:
    def step(value: float) -> float:
        return round(round(value / step_ml) * step_ml, 6)

    volumes = scan.volume_cc
    features = list(scan.features)
    features[4], features[5] = round(features[4], 1), round(features[5], 2)  # 1 mm of diameter (in cm), sphericity
    return scan.model_copy(
        update={
            "volume_cc": Volumes(
                enhancing=step(volumes.enhancing),
                necrotic=step(volumes.necrotic),
                oedema=step(volumes.oedema),
                cavity=step(volumes.cavity),
            ),
            "target_cc": step(scan.target_cc),
            "target_sd_ln": None if scan.target_sd_ln is None else max(round(scan.target_sd_ln, 2), 0.01),
            "features": tuple(features),
        }
    )

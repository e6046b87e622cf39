"""What somebody who holds a release can still learn from it, counted on the release itself.

The recipient is taken to know something true of one patient and to know that the patient is in the file (the
prosecutor of the disclosure literature). Figures are shares of patients for whom that knowledge fits nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from itertools import pairwise

from longitudinal.disclosure import BLANKED_IN_TURN
from longitudinal.histories import Histories, Patient

KNOWN_INTERVALS = (2, 3, 4)


@dataclass(frozen=True)
class ResidualRisk:
    """`by_description`: highest chance to pick the right patient from the describing fields alone (1/k at most).
    `by_intervals`: share singled out by that many consecutive intervals, known to the day. `by_volume`: by one volume,
    known as exactly as the file states it. `by_scans`: by the number of scans. `by_treatments`: by the kinds given."""

    patients: int
    k: int
    smallest_class: int
    by_description: float
    by_intervals: dict[int, float]
    by_volume: float
    by_scans: float
    by_treatments: float

    def as_json(self) -> dict[str, object]:
        plain = asdict(self)
        return {**plain, "by_intervals": {str(known): share for known, share in self.by_intervals.items()}}


def residual_risk(histories: Histories, k: int) -> ResidualRisk:
    """Count on a released file what is left to learn from it."""
    patients = histories.patients
    classes = Counter(tuple(getattr(p, name) for name in BLANKED_IN_TURN) for p in patients)
    smallest = min(classes.values(), default=0)
    return ResidualRisk(
        patients=len(patients),
        k=k,
        smallest_class=smallest,
        by_description=round(1 / smallest, 4) if smallest else 0.0,
        by_intervals={known: _share(_with_own(_runs(patients, known)), len(patients)) for known in KNOWN_INTERVALS},
        by_volume=_share(_with_own([{round(s.target_cc, 6) for s in p.scans} for p in patients]), len(patients)),
        by_scans=_share(_with_own([{len(p.scans)} for p in patients]), len(patients)),
        by_treatments=_share(
            _with_own([{tuple(sorted({t.kind for t in p.treatments}))} for p in patients]), len(patients)
        ),
    )


def _runs(patients: Sequence[Patient], known: int) -> list[set[tuple[int, ...]]]:
    """All runs of `known` consecutive intervals of each patient, as they stand in the file."""
    runs = []
    for patient in patients:
        days = [scan.t for scan in patient.scans]
        steps = [b - a for a, b in pairwise(days)]
        runs.append({tuple(steps[i : i + known]) for i in range(len(steps) - known + 1)})
    return runs


def _with_own(values: Sequence[AbstractSet[Hashable]]) -> int:
    """Patients with a value that no other patient has."""
    holders = Counter(value for own in values for value in own)
    return sum(any(holders[value] == 1 for value in own) for own in values)


def _share(number: int, patients: int) -> float:
    return round(number / patients, 4) if patients else 0.0


def risk_text(risk: ResidualRisk, suppressed: int, sentences: Sequence[str]) -> str:
    """The report for people, in Markdown."""
    lines = [
        "# Residual risk of this export",
        "",
        f"{risk.patients} patients left, {suppressed} were kept back. What describes a patient is shared by at least "
        f"{risk.smallest_class} of them (k = {risk.k} was asked for).",
        "",
        "Somebody who knows that a patient is in the file, and one thing more, singles the patient out:",
        "",
        "| what is known beside | patients singled out |",
        "|---|---|",
        f"| type, markers, age and sex | none; the chance of a right guess is at most {risk.by_description:.0%} |",
    ]
    lines += [
        f"| a run of {known} intervals between scans that only this patient has | {share:.0%} |"
        for known, share in risk.by_intervals.items()
    ]
    lines += [
        f"| a volume as the file states it that only this patient has | {risk.by_volume:.0%} |",
        f"| the number of scans | {risk.by_scans:.0%} |",
        f"| the kinds of treatment given | {risk.by_treatments:.0%} |",
        "",
        "Each share counts patients for whom at least one such run or volume exists; an attacker must know that one.",
        "The volume curves are what the export is for and are not k-anonymous: it is for recipients under contract.",
        "",
        *[f"- {sentence}" for sentence in sentences],
        "",
    ]
    return "\n".join(lines)

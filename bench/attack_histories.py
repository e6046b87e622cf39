"""What an attacker learns from an export of histories alone, with and without its protection.

The attacker holds the file and knows something true of one patient who is in it: some consecutive intervals between
scans to the day, one volume, what describes the patient, or an identifier. Reported is the share of patients whom that
singles out *rightly*: one candidate is left, the right one. Simulated cohorts; nothing here is about a person.

    python bench/attack_histories.py [--patients 200 500 1000] [--seed 1] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longitudinal.histories import Histories, Patient, Source, encode
from longitudinal.release import ReleaseRules, prepare_release
from training.simulate.histories import simulate_histories

VOLUME_KNOWN = 0.02
"""The attacker's volume comes from a report of another reading: within 2 % of the hospital's."""
KNOWN = (2, 3, 4)


@dataclass(frozen=True, eq=False)
class Seen:
    """A patient as the attacker sees one: runs of intervals by their length (n, length), volumes, description."""

    pid: str
    runs: dict[int, np.ndarray]
    volumes: np.ndarray
    patient: Patient


Fits = Callable[[Seen, Seen], bool]


def seen(patient: Patient) -> Seen:
    steps = np.diff([scan.t for scan in patient.scans])
    runs = {
        n: np.lib.stride_tricks.sliding_window_view(steps, n) if len(steps) >= n else np.empty((0, n)) for n in KNOWN
    }
    return Seen(patient.pid, runs, np.array([scan.target_cc for scan in patient.scans]), patient)


def by_intervals(known: int, tolerance: int) -> Fits:
    """The first `known` intervals of the target are known; rounding moves each end by at most half a step."""

    def fits(target: Seen, candidate: Seen) -> bool:
        wanted, runs = target.runs[known], candidate.runs[known]
        return bool(len(wanted) and len(runs)) and bool((np.abs(runs - wanted[0]).max(axis=1) <= tolerance).any())

    return fits


def by_volume(step_ml: float) -> Fits:
    def fits(target: Seen, candidate: Seen) -> bool:
        wanted = float(target.volumes[0])
        return bool((np.abs(candidate.volumes - wanted) <= VOLUME_KNOWN * wanted + step_ml / 2).any())

    return fits


def by_description(known: Seen, found: Seen) -> bool:
    target, candidate = known.patient, found.patient
    pairs = ((getattr(target, n), getattr(candidate, n)) for n in ("tumour_type", "sex", "who_grade", "idh", "mgmt"))
    ages = candidate.age_decade is None or target.age_decade is None or candidate.age_decade <= target.age_decade
    return ages and all(theirs is None or theirs == mine or str(theirs) == "OTHER" for mine, theirs in pairs)


def by_scans(target: Seen, candidate: Seen) -> bool:
    return len(target.volumes) == len(candidate.volumes)


def both(*parts: Fits) -> Fits:
    return lambda target, candidate: all(part(target, candidate) for part in parts)


def rightly_singled_out(truth: Sequence[Seen], left: Sequence[Seen], fits: Fits) -> float:
    right = 0
    for target in truth:
        candidates = [c.pid for c in left if fits(target, c)]
        right += candidates == [target.pid]
    return round(right / len(truth), 4)


def attacks(tolerance: int, step_ml: float) -> dict[str, Fits]:
    found: dict[str, Fits] = {f"{n} intervals, to the day": by_intervals(n, tolerance) for n in KNOWN}
    found["one volume within 2 %"] = by_volume(step_ml)
    found["type, markers, age, sex"] = by_description
    found["number of scans"] = by_scans
    found["description and 3 intervals"] = both(by_description, by_intervals(3, tolerance))
    found["description and one volume"] = both(by_description, by_volume(step_ml))
    return found


def identifiers_in(data: bytes) -> dict[str, int]:
    """What the file itself gives away: dates, UIDs, anything else that is a key into another system."""
    text = data.decode()
    return {
        "calendar dates": len(re.findall(r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d", text)),
        "UIDs": len(re.findall(r"\d+(?:\.\d+){4,}", text)),
    }


def measure(patients: int, seed: int) -> dict[str, Any]:
    simulated = simulate_histories(patients, seed=seed).histories.patients
    truth = [p.model_copy(update={"truth": None}) for p in simulated]
    cohort = Histories(source=Source(kind="site-export"), patients=tuple(truth))
    result: dict[str, Any] = {"patients": patients, "unprotected": {}, "released": {}}
    known = [seen(patient) for patient in truth]
    for name, fits in attacks(0, 0.0).items():
        result["unprotected"][name] = rightly_singled_out(known, known, fits)
    for days in (7, 14, 30):
        release = prepare_release(cohort, ReleaseRules(interval_days=days))
        left = [seen(patient) for patient in release.histories.patients]
        result["released"][str(days)] = {
            **{name: rightly_singled_out(known, left, fits) for name, fits in attacks(days, 0.1).items()},
            "identifiers": identifiers_in(encode(release.histories)),
        }
    return result


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| attacker knows | patients | as recorded | 7 d | **14 d** | 30 d |", "|---|---|---|---|---|---|"]
    for result in results:
        for name, share in result["unprotected"].items():
            shares = [f"{result['released'][d][name]:.1%}" for d in ("7", "14", "30")]
            lines.append(f"| {name} | {result['patients']} | {share:.1%} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[200, 500])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = [measure(number, arguments.seed) for number in arguments.patients]
    print(table(results))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "attack.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Releases: what leaves passes a check of the written bytes, and the check sees everything that it claims to see."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from longitudinal.disclosure import BLANKED_IN_TURN
from longitudinal.histories import Histories, Source, decode, encode
from longitudinal.release import AGE_WIDTHS, Release, ReleaseRules, prepare_release
from longitudinal.release_check import check_release
from longitudinal.residual_risk import residual_risk, risk_text
from training.simulate.histories import simulate_histories

SIMULATED = simulate_histories(150, seed=4).histories


def as_site(histories: Histories, number: int | None = None) -> Histories:
    """As a hospital would hand it over: no latent truth, ids as exports give them."""
    patients = sorted(histories.patients[:number], key=lambda p: p.pid)
    named = (
        p.model_copy(update={"pid": f"p-{index:016d}".translate(str.maketrans("0189", "abcd")), "truth": None})
        for index, p in enumerate(patients)
    )
    return Histories(source=Source(kind="site-export"), patients=tuple(sorted(named, key=lambda p: p.pid)))


COHORT = as_site(SIMULATED)
USUAL = ReleaseRules()


def manifest_of(data: bytes, rules: ReleaseRules) -> dict[str, Any]:
    document = json.loads(data)
    scans = sum(len(p["scans"]) for p in document["patients"])
    return {
        "schema": "timepoint-export/1", "histories_schema": "x", "profile": "x", "key_id": "x", "ledger_id": "x",
        "program": "x", "disclosure": {"k": rules.k}, "sha256": hashlib.sha256(data).hexdigest(),
        "counts": {"patients": len(document["patients"]), "scans": scans},
        "rules": {"k": rules.k, "interval_days": rules.interval_days, "volume_step_ml": rules.volume_step_ml},
    }  # fmt: skip


def released(number: int | None = None, rules: ReleaseRules = USUAL) -> tuple[Release, bytes]:
    release = prepare_release(as_site(SIMULATED, number), rules)
    return release, encode(release.histories)


@pytest.mark.parametrize("rules", [ReleaseRules(), ReleaseRules(k=11, interval_days=30, volume_step_ml=0.5)])
@pytest.mark.parametrize("number", [5, 23, 150])
def test_what_is_released_passes_the_check_of_the_bytes(rules: ReleaseRules, number: int) -> None:
    release, data = released(number, rules)
    assert check_release(data, manifest_of(data, rules)) == []
    assert decode(data) is not None
    assert bool(release.histories.patients) == (number >= rules.k)


def test_fewer_than_k_patients_do_not_leave() -> None:
    release, _ = released(4)
    assert release.histories.patients == ()
    assert release.suppressed == 4
    assert "4 patients are fewer than the 5" in release.disclosure.sentences[0]


def test_the_longest_follow_up_is_that_of_k_patients() -> None:
    release, _ = released()
    lengths = sorted((len(p.scans) for p in release.histories.patients), reverse=True)
    assert lengths[4] == lengths[0] == release.longest
    before = sorted((len(p.scans) for p in COHORT.patients), reverse=True)
    assert release.scans_cut == sum(before) - sum(lengths)


def test_ages_are_widened_before_they_are_given_up() -> None:
    narrow, _ = released(40)
    wide, _ = released(40, ReleaseRules(age_years=40))
    assert narrow.age_years in AGE_WIDTHS
    assert {p.age_decade for p in wide.histories.patients} <= {0, 40, 80, None}
    assert wide.disclosure.blanked["age_decade"] <= narrow.disclosure.patients


def test_the_same_cohort_gives_the_same_bytes() -> None:
    assert released(60)[1] == released(60)[1]


Spoil = Callable[[dict[str, Any]], object]


def _alone(document: dict[str, Any]) -> None:
    document["patients"][0].update({"tumour_type": "OLIGO", "sex": "O", "who_grade": 1, "age_decade": 0})


SPOILT: dict[str, Spoil] = {
    "classes of fewer": _alone,
    "longest follow-up": lambda d: d["patients"][0].update({"scans": d["patients"][0]["scans"] * 4}),
    "multiple of 14": lambda d: d["patients"][3]["scans"][1].update({"t": 15}),
    "multiple of 0.1": lambda d: d["patients"][3]["scans"][0]["volume_cc"].update({"ET": 3.14159}),
    "calendar date": lambda d: d["patients"][0].update({"split": "seen 2021-03-04"}),
    "reads as a date": lambda d: d["patients"][0]["scans"][0]["quality"].update({"qc": 20210304}),
    "holds a UID": lambda d: d["patients"][0].update({"split": "1.2.840.113619.2.1.17"}),
    "not of the schema": lambda d: d["patients"][0].update({"name": "x"}),
    "agents are named": lambda d: d["patients"][0].update(
        {"treatments": [{"kind": "chemo", "decided": 0, "start": 0, "agent": "trial-drug"}]}
    ),
    "scanners are named": lambda d: d["patients"][0]["scans"][0].update({"scanner": "s-1"}),
    "when they were made": lambda d: d.update({"created": "2026-01-01T00:00:00Z"}),
    "Patient ids": lambda d: d["patients"][0].update({"pid": "MRN-4711"}),
}


@pytest.mark.parametrize("expected", SPOILT)
def test_the_check_sees_what_was_spoilt(expected: str) -> None:
    document = json.loads(released()[1])
    SPOILT[expected](document)
    data = json.dumps(document).encode()
    found = check_release(data, manifest_of(data, ReleaseRules()))
    assert any(expected in sentence for sentence in found), found
    assert not any("4711" in s or "trial-drug" in s for s in found)


def test_a_manifest_that_does_not_fit_is_seen() -> None:
    data = released()[1]
    manifest = manifest_of(data, ReleaseRules())
    assert any("hash" in s for s in check_release(data + b" ", manifest))
    assert any("counts" in s for s in check_release(data, {**manifest, "counts": {"patients": 1, "scans": 1}}))
    assert any("key_id" in s for s in check_release(data, {**manifest, "key_id": ""}))
    assert check_release(b"nothing", manifest) != []


def test_residual_risk_is_counted_on_the_release() -> None:
    exact = residual_risk(COHORT, 5)
    release, _ = released()
    left = residual_risk(release.histories, 5)
    assert left.smallest_class >= 5
    assert left.by_description <= 0.2
    assert exact.by_intervals[3] > 0.9
    assert left.by_intervals[2] < exact.by_intervals[2]
    assert left.by_scans <= exact.by_scans
    text = risk_text(left, release.suppressed, release.disclosure.sentences)
    assert f"{left.by_intervals[2]:.0%}" in text
    assert all(str(getattr(COHORT.patients[0], name)) not in ("", None) for name in BLANKED_IN_TURN[-1:])

"""When a study is complete: the quiet time and the evidence, never one without the other."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest

from gateway.completeness import Decision, Rules, SeriesFacts, StudyFacts, Verdict, decide
from gateway.settings import ForcePolicy
from inference.contrasts import SeriesHeader
from longitudinal.types import Contrast

START = dt.datetime(2026, 1, 10, 12, 0, tzinfo=dt.UTC)
QUIET = START + dt.timedelta(seconds=60)
FORCE = START + dt.timedelta(seconds=5400)
LATER = START + dt.timedelta(seconds=61)
RULES = Rules((Contrast.T1C, Contrast.FLAIR), ForcePolicy.HOLD)
HEADERS = {
    Contrast.T1C: SeriesHeader("1.1", words="t1 mprage post gad", series_number="1", contrast_agent="Gadovist",
                               echo_time_ms=2.3, repetition_time_ms=500.0),
    Contrast.FLAIR: SeriesHeader("1.2", words="t2 flair tra", series_number="2", echo_time_ms=120.0,
                                 repetition_time_ms=9000.0, inversion_time_ms=2500.0),
    Contrast.T2: SeriesHeader("1.3", words="t2 tse tra", series_number="3", echo_time_ms=100.0,
                              repetition_time_ms=5000.0),
}  # fmt: skip


def series(contrast: Contrast, numbers: range | list[int] = range(20)) -> SeriesFacts:
    positions = [(0.0, 0.0, 5.0 * n) for n in numbers]
    return SeriesFacts(HEADERS[contrast], positions, (1, 0, 0, 0, 1, 0), len(positions))


def study(*of: SeriesFacts, expected: int | None = None) -> StudyFacts:
    return StudyFacts(of, QUIET, FORCE, expected)


BOTH = study(series(Contrast.T1C), series(Contrast.FLAIR))


def test_quiet_and_there_is_complete_with_its_evidence() -> None:
    decision = decide(BOTH, RULES, LATER)
    assert decision.verdict is Verdict.COMPLETE
    assert decision.evidence["images"] == 40
    assert decision.evidence["contrasts"] == {
        "t1c": {"series_number": "1", "slices": 20},
        "t2f": {"series_number": "2", "slices": 20},
    }
    json.dumps(decision.evidence)


def test_there_but_not_quiet_waits_until_it_is() -> None:
    assert decide(BOTH, RULES, QUIET - dt.timedelta(seconds=1)) == Decision(
        Verdict.WAIT, decide(BOTH, RULES, LATER).evidence, QUIET
    )


@pytest.mark.parametrize(
    ("facts", "shortfall"),
    [
        (study(), "no t1c series; no t2f series"),
        (study(series(Contrast.T1C)), "no t2f series"),
        (study(series(Contrast.T2), series(Contrast.FLAIR)), "no t1c series"),
        (
            study(series(Contrast.T1C, [0, 1, 2, 5, 6]), series(Contrast.FLAIR)),
            "2 slice(s) missing inside the t1c series",
        ),
        (study(series(Contrast.T1C, [4]), series(Contrast.FLAIR)), "the t1c series has 1 slice(s)"),
        (study(series(Contrast.T1C), series(Contrast.FLAIR), expected=41), "40 of 41 images"),
    ],
)
def test_quiet_but_not_there_waits_for_the_force_time(facts: StudyFacts, shortfall: str) -> None:
    decision = decide(facts, RULES, LATER)
    assert (decision.verdict, decision.look_again, decision.shortfall) == (Verdict.WAIT, FORCE, shortfall)


@pytest.mark.parametrize("policy", list(ForcePolicy))
def test_at_the_force_time_the_policy_decides(policy: ForcePolicy) -> None:
    rules = replace(RULES, force_policy=policy)
    decision = decide(study(series(Contrast.T1C)), rules, FORCE)
    assert decision.verdict.value == policy.value
    assert decision.evidence["forced"]
    assert decision.evidence["preliminary"] is (policy is ForcePolicy.PRELIMINARY)
    assert decide(BOTH, rules, FORCE).verdict is Verdict.COMPLETE


def test_gaps_can_be_allowed_and_the_archive_can_agree() -> None:
    gappy = study(series(Contrast.T1C, [0, 1, 2, 5, 6]), series(Contrast.FLAIR), expected=25)
    assert decide(gappy, replace(RULES, allow_slice_gaps=True), LATER).verdict is Verdict.COMPLETE


def test_a_gap_in_a_series_that_is_not_used_does_not_matter() -> None:
    localizer = SeriesFacts(
        SeriesHeader("1.9", words="localizer"), [(0, 0, 0), (0, 0, 5), (0, 0, 90)], (1, 0, 0, 0, 1, 0), 3
    )
    facts = study(series(Contrast.T1C), series(Contrast.FLAIR), localizer)
    assert decide(facts, RULES, LATER).verdict is Verdict.COMPLETE


def test_images_without_geometry_are_for_the_analysis_to_refuse() -> None:
    blind = replace(series(Contrast.T1C), orientation=None)
    decision = decide(study(blind, series(Contrast.FLAIR)), RULES, LATER)
    assert decision.verdict is Verdict.COMPLETE
    assert decision.evidence["notes"] == ["t1c: position or orientation is not stated"]


def test_two_equal_series_are_for_a_person_and_do_not_stop_the_study_here() -> None:
    twin = replace(series(Contrast.T1C), header=replace(HEADERS[Contrast.T1C], series_uid="1.7"))
    facts = study(series(Contrast.T1C), twin, series(Contrast.FLAIR))
    assert decide(facts, RULES, LATER).verdict is Verdict.COMPLETE


def test_the_decision_does_not_depend_on_the_order_of_slices() -> None:
    shuffled = [(7 * n) % 20 for n in range(20)]
    facts = study(series(Contrast.T1C, shuffled), series(Contrast.FLAIR))
    assert decide(facts, RULES, LATER) == decide(BOTH, RULES, LATER)


def nameless(uid: str = "1.8", number: str = "8") -> SeriesFacts:
    return replace(series(Contrast.T1C), header=SeriesHeader(uid, words="series 8", series_number=number))


def test_what_the_headers_leave_open_is_for_the_pixels_and_the_evidence_says_so() -> None:
    decision = decide(study(nameless(), series(Contrast.FLAIR)), RULES, LATER)
    assert decision.verdict is Verdict.COMPLETE
    assert decision.evidence["to_settle"] == ["t1c"]
    assert decision.evidence["undecided"] == [
        {
            "series_number": "8",
            "candidates": ["t1c", "t1n", "t2w", "t2f"],
            "reason": "neither its name nor its timing tells a contrast",
        }
    ]
    json.dumps(decision.evidence)


def test_one_series_left_open_stands_for_one_missing_contrast_only() -> None:
    one = decide(study(nameless()), RULES, LATER)
    assert (one.verdict, one.shortfall) == (Verdict.WAIT, "no t2f series")
    two = decide(study(nameless(), nameless("1.9", "9")), RULES, LATER)
    assert two.verdict is Verdict.COMPLETE
    assert sorted(two.evidence["to_settle"]) == ["t1c", "t2f"]


def test_the_series_that_can_only_be_one_contrast_is_matched_to_it() -> None:
    either_t1 = replace(nameless(), header=SeriesHeader("1.8", words="t1 without contrast post gad"))
    decision = decide(study(either_t1, nameless("1.9", "9")), RULES, LATER)
    assert sorted(decision.evidence["to_settle"]) == ["t1c", "t2f"]


def test_half_a_series_that_is_left_open_settles_nothing() -> None:
    half = SeriesFacts(nameless().header, [(0, 0, 0), (0, 0, 5)], (1, 0, 0, 0, 1, 0), 2)
    gappy = SeriesFacts(nameless().header, [(0, 0, z) for z in (0, 5, 10, 30, 35)], (1, 0, 0, 0, 1, 0), 5)
    for broken in (half, gappy):
        assert decide(study(broken, series(Contrast.FLAIR)), RULES, LATER).verdict is Verdict.WAIT

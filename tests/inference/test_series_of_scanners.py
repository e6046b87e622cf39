"""A table of series as scanners name and time them: a wrong class harms, an undecided one goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from imaging.series_of_scanners import TIMES, Row, series_of_scanners

from inference.contrasts import SeriesHeader, classify, classify_study, select_series
from inference.series_header import normalise_words
from inference.series_traits import Dixon, Origin, Plane, traits_of
from longitudinal.types import Contrast

T1C, T1, T2, FLAIR = Contrast.T1C, Contrast.T1, Contrast.T2, Contrast.FLAIR


def outcome(row: Row) -> str:
    """right, wrong (a contrast that it is not), lost (taken for unusable) or undecided."""
    found = classify(row.header)
    if found.undecided:
        return "undecided"
    if found.contrast is row.truth:
        return "right"
    return "wrong" if found.contrast else "lost"


def test_no_series_of_the_table_gets_a_wrong_class(record_property: Callable[[str, object], None]) -> None:
    rows = series_of_scanners()
    counts = Counter(outcome(row) for row in rows)
    record_property("series", len(rows))
    record_property("outcomes", dict(counts))
    assert len(rows) == 241
    assert len({row.maker for row in rows}) >= 9
    assert [row.header.words for row in rows if outcome(row) in ("wrong", "lost")] == []
    # names that say nothing, or contradict the timing or themselves, or hold an unclear sign of contrast agent
    assert counts == {"right": 229, "undecided": 12}, [r.header.words for r in rows if outcome(r) == "undecided"]


def test_by_name_alone_two_of_the_table_would_be_wrong_and_timing_unmasks_them() -> None:
    wrong = []
    for row in series_of_scanners():
        named = SeriesHeader("1.2", words=row.header.words, contrast_agent=row.header.contrast_agent,
                             image_type=row.header.image_type)  # fmt: skip
        if classify(named).contrast not in (None, row.truth):
            wrong.append(row.header.words)
    assert wrong == ["t2 tirm cor fs *tir2d1", "ax t1 post"]  # a STIR, and a T2 that kept the name of the T1


def t1(uid: str, acquired: str, name: str = "t1 se tra", **facts: object) -> SeriesHeader:
    timing = {**TIMES["se-t1"], "slice_thickness_mm": 5.0, **facts}
    return SeriesHeader(uid, words=normalise_words([name]), acquired=acquired, **timing)  # type: ignore[arg-type]


def test_the_same_t1_again_after_the_agent_is_the_one_with_contrast() -> None:
    perfusion = SeriesHeader("2", words="ep2d perf", acquired="20260101101000", contrast_agent="Gadovist",
                             scanning_sequence=("EP", "GR"))  # fmt: skip
    study = [t1("1", "20260101100000"), perfusion, t1("3", "20260101102000")]
    assert select_series(study) == {T1: "1", T1C: "3"}
    by_t1c = [t1("1", "20260101100000"), t1("2", "20260101101000", "t1 cor gd"), t1("3", "20260101102000")]
    assert classify_study(by_t1c)["3"].contrast is T1C
    assert classify_study(by_t1c)["1"].contrast is T1


def test_another_t1_after_the_agent_of_which_nothing_is_stated_stays_undecided() -> None:
    study = [t1("1", "20260101100000", "t1 gd"), t1("2", "20260101101000", "t1 sag", repetition_time_ms=480.0)]
    found = classify_study(study)["2"]
    assert found.undecided
    assert found.candidates == (T1C,)  # pixels may find the agent, not its absence
    denied = classify_study([study[0], t1("2", "20260101101000", "t1 nativ")])["2"]
    assert denied.undecided


def test_a_t1_run_twice_without_any_agent_is_not_guessed() -> None:
    found = classify_study([t1("1", "20260101100000"), t1("2", "20260101102000")])
    assert found["1"].contrast is T1
    assert found["2"].undecided
    # spin labelling needs no agent, even where the field is filled in
    asl = SeriesHeader("3", words="3d asl", acquired="20260101100500", contrast_agent="GAD")
    assert classify_study([asl, t1("1", "20260101100000"), t1("2", "20260101102000")])["2"].undecided


def test_times_of_reformats_say_nothing_about_the_agent() -> None:
    native = t1("1", "20260101100000")
    reformat = replace(native, series_uid="4", acquired="20260101110000", image_type=("DERIVED", "SECONDARY", "MPR"))
    after = t1("2", "20260101101000", "t1 gd")
    assert classify_study([native, after, reformat])["4"].contrast is T1


@pytest.mark.parametrize(
    ("orientation", "plane", "oblique"),
    [
        ((1, 0, 0, 0, 1, 0), Plane.AXIAL, False),
        ((1, 0, 0, 0, 0.9063, -0.4226), Plane.AXIAL, True),
        ((1, 0, 0, 0, 0.9962, -0.0872), Plane.AXIAL, False),
        ((0, 1, 0, 0, 0, -1), Plane.SAGITTAL, False),
        ((1, 0, 0, 0, 0, -1), Plane.CORONAL, False),
    ],
)
def test_plane_by_orientation(orientation: tuple[float, ...], plane: Plane, oblique: bool) -> None:
    found = traits_of(SeriesHeader("1", words="t1 cor", orientation=tuple(map(float, orientation))))
    assert (found.plane, found.oblique) == (plane, oblique)


@pytest.mark.parametrize(
    ("name", "kind", "dixon", "origin"),
    [
        ("t1 vibe dixon W", "", Dixon.WATER, Origin.ORIGINAL),
        ("WATER: Ax T1", "DERIVED\\PRIMARY\\DIXON\\WATER", Dixon.WATER, Origin.REFORMAT),
        ("T1 mDIXON", "DERIVED\\PRIMARY\\IP\\IP\\DERIVED", Dixon.IN_PHASE, Origin.REFORMAT),
        ("t1 dixon opp", "", Dixon.OPPOSED, Origin.ORIGINAL),
        ("t1 fat sat", "", Dixon.NONE, Origin.ORIGINAL),
        ("t1", "DERIVED\\SECONDARY\\MPR", Dixon.NONE, Origin.REFORMAT),
        ("t1", "DERIVED\\SECONDARY\\SUB", Dixon.NONE, Origin.COMPUTED),
    ],
)
def test_dixon_and_origin(name: str, kind: str, dixon: Dixon, origin: Origin) -> None:
    found = traits_of(SeriesHeader("1", words=normalise_words([name]), image_type=tuple(kind.split("\\"))))
    assert (found.dixon, found.origin) == (dixon, origin)


def test_selection_prefers_in_phase_to_water_and_axial_to_sagittal() -> None:
    dixon = [
        replace(t1(uid, "", "t1 dixon post " + part), orientation=(1, 0, 0, 0, 1, 0))
        for uid, part in (("1", "w"), ("2", "in"), ("3", "opp"))
    ]
    assert select_series(dixon) == {T1C: "2"}
    sagittal = replace(t1("1", "20260101100000", "t1 gd"), orientation=(0, 1, 0, 0, 0, -1))
    axial = replace(t1("2", "20260101095500", "t1 gd"), orientation=(1, 0, 0, 0, 1, 0))
    assert select_series([sagittal, axial]) == {T1C: "2"}


def test_what_the_pixels_settled_overrides_the_headers() -> None:
    nameless = SeriesHeader("1", words="series 4")
    assert select_series([nameless]) == {}
    assert select_series([nameless], {"1": FLAIR}) == {FLAIR: "1"}

"""The record: order of arrival must not show, references must be the right ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longitudinal.record import ObservedTimePoint, Record, RecordError, build_record
from longitudinal.types import Change, Compartment, LesionMeasurement, Reference, Region, Response

DAY0 = dt.date(2024, 3, 1)


def lesion(ml: float, sd_ml: float | None = None, index: int = 1) -> LesionMeasurement:
    sd = 0.05 * ml if sd_ml is None else sd_ml
    return LesionMeasurement(
        index=index,
        volumes_ml=dict.fromkeys(Region, ml),
        volume_sd_ml=dict.fromkeys(Region, sd),
        compartments_ml={c: (ml if c is Compartment.ENHANCING else 0.0) for c in Compartment},
        centroid=(0.0, 0.0, 0.0),
        longest=None,
        perpendicular=None,
        diameter_sop_instance_uid=None,
        max_3d_diameter_mm=20.0,
        surface_area_mm2=100.0,
        sphericity=0.8,
    )


def point(day: int, lesions: Mapping[str, float | None], evaluable: bool = True) -> ObservedTimePoint:
    measured = {uid: None if ml is None else lesion(ml) for uid, ml in lesions.items()}
    return ObservedTimePoint(f"1.2.{day}", DAY0 + dt.timedelta(days=day), measured, evaluable)


def course(*volumes: float, resets: tuple[int, ...] = ()) -> Record:
    points = [point(90 * n, {"1.9": ml}) for n, ml in enumerate(volumes)]
    return build_record(points, Region.CORE, [DAY0 + dt.timedelta(days=d) for d in resets])


def change(changes: tuple[Change, ...], reference: Reference) -> Change:
    return next(c for c in changes if c.reference is reference)


def test_references_of_a_course() -> None:
    record = course(10.0, 3.0, 2.0, 3.1)
    assert [p.response for p in record.time_points] == [
        Response.BASELINE,
        Response.PARTIAL,
        Response.PARTIAL,
        Response.PROGRESSIVE,
    ]
    last = record.time_points[-1]
    nadir = change(last.changes, Reference.NADIR)
    assert (nadir.reference_ml, nadir.interval_days) == (2.0, 90)
    assert nadir.relative == pytest.approx(0.55)
    assert change(last.changes, Reference.BASELINE).reference_ml == 10.0
    assert change(last.changes, Reference.PREVIOUS).reference_date == DAY0 + dt.timedelta(days=180)
    assert [p.context.is_nadir for p in record.time_points] == [True, True, True, False]
    assert [p.context.order for p in record.time_points] == [1, 2, 3, 4]


def test_nadir_excludes_the_scan_it_is_compared_with() -> None:
    last = course(10.0, 5.0).time_points[-1]
    assert change(last.changes, Reference.NADIR).reference_ml == 10.0


def test_a_change_within_the_measurement_error_is_not_reliable() -> None:
    record = course(10.0, 10.9, 14.5)
    assert not change(record.time_points[1].changes, Reference.PREVIOUS).reliable
    assert change(record.time_points[2].changes, Reference.BASELINE).reliable


def test_a_late_study_moves_the_nadir_of_the_studies_after_it() -> None:
    points = [point(0, {"1.9": 10.0}), point(180, {"1.9": 6.0})]
    assert build_record(points, Region.CORE).time_points[-1].response is Response.STABLE
    record = build_record([*points, point(90, {"1.9": 3.0})], Region.CORE)
    assert record.at("1.2.180").response is Response.PROGRESSIVE
    assert record.at("1.2.180").context.order == 3


def test_a_new_lesion_is_progression_once_it_is_measurable() -> None:
    points = [
        point(0, {"a": 10.0}),
        point(60, {"a": 2.0, "b": 0.3}),
        point(120, {"a": 2.0, "b": 0.9}),
        point(180, {"a": 2.0, "b": 0.9}),
    ]
    record = build_record(points, Region.CORE)
    assert [p.response for p in record.time_points] == [
        Response.BASELINE,
        Response.PARTIAL,
        Response.PROGRESSIVE,
        Response.PARTIAL,
    ]
    assert [x.is_new for p in record.time_points for x in p.lesions if x.tracking_uid == "b"] == [True, False, False]


def test_a_lesion_not_found_counts_zero_and_one_not_assessed_makes_the_study_not_evaluable() -> None:
    base = point(0, {"a": 5.0, "b": 2.0})
    gone = build_record([base, point(90, {"a": None, "b": None})], Region.CORE).time_points[-1]
    assert gone.response is Response.COMPLETE
    assert gone.total_ml == 0.0
    assert [x.response for x in gone.lesions] == [Response.COMPLETE, Response.COMPLETE]
    missing = build_record([base, point(90, {"a": 1.0})], Region.CORE).time_points[-1]
    assert missing.response is Response.NOT_EVALUABLE
    assert missing.changes == ()


def test_an_unevaluable_study_is_kept_but_never_a_reference() -> None:
    points = [point(0, {"a": 10.0}), point(60, {"a": 0.5}, evaluable=False), point(120, {"a": 9.0})]
    record = build_record(points, Region.CORE)
    assert [p.response for p in record.time_points] == [Response.BASELINE, Response.NOT_EVALUABLE, Response.STABLE]
    assert change(record.time_points[2].changes, Reference.NADIR).reference_ml == 10.0


def test_resection_makes_a_new_baseline() -> None:
    record = course(40.0, 2.0, 3.5, resets=(30,))
    assert [p.context.is_baseline for p in record.time_points] == [True, True, False]
    assert [p.response for p in record.time_points] == [Response.BASELINE, Response.BASELINE, Response.PROGRESSIVE]
    assert change(record.time_points[2].changes, Reference.BASELINE).reference_ml == 2.0
    assert record.time_points[2].context.days_from_baseline == 180


def test_one_study_twice_is_refused_by_name() -> None:
    with pytest.raises(RecordError, match=r"1\.2\.0 is twice"):
        build_record([point(0, {}), point(0, {})], Region.CORE)


volumes = st.one_of(st.none(), st.floats(0.0, 150.0))
studies = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(["a", "b", "c"]), volumes), st.booleans()), min_size=1, max_size=7
)


@settings(max_examples=150, deadline=None)
@given(studies=studies, order=st.randoms(use_true_random=False), same_day=st.booleans())
def test_the_order_of_arrival_never_shows(studies: list[tuple[dict[str, float | None], bool]], order, same_day) -> None:
    points = [
        ObservedTimePoint(
            f"1.2.{n}", DAY0 + dt.timedelta(days=30 * (n // 2 if same_day else n)), p.lesions, p.evaluable
        )
        for n, p in enumerate(point(n, lesions, evaluable) for n, (lesions, evaluable) in enumerate(studies))
    ]
    shuffled = points[:]
    order.shuffle(shuffled)
    resets = [DAY0 + dt.timedelta(days=45)]
    record = build_record(points, Region.CORE, resets)
    assert build_record(shuffled, Region.CORE, resets) == record
    # A prefix of the record does not change when later studies come: the nadir never looks ahead.
    shorter = build_record(points[:-1], Region.CORE, resets)
    assert record.time_points[: len(points) - 1] == shorter.time_points

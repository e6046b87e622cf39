"""What stands beside a RANO category: where baselines begin, what is confirmed, what may be pseudo-progression."""

from __future__ import annotations

import datetime as dt

import pytest

from longitudinal.patient_history import TreatmentEvent
from longitudinal.rano_reading import baseline_resets, reading_notes
from longitudinal.record import ObservedTimePoint, Record, build_record
from longitudinal.types import Compartment, LesionMeasurement, Region, Response, TumourType

DAY0 = dt.date(2025, 1, 10)


def day(number: int) -> dt.date:
    return DAY0 + dt.timedelta(days=number)


def record(points: dict[int, float | None], treatments: list[TreatmentEvent], kind: TumourType) -> Record:
    """Volumes by day; None is a study that cannot be evaluated."""
    observed = [
        ObservedTimePoint(f"1.2.{d}", day(d), {"1.9": None if ml is None else _lesion(ml)}, evaluable=ml is not None)
        for d, ml in points.items()
    ]
    return build_record(observed, kind.target, baseline_resets(treatments, kind))


def _lesion(ml: float) -> LesionMeasurement:
    return LesionMeasurement(
        1, dict.fromkeys(Region, ml), dict.fromkeys(Region, 0.02 * ml), dict.fromkeys(Compartment, 0.0),
        (0.0, 0.0, 0.0), None, None, None, 20.0, 100.0, 0.8,
    )  # fmt: skip


RT = TreatmentEvent("rt", day(10), day(52))
SURGERY = TreatmentEvent("surgery", day(3), day(3), extent="str")


def test_a_resection_and_the_end_of_the_first_radiotherapy_begin_a_baseline() -> None:
    again = TreatmentEvent("rt", day(300), day(320))
    biopsy = TreatmentEvent("surgery", day(200), day(200), extent="bx")
    planned = TreatmentEvent("surgery", day(400), planned=True)
    everything = [again, RT, biopsy, planned, SURGERY]
    assert baseline_resets(everything, TumourType.GBM) == (day(3), day(52))
    assert baseline_resets(everything, TumourType.METASTASIS) == (day(3),)
    assert baseline_resets([TreatmentEvent("rt", day(10))], TumourType.GBM) == (), "it has not ended"
    points = record({0: 30.0, 5: 8.0, 60: 6.0, 150: 9.0}, everything, TumourType.GBM).time_points
    assert [p.context.is_baseline for p in points] == [True, True, True, False]
    assert points[-1].response is Response.PROGRESSIVE, "+50 % against the MRI after radiotherapy"


def test_progression_soon_after_radiotherapy_is_called_what_it_may_be_until_it_persists() -> None:
    course = record({60: 6.0, 100: 12.0, 140: 13.0, 200: 13.0}, [RT], TumourType.GBM)
    notes = [reading_notes(course, n, TumourType.GBM, [RT]) for n in range(4)]
    assert notes[0] == []
    assert "PD 48 days after radiotherapy can be pseudo-progression" in notes[1][0]
    assert notes[2] == ["PD: progression was first seen 40 days before and persists."]
    assert "100 days" in notes[3][0]
    late = record({60: 6.0, 137: 12.0}, [RT], TumourType.GBM)
    assert "pseudo" not in " ".join(reading_notes(late, 1, TumourType.GBM, [RT])), "85 days after"


@pytest.mark.parametrize(("gap", "confirmed"), [(27, False), (28, True)])
def test_a_response_is_confirmed_four_weeks_later(gap: int, confirmed: bool) -> None:
    course = record({60: 20.0, 100: 6.0, 110: None, 100 + gap: 5.0}, [RT], TumourType.GBM)
    first, last = (" ".join(reading_notes(course, n, TumourType.GBM, [RT])) for n in (1, 3))
    assert "not confirmed yet" in first
    assert ("holds" in last) is confirmed
    assert ("not confirmed yet" in last) is not confirmed


def test_a_relapse_between_two_responses_breaks_the_row() -> None:
    course = record({0: 20.0, 60: 6.0, 120: 12.0, 180: 5.0}, [], TumourType.METASTASIS)
    assert [p.response.value for p in course.time_points] == ["baseline", "PR", "PD", "PR"]
    assert "not confirmed yet" in reading_notes(course, 3, TumourType.METASTASIS, [])[0]


def test_notes_on_a_study_do_not_know_what_came_later() -> None:
    later = TreatmentEvent("antiangiogenic", day(150))
    shorter = record({0: 20.0, 60: 6.0}, [], TumourType.METASTASIS)
    longer = record({0: 20.0, 60: 6.0, 200: 30.0}, [later], TumourType.METASTASIS)
    kind = TumourType.METASTASIS
    assert reading_notes(shorter, 1, kind, []) == reading_notes(longer, 1, kind, [later])
    assert "anti-angiogenic" in " ".join(reading_notes(longer, 2, kind, [later]))


def test_what_is_missing_is_said() -> None:
    small = record({0: 0.3, 60: 0.3}, [], TumourType.GBM)
    notes = " ".join(reading_notes(small, 1, TumourType.GBM, []))
    assert "No radiotherapy is recorded" in notes
    assert "Nothing measurable at baseline" in notes
    steroid = TreatmentEvent("steroid", day(10))
    course = record({0: 20.0, 60: 6.0}, [steroid], TumourType.METASTASIS)
    assert "Corticosteroids" in " ".join(reading_notes(course, 1, TumourType.METASTASIS, [steroid]))
    stopped = TreatmentEvent("steroid", day(10), day(20))
    assert "Corticosteroids" not in " ".join(reading_notes(course, 1, TumourType.METASTASIS, [stopped]))

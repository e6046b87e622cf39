"""RANO 2.0 around the category: where a baseline begins, what is confirmed, and what images alone cannot tell.

Source: Wen et al., J Clin Oncol 2023;41:5187. The baseline of a newly diagnosed glioblastoma is the first MRI after
radiotherapy; a resection begins a new one. A response counts when it is found again at least four weeks later;
progression in the twelve weeks after radiotherapy may be pseudo-progression until it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from longitudinal.patient_history import TreatmentEvent
from longitudinal.rano import MEASURABLE_ML
from longitudinal.record import Record, RecordedTimePoint
from longitudinal.types import Reference, Response, TumourType

CONFIRMATION_DAYS = 28
AFTER_RADIOTHERAPY_DAYS = 84

_RESPONSES = (Response.COMPLETE, Response.PARTIAL)


def baseline_resets(treatments: Sequence[TreatmentEvent], kind: TumourType) -> tuple[dt.date, ...]:
    """The days after which baseline and nadir start anew: resections and, in glioblastoma, the end of the first
    course of radiotherapy. A biopsy, and what was only planned, changes nothing."""
    given = [t for t in treatments if not t.planned]
    days = [t.start for t in given if t.kind == "surgery" and t.extent != "bx"]
    courses = sorted(t.stop for t in given if t.kind == "rt" and t.stop is not None)
    if kind is TumourType.GBM and courses:
        days.append(courses[0])
    return tuple(sorted(set(days)))


def reading_notes(record: Record, index: int, kind: TumourType, treatments: Sequence[TreatmentEvent]) -> list[str]:
    """What a reader of the category at `record.time_points[index]` has to know, in sentences without dates.

    Nothing that happened later is used, so that the notes on a study do not change when another follows.
    """
    point = record.time_points[index]
    known = [t for t in treatments if not t.planned and t.start <= point.context.acquired]
    notes = [*_baseline_notes(point, kind, known)]
    if point.response in _RESPONSES:
        notes.append(_response_note(record, index))
    elif point.response is Response.PROGRESSIVE:
        notes.append(_progression_note(record, index, known))
    return notes + _treatment_notes(point, known)


def _baseline_notes(point: RecordedTimePoint, kind: TumourType, known: Sequence[TreatmentEvent]) -> list[str]:
    notes = []
    if kind is TumourType.GBM and not any(t.kind == "rt" for t in known):
        notes.append(
            "No radiotherapy is recorded for this patient; RANO 2.0 takes the first MRI after radiotherapy as the "
            "baseline of a newly diagnosed glioblastoma."
        )
    baseline = [c.reference_ml for c in point.changes if c.reference is Reference.BASELINE]
    if baseline and baseline[0] < MEASURABLE_ML:
        notes.append(
            f"Nothing measurable at baseline ({baseline[0]:.2f} ml, measurable from {MEASURABLE_ML} ml): "
            "a partial response cannot be stated."
        )
    return notes


def _response_note(record: Record, index: int) -> str:
    name = record.time_points[index].response.value
    days = _days_since_first(record, index, _RESPONSES)
    if days >= CONFIRMATION_DAYS:
        return f"{name}: a response was first seen {days} days before and holds."
    return f"{name} is not confirmed yet: RANO 2.0 asks for a scan at least {CONFIRMATION_DAYS} days after the first."


def _progression_note(record: Record, index: int, known: Sequence[TreatmentEvent]) -> str:
    days = _days_since_first(record, index, (Response.PROGRESSIVE,))
    if days >= CONFIRMATION_DAYS:
        return f"PD: progression was first seen {days} days before and persists."
    since = _days_after_radiotherapy(record.time_points[index], known)
    if since is not None and since <= AFTER_RADIOTHERAPY_DAYS:
        return (
            f"PD {since} days after radiotherapy can be pseudo-progression: RANO 2.0 asks for a confirming scan at "
            f"least {CONFIRMATION_DAYS} days later."
        )
    return "PD was not seen in the study before; a confirming scan settles what remains in doubt."


def _days_since_first(record: Record, index: int, sort: Sequence[Response]) -> int:
    """Days from the first of the unbroken row of time points of this sort that ends at `index`; those that cannot be
    evaluated break no row."""
    now = record.time_points[index]
    first = now
    for point in reversed(record.time_points[:index]):
        if point.response is Response.NOT_EVALUABLE:
            continue
        if point.response not in sort:
            break
        first = point
    return (now.context.acquired - first.context.acquired).days


def _days_after_radiotherapy(point: RecordedTimePoint, known: Sequence[TreatmentEvent]) -> int | None:
    ended = [t.stop or point.context.acquired for t in known if t.kind in ("rt", "srs")]
    return max((point.context.acquired - max(ended)).days, 0) if ended else None


def _treatment_notes(point: RecordedTimePoint, known: Sequence[TreatmentEvent]) -> list[str]:
    running = {t.kind for t in known if t.stop is None or t.stop >= point.context.acquired}
    notes = []
    if "antiangiogenic" in running:
        notes.append(
            "Under anti-angiogenic treatment enhancement can fall while the tumour does not: look at FLAIR as well."
        )
    if "steroid" in running and point.response in _RESPONSES:
        notes.append("Corticosteroids are recorded: at a higher dose than before this would be no response.")
    return notes

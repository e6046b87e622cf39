"""The longitudinal record of one patient: a fold over time points sorted by acquisition.

The record is recomputed from all time points whenever one is added, so a study that arrives late or twice
stands where its date puts it, and the order of arrival never shows in the result.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from longitudinal.rano import DETECTABLE_ML, MEASURABLE_ML, Burden, category
from longitudinal.types import (
    Change,
    LesionMeasurement,
    LesionResult,
    Reference,
    Region,
    Response,
    TimePointContext,
)

RELIABLE_Z = 1.959964
"""A change is reliable beyond this many standard deviations of the difference of two measurements (95 %)."""

_VANISHED_SD_ML = DETECTABLE_ML / RELIABLE_Z


class RecordError(ValueError):
    """The time points contradict each other; the message names the study."""


@dataclass(frozen=True, slots=True)
class ObservedTimePoint:
    """What one study contributes to the record.

    `lesions` maps tracking UIDs to measurements; None says that the lesion was looked for and not found, a
    tracking UID that is absent was not assessed in this study. `evaluable` is False where the study as a whole
    cannot be judged (motion, missing contrast). `acquired_time` orders studies of one day.
    """

    study_instance_uid: str
    acquired: dt.date
    lesions: Mapping[str, LesionMeasurement | None]
    evaluable: bool = True
    acquired_time: dt.time = dt.time.min


@dataclass(frozen=True, slots=True)
class RecordedTimePoint:
    """One time point of the record with everything that depends on the others.

    `lesions` in the order in which they were first seen; `changes` and `response` are the patient's, from the
    sum over all lesions (`total_ml` of the record's target region, `total_sd_ml` one SD of repeat measurement).
    """

    study_instance_uid: str
    context: TimePointContext
    lesions: tuple[LesionResult, ...]
    changes: tuple[Change, ...]
    response: Response
    total_ml: float
    total_sd_ml: float


@dataclass(frozen=True, slots=True)
class Record:
    """The time points of one patient in order of acquisition, judged on the volume of `target`."""

    target: Region
    time_points: tuple[RecordedTimePoint, ...]

    def at(self, study_instance_uid: str) -> RecordedTimePoint:
        """The time point of a study.

        Raises:
            KeyError: when the study is not in the record.
        """
        for time_point in self.time_points:
            if time_point.study_instance_uid == study_instance_uid:
                return time_point
        raise KeyError(study_instance_uid)


def build_record(
    time_points: Iterable[ObservedTimePoint],
    target: Region,
    resets: Collection[dt.date] = (),
    tracking_ids: Mapping[str, str] | None = None,
) -> Record:
    """Fold the time points of one patient into the record; any order of `time_points` gives the same record.

    `resets` are the dates of treatments after which baseline and nadir start anew (resection; end of
    radiotherapy of a newly diagnosed glioblastoma): the first evaluable time point after such a date is a new
    baseline. `tracking_ids` are names of lesions by tracking UID; without one a lesion is called "Lesion n".

    Raises:
        RecordError: when two time points carry the same study instance UID.
    """
    ordered = sorted(time_points, key=lambda p: (p.acquired, p.acquired_time, p.study_instance_uid))
    seen: set[str] = set()
    for point in ordered:
        if point.study_instance_uid in seen:
            raise RecordError(f"study {point.study_instance_uid} is twice in the record")
        seen.add(point.study_instance_uid)
    fold = _Fold(target, sorted(resets), dict(tracking_ids or {}))
    return Record(target, tuple(fold.step(point) for point in ordered))


@dataclass(frozen=True, slots=True)
class _Value:
    """A volume with its SD on a date."""

    date: dt.date
    ml: float
    sd_ml: float


@dataclass(slots=True)
class _References:
    """Baseline, nadir and previous value of one lesion or of the total within one segment of the record."""

    baseline: _Value | None = None
    nadir: _Value | None = None
    previous: _Value | None = None

    def changes(self, now: _Value) -> tuple[Change, ...]:
        pairs = (
            (Reference.BASELINE, self.baseline),
            (Reference.NADIR, self.nadir),
            (Reference.PREVIOUS, self.previous),
        )
        return tuple(_change(kind, value, now) for kind, value in pairs if value is not None)

    def category(self, now: _Value, new_measurable_lesion: bool = False) -> Response:
        if self.baseline is None or self.nadir is None:
            return Response.BASELINE
        return category(Burden(now.ml, self.baseline.ml, self.nadir.ml), new_measurable_lesion)

    def is_nadir(self, now: _Value) -> bool:
        return self.nadir is None or now.ml < self.nadir.ml

    def include(self, now: _Value) -> None:
        if self.is_nadir(now):
            self.nadir = now
        self.baseline = self.baseline or now
        self.previous = now


@dataclass(slots=True)
class _Fold:
    target: Region
    resets: Sequence[dt.date]
    tracking_ids: dict[str, str]
    order: int = 0
    first: dt.date | None = None
    segment: int = -1
    known: list[str] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)
    """Lesions that an evaluable study has shown before."""
    emerging: set[str] = field(default_factory=set)
    """Lesions that came after baseline and have not been measurable yet."""
    total: _References = field(default_factory=_References)
    by_lesion: dict[str, _References] = field(default_factory=dict)

    def step(self, point: ObservedTimePoint) -> RecordedTimePoint:
        self.order += 1
        self.first = self.first or point.acquired
        self._begin_segment(point)
        self._register(point)
        new = self._new(point)
        emerged = self._emerged(point, new)
        total = self._total(point)
        assessed = point.evaluable and all(uid in point.lesions for uid in self.known)
        is_baseline = assessed and self.total.baseline is None
        lesions = tuple(
            self._lesion(uid, point, uid in new, uid in emerged) for uid in self.known if uid in point.lesions
        )
        changes = self.total.changes(total) if assessed else ()
        response = self._response(total, assessed, bool(emerged))
        is_nadir = assessed and self.total.is_nadir(total)
        if assessed:
            self.total.include(total)
        days = (point.acquired - self.first).days
        context = TimePointContext(self.order, point.acquired, days, is_baseline, is_nadir)
        return RecordedTimePoint(point.study_instance_uid, context, lesions, changes, response, total.ml, total.sd_ml)

    def _begin_segment(self, point: ObservedTimePoint) -> None:
        segment = bisect_right(self.resets, point.acquired)
        if segment != self.segment:
            self.segment = segment
            self.total = _References()
            self.by_lesion = {}
            self.emerging = set()

    def _register(self, point: ObservedTimePoint) -> None:
        """Take up lesions seen for the first time, largest first."""
        sizes = {
            uid: measurement.volumes_ml[Region.WHOLE]
            for uid, measurement in point.lesions.items()
            if measurement is not None and uid not in self.known
        }
        for uid in sorted(sizes, key=lambda uid: (-sizes[uid], uid)):
            self.known.append(uid)
            self.tracking_ids.setdefault(uid, f"Lesion {len(self.known)}")

    def _new(self, point: ObservedTimePoint) -> set[str]:
        if not point.evaluable:
            return set()
        shown = {uid for uid, measurement in point.lesions.items() if measurement is not None}
        new = shown - self.judged if self.total.baseline is not None else set()
        self.judged |= shown
        return new

    def _emerged(self, point: ObservedTimePoint, new: set[str]) -> set[str]:
        """The lesions not there at baseline that are measurable for the first time in this study."""
        self.emerging |= new
        if not point.evaluable:
            return set()
        seen = {uid for uid in self.emerging if uid in point.lesions}
        emerged = {uid for uid in seen if _value(point, uid, self.target).ml >= MEASURABLE_ML}
        self.emerging -= emerged
        return emerged

    def _total(self, point: ObservedTimePoint) -> _Value:
        values = [_value(point, uid, self.target) for uid in self.known if uid in point.lesions]
        sd_ml = math.sqrt(math.fsum(v.sd_ml**2 for v in values)) if values else _VANISHED_SD_ML
        return _Value(point.acquired, math.fsum(v.ml for v in values), sd_ml)

    def _lesion(self, uid: str, point: ObservedTimePoint, is_new: bool, emerged: bool) -> LesionResult:
        now = _value(point, uid, self.target)
        changes: tuple[Change, ...] = ()
        response = Response.NOT_EVALUABLE
        if point.evaluable:
            references = self.by_lesion.setdefault(uid, _References())
            changes = references.changes(now)
            response = Response.PROGRESSIVE if emerged else references.category(now)
            references.include(now)
        return LesionResult(uid, self.tracking_ids[uid], point.lesions[uid], changes, response, is_new)

    def _response(self, total: _Value, assessed: bool, emerged: bool) -> Response:
        if not assessed:
            # A lesion that was not assessed can hide a response, but not a progression.
            return Response.PROGRESSIVE if emerged else Response.NOT_EVALUABLE
        return self.total.category(total, emerged)


def _value(point: ObservedTimePoint, uid: str, region: Region) -> _Value:
    measurement = point.lesions[uid]
    if measurement is None:
        return _Value(point.acquired, 0.0, _VANISHED_SD_ML)
    return _Value(point.acquired, measurement.volumes_ml[region], measurement.volume_sd_ml[region])


def _change(kind: Reference, reference: _Value, now: _Value) -> Change:
    absolute_ml = now.ml - reference.ml
    return Change(
        reference=kind,
        reference_date=reference.date,
        interval_days=(now.date - reference.date).days,
        reference_ml=reference.ml,
        absolute_ml=absolute_ml,
        relative=absolute_ml / reference.ml if reference.ml > 0 else None,
        reliable=abs(absolute_ml) > RELIABLE_Z * math.hypot(now.sd_ml, reference.sd_ml),
    )

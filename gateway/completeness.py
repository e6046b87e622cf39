"""When is a study complete? A pure decision from what is there, the rules and the time, with its evidence.

The quiet time alone proves nothing: a sender that stalls, or one association for each image, looks the same. So the
required contrasts must be there, told from the headers as the analysis will tell them, and no slice missing inside a
series that will be used - or whole series of which the headers leave open what they are, for the analysis to settle
by their pixels; and the sender must have finished: every association released, and one that broke off tried
again or given up. A restart is no evidence of anything: it only lets timers run on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.settings import ForcePolicy
from inference.contrasts import AmbiguousSeries, Classification, SeriesHeader, classify_study, select_series
from inference.slice_stack import BrokenStack, find_slice_gaps
from longitudinal.types import Contrast

FEWEST_SLICES = 3
"""A series with fewer slice positions is not there yet: no volume can be made of it."""

LOOK_AGAIN = dt.timedelta(seconds=1)


class Verdict(StrEnum):
    """What to do with a study whose timer has run out."""

    COMPLETE = "complete"
    WAIT = "wait"
    HOLD = "hold"
    DISCARD = "discard"
    PRELIMINARY = "preliminary"


@dataclass(frozen=True)
class SeriesFacts:
    """A series with where its images are: positions (LPS mm) and the common orientation, None where not stated."""

    header: SeriesHeader
    positions: Sequence[Sequence[float]]
    orientation: Sequence[float] | None
    images: int


@dataclass(frozen=True)
class ArchiveSays:
    """What the archive of a study's sender says: how many images there are, None while that is not known. Then
    `problem` tells why, and the study waits for the answer until `awaited_until`."""

    archive: str
    images: int | None
    awaited_until: dt.datetime | None = None
    problem: str = ""
    asked_at: dt.datetime | None = None


@dataclass(frozen=True)
class StudyFacts:
    """A study as it stands. `quiet_until` is the end of its quiet time, `force_at` that of all waiting;
    `expected_images` is the count that the sender's archive gives, None where it is not known; `archive` is what was
    asked of it, None where it is not to be asked. Images still come in
    over `open_associations`; a sender whose association broke off is waited for until `retry_until`."""

    series: Sequence[SeriesFacts]
    quiet_until: dt.datetime
    force_at: dt.datetime
    expected_images: int | None = None
    open_associations: int = 0
    retry_until: dt.datetime | None = None
    archive: ArchiveSays | None = None


@dataclass(frozen=True)
class Rules:
    """What a complete study must hold and what happens when it does not in time."""

    required: tuple[Contrast, ...]
    force_policy: ForcePolicy
    allow_slice_gaps: bool = False


@dataclass(frozen=True)
class Decision:
    """The verdict with its evidence (JSON). `look_again` says when a waiting study is decided on next."""

    verdict: Verdict
    evidence: Mapping[str, Any] = field(default_factory=dict)
    look_again: dt.datetime | None = None

    @property
    def shortfall(self) -> str:
        """What is missing, in words; empty where nothing is."""
        return "; ".join(self.evidence.get("missing", []))


def decide(facts: StudyFacts, rules: Rules, now: dt.datetime) -> Decision:
    """Decide on a study. Never complete before `quiet_until`; never waiting after `force_at`."""
    evidence = _evidence(facts, rules)
    if now < facts.quiet_until:
        return Decision(Verdict.WAIT, evidence, min(facts.quiet_until, facts.force_at))
    if now < facts.force_at:
        busy = _busy_until(facts, now)
        if busy is not None:
            return Decision(Verdict.WAIT, _with_reason(evidence, facts, now), min(busy, facts.force_at))
        if evidence["missing"]:
            return Decision(Verdict.WAIT, evidence, facts.force_at)
    if not evidence["missing"]:
        return Decision(Verdict.COMPLETE, evidence)
    return Decision(
        Verdict(rules.force_policy.value), {**evidence, "forced": True, "preliminary": _is_preliminary(rules)}
    )


def _busy_until(facts: StudyFacts, now: dt.datetime) -> dt.datetime | None:
    """When to look again at a study whose sender has not finished; None where it has."""
    if facts.open_associations:
        return now + LOOK_AGAIN
    if facts.retry_until is not None and now < facts.retry_until:
        return min(facts.retry_until, now + LOOK_AGAIN)  # the sender may be back, and through, at any moment
    if _is_awaited(facts.archive, now):
        return now + LOOK_AGAIN
    return None


def _is_awaited(archive: ArchiveSays | None, now: dt.datetime) -> bool:
    return archive is not None and archive.awaited_until is not None and now < archive.awaited_until


def _with_reason(evidence: dict[str, Any], facts: StudyFacts, now: dt.datetime) -> dict[str, Any]:
    if facts.open_associations:
        why = f"{facts.open_associations} association(s) still open"
    elif facts.retry_until is not None and now < facts.retry_until:
        why = "an association broke off, the sender may try again"
    else:
        why = "the archive has not said how many images there are"
    return {**evidence, "missing": [*evidence["missing"], why]}


def _is_preliminary(rules: Rules) -> bool:
    return rules.force_policy is ForcePolicy.PRELIMINARY


def _evidence(facts: StudyFacts, rules: Rules) -> dict[str, Any]:
    chosen = _chosen(facts)
    received = sum(s.images for s in facts.series)
    undecided = _undecided(facts, rules)
    to_settle = _open_to_pixels([c for c in rules.required if c not in chosen], undecided)
    missing = [f"no {c.value} series" for c in rules.required if c not in chosen and c not in to_settle]
    contrasts, notes = {}, []
    for contrast, candidates in chosen.items():
        for series in candidates:
            slices, gaps, note = _slices(series)
            contrasts[contrast.value] = {"series_number": series.header.series_number, "slices": slices}
            notes.extend([f"{contrast.value}: {note}"] if note else [])
            if slices < FEWEST_SLICES:
                missing.append(f"the {contrast.value} series has {slices} slice(s)")
            if gaps and not rules.allow_slice_gaps:
                missing.append(f"{gaps} slice(s) missing inside the {contrast.value} series")
    if facts.expected_images is not None and received < facts.expected_images:
        missing.append(f"{received} of {facts.expected_images} images")
    if facts.archive is not None and facts.archive.images is None:
        notes.append(f"how many images {facts.archive.archive} holds is not known: {facts.archive.problem}")
    return {
        "images": received,
        "expected_images": facts.expected_images,
        **({"archive": _archive(facts.archive)} if facts.archive else {}),
        "contrasts": contrasts,
        "undecided": [_left_open(series, found) for series, found in undecided],
        "to_settle": [contrast.value for contrast in to_settle],
        "missing": missing,
        "notes": notes,
    }


def _archive(says: ArchiveSays) -> dict[str, Any]:
    asked_at = says.asked_at.isoformat(timespec="seconds") if says.asked_at else None
    return {"name": says.archive, "images": says.images, "asked_at": asked_at, "problem": says.problem}


def _chosen(facts: StudyFacts) -> dict[Contrast, list[SeriesFacts]]:
    """The series that the analysis will use, by contrast; all candidates where a person will have to choose."""
    by_uid = {s.header.series_uid: s for s in facts.series}
    try:
        selected = select_series(s.header for s in facts.series)
        return {contrast: [by_uid[uid]] for contrast, uid in selected.items()}
    except AmbiguousSeries:
        told = classify_study(s.header for s in facts.series)
        found: dict[Contrast, list[SeriesFacts]] = {}
        for series in facts.series:
            contrast = told[series.header.series_uid].contrast
            if contrast is not None:
                found.setdefault(contrast, []).append(series)
        return found


def _undecided(facts: StudyFacts, rules: Rules) -> list[tuple[SeriesFacts, Classification]]:
    """Whole series whose contrast the headers leave open, with what they leave."""
    told = classify_study(s.header for s in facts.series)
    found = []
    for series in facts.series:
        slices, gaps, _ = _slices(series)
        whole = slices >= FEWEST_SLICES and (rules.allow_slice_gaps or not gaps)
        if told[series.header.series_uid].undecided and whole:
            found.append((series, told[series.header.series_uid]))
    return found


def _open_to_pixels(
    contrasts: Sequence[Contrast], undecided: Sequence[tuple[SeriesFacts, Classification]]
) -> tuple[Contrast, ...]:
    """Of the contrasts that are missing those that undecided series could be, each series counted once: pixels are
    seen only after de-identification, so the study goes on and the analysis settles it, or ends with a person."""
    owner: dict[int, Contrast] = {}

    def place(contrast: Contrast, tried: set[int]) -> bool:
        for index, (_, found) in enumerate(undecided):
            if contrast in found.candidates and index not in tried:
                tried.add(index)
                if index not in owner or place(owner[index], tried):
                    owner[index] = contrast
                    return True
        return False

    return tuple(contrast for contrast in contrasts if place(contrast, set()))


def _left_open(series: SeriesFacts, found: Classification) -> dict[str, Any]:
    return {
        "series_number": series.header.series_number,
        "candidates": [c.value for c in found.candidates],
        "reason": found.reason,
    }


def _slices(series: SeriesFacts) -> tuple[int, int, str]:
    """Number of slice positions, of slices missing between them, and what keeps from telling."""
    distinct = {tuple(p) for p in series.positions}
    if series.orientation is None or not distinct:
        # Waiting brings no geometry: the analysis says what is wrong with the images.
        return max(series.images, FEWEST_SLICES), 0, "position or orientation is not stated"
    try:
        gaps = find_slice_gaps(list(distinct), series.orientation)
    except BrokenStack as problem:
        return len(distinct), 0, str(problem)
    return len(distinct), sum(g.missing for g in gaps), ""

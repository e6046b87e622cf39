"""Which earlier studies of a patient are fetched: theirs beyond doubt, MR of the brain, not too old, not too many."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gateway.archive_query import Archive, ArchivedSeries, ArchivedStudy
from gateway.archive_settings import Priors
from gateway.expected_count import images_in

MOST_LOOKED_INTO = 50
"""Studies whose series are asked for at most, whatever the archive holds under the patient ID."""


@dataclass(frozen=True)
class Wanted:
    """An earlier study to fetch and its MR series, by Series Instance UID with the number of images."""

    study_instance_uid: str
    acquired: dt.date
    series: dict[str, int]


@dataclass
class Choice:
    """What to fetch, the oldest first, and how many studies were found and left out for which reason."""

    wanted: list[Wanted] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Wish:
    """What is looked for: earlier studies than the one acquired on `before`, that are not `here` already."""

    limits: Priors
    before: dt.date
    here: Collection[str]
    is_same_patient: Callable[[ArchivedStudy], bool]


def choose(archive: Archive, found: Sequence[ArchivedStudy], wish: Wish) -> Choice:
    """Choose from what an archive answered, the newest first.

    Raises:
        ArchiveSilent: where the archive does not tell the series of a study.
    """
    choice = Choice()
    newest_first = sorted(found, key=lambda s: (s.acquired or dt.date.min, s.study_instance_uid), reverse=True)
    for number, study in enumerate(newest_first):
        choice.counts["found"] += 1
        reason = _reason_to_leave(study, wish)
        if reason is None and len(choice.wanted) >= wish.limits.max_studies:
            reason = "beyond the number"
        if reason is None and number >= MOST_LOOKED_INTO:
            reason = "not looked into"
        wanted = _look_into(archive, study, wish.limits) if reason is None else None
        if wanted is not None:
            choice.wanted.insert(0, wanted)
        else:
            choice.counts[reason or "not MR of the brain"] += 1
    choice.counts["wanted"] = len(choice.wanted)
    return choice


def _reason_to_leave(study: ArchivedStudy, wish: Wish) -> str | None:
    if not wish.is_same_patient(study):  # archives exist that ignore a key they do not know
        return "another patient"
    if study.study_instance_uid in wish.here:
        return "here already"
    if study.modalities and "MR" not in study.modalities:
        return "not MR of the brain"
    if study.acquired is None:
        return "without a date"
    if study.acquired > wish.before:
        return "later"
    if (wish.before - study.acquired).days > wish.limits.max_age_days:
        return "too old"
    return None


def _look_into(archive: Archive, study: ArchivedStudy, limits: Priors) -> Wanted | None:
    series = [s for s in archive.series(study.study_instance_uid) if s.modality == "MR"]
    if study.acquired is None or not _is_of_the_brain(study, series, limits):
        return None
    images = images_in(archive, study.study_instance_uid, series, {})
    counts = {uid: count for uid, count in images.items() if count}
    return Wanted(study.study_instance_uid, study.acquired, counts) if counts else None


def _is_of_the_brain(study: ArchivedStudy, series: Sequence[ArchivedSeries], limits: Priors) -> bool:
    texts = [study.description, *(s.description for s in series), *(s.body_part for s in series)]
    words = [word.casefold() for word in limits.words]
    return any(word in text.casefold() for text in texts for word in words)

"""Which of the studies in an archive are fetched as priors, and why the others are not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.archive_query import ArchivedSeries, ArchivedStudy
from gateway.archive_settings import Priors
from gateway.prior_choice import MOST_LOOKED_INTO, Wish, choose

TODAY = dt.date(2026, 6, 1)
BRAIN = ArchivedSeries("1", "MR", 5, "T1 MPRAGE", "BRAIN")


@dataclass
class _Archive:
    """An archive whose studies have the one series of MR that is given."""

    of_study: ArchivedSeries = BRAIN
    asked: list[str] = field(default_factory=list)
    classes: Sequence[str] = ()

    def studies(self, patient_id: str) -> list[ArchivedStudy]:
        raise AssertionError("asked before")

    def series(self, study_instance_uid: str) -> list[ArchivedSeries]:
        self.asked.append(study_instance_uid)
        return [self.of_study, ArchivedSeries("2", "SR", 1, "brain report")]

    def sop_classes(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        return list(self.classes)


def _study(uid: str, days_before: int | None, modalities: str = "MR", patient_id: str = "P") -> ArchivedStudy:
    acquired = None if days_before is None else TODAY - dt.timedelta(days=days_before)
    return ArchivedStudy(uid, patient_id, "", acquired, frozenset(modalities.split()), "follow-up")


def _wish(here: Sequence[str] = (), **limits: int) -> Wish:
    return Wish(Priors(archive="PACS", **limits), TODAY, here, lambda found: found.patient_id == "P")


def test_the_newest_are_taken_and_fetched_oldest_first() -> None:
    found = [_study(str(days), days) for days in (300, 100, 400, 200)]
    choice = choose(_Archive(), found, _wish(max_studies=3))
    assert [w.study_instance_uid for w in choice.wanted] == ["300", "200", "100"]
    assert choice.wanted[0].series == {"1": 5}
    assert choice.counts == {"found": 4, "wanted": 3, "beyond the number": 1}


def test_each_study_that_is_left_out_has_its_reason() -> None:
    found = [
        _study("other", 10, patient_id="Q"),
        _study("here", 20),
        _study("ct", 30, "CT SR"),
        _study("undated", None),
        _study("later", -5),
        _study("old", 2000),
        _study("good", 1825),
    ]
    choice = choose(_Archive(), found, _wish(here=["here"]))
    assert [w.study_instance_uid for w in choice.wanted] == ["good"]
    assert choice.counts == {
        "found": 7,
        "wanted": 1,
        "another patient": 1,
        "here already": 1,
        "not MR of the brain": 1,
        "without a date": 1,
        "later": 1,
        "too old": 1,
    }


def test_brain_is_told_by_body_part_or_description() -> None:
    def is_wanted(series: ArchivedSeries) -> bool:
        return bool(choose(_Archive(series), [_study("1", 10)], _wish()).wanted)

    assert is_wanted(ArchivedSeries("1", "MR", 5, "", "Brain"))
    assert is_wanted(ArchivedSeries("1", "MR", 5, "t2 Schädel axial", ""))
    assert not is_wanted(ArchivedSeries("1", "MR", 5, "T2 sag", "KNEE"))
    assert not is_wanted(ArchivedSeries("1", "MR", 5, "", ""))
    assert not is_wanted(ArchivedSeries("1", "MR", 0, "", "BRAIN")), "nothing to fetch"
    assert not is_wanted(ArchivedSeries("1", "CT", 5, "", "BRAIN"))


def test_an_endless_list_is_not_looked_through() -> None:
    archive = _Archive(ArchivedSeries("1", "MR", 5, "", "KNEE"))
    found = [_study(str(n), n) for n in range(MOST_LOOKED_INTO + 30)]
    choice = choose(archive, found, _wish())
    assert len(archive.asked) == MOST_LOOKED_INTO
    assert choice.counts["not looked into"] == 30

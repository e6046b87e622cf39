"""Coarsening: nobody stands alone, curves stay, features follow the rounded times."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longitudinal.disclosure import BLANKED_IN_TURN, coarsen
from longitudinal.histories import Histories, Patient, Source, decode, encode
from longitudinal.types import TumourType
from training.simulate.histories import simulate_histories

COHORT = simulate_histories(80, seed=9).histories


def classes(histories: Histories) -> Counter[tuple[object, ...]]:
    return Counter(tuple(getattr(p, name) for name in BLANKED_IN_TURN) for p in histories.patients)


@settings(max_examples=40, deadline=None)
@given(number=st.integers(5, 80), k=st.integers(1, 8))
def test_every_combination_is_shared_by_k(number: int, k: int) -> None:
    part = COHORT.model_copy(update={"patients": COHORT.patients[:number]})
    coarse, report = coarsen(part, k=k)
    assert [p.pid for p in coarse.patients] == [p.pid for p in part.patients]
    assert report.smallest_class == min(classes(coarse).values())
    assert report.reached == (report.smallest_class >= k)
    assert report.reached or number < k
    assert decode(encode(coarse)) is not None


def test_a_large_cohort_keeps_what_is_common() -> None:
    coarse, report = coarsen(simulate_histories(1200, seed=9).histories)
    assert report.reached
    assert report.blanked["tumour_type"] == 0
    assert report.blanked["age_decade"] < 60
    assert coarse.deidentification is not None
    assert coarse.deidentification.k_anonymity_checked


def test_a_small_cohort_is_blanked_and_said_to_be_not_anonymous() -> None:
    part = COHORT.model_copy(update={"patients": COHORT.patients[:3]})
    coarse, report = coarsen(part)
    assert {p.tumour_type for p in coarse.patients} == {TumourType.OTHER}
    assert all(p.sex is None and p.age_decade is None for p in coarse.patients)
    assert not report.reached
    assert coarse.deidentification is not None
    assert not coarse.deidentification.k_anonymity_checked
    assert any("not k-anonymous" in sentence and "3 patients" in sentence for sentence in report.sentences)
    assert [len(p.scans) for p in coarse.patients] == [len(p.scans) for p in part.patients]


def test_times_are_rounded_everywhere_and_features_follow() -> None:
    coarse, _ = coarsen(COHORT, interval_days=14)
    for old, new in zip(COHORT.patients, coarse.patients, strict=True):
        for before, after in zip(old.scans, new.scans, strict=True):
            assert after.t % 14 == 0
            assert abs(after.t - before.t) <= 7
            assert after.features[6] == pytest.approx(after.t / 365.25)
        for treatment in new.treatments:
            assert treatment.start % 14 == 0
            assert treatment.decided % 14 == 0
            assert treatment.stop is not None
            assert treatment.stop % 14 == 0


def test_a_blanked_type_is_followed_by_the_whole_tumour() -> None:
    gbm = next(p for p in COHORT.patients if p.tumour_type is TumourType.GBM)
    coarse, _ = coarsen(COHORT.model_copy(update={"patients": (gbm,)}))
    scan, before = coarse.patients[0].scans[0], gbm.scans[0]
    volumes = before.volume_cc
    assert scan.target_cc == pytest.approx(volumes.enhancing + volumes.necrotic + volumes.oedema)
    assert scan.rano is None


def test_rare_agents_and_scanners_lose_their_names() -> None:
    def with_agent(patient: Patient, agent: str) -> Patient:
        treatments = tuple(t.model_copy(update={"agent": agent}) for t in patient.treatments)
        return patient.model_copy(update={"treatments": treatments})

    treated = [p for p in COHORT.patients if p.treatments][:7]
    patients = (*(with_agent(p, "temozolomide") for p in treated[:6]), with_agent(treated[6], "trial-drug"))
    coarse, report = coarsen(Histories(source=Source(kind="site-export", site="x"), patients=patients))
    agents = {t.agent for p in coarse.patients for t in p.treatments}
    assert agents == {"temozolomide", None}
    assert report.agents == 1
    assert dataclasses.asdict(report)["patients"] == 7


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        coarsen(COHORT, interval_days=0)

"""What rules of completeness and series selection would have made of past studies, beside what was made of them.

Reads headers and positions from the index alone; no pixels, no network, and nothing is written. Times run as they ran:
the quiet time from the last image, the force time from the first. What an archive would have answered, and breaks of
associations, are not replayed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlmodel import Session, col, select

from deidentify.keys import KeyRing
from gateway.completeness import Decision, StudyFacts, Verdict, decide
from gateway.completion import rules_from, study_facts
from gateway.study_settings import Study as StudyRules
from gateway.tables import Analysis, Study
from inference.contrasts import AmbiguousSeries, classify_study, select_series

NO_RETRY = dt.timedelta(0)


@dataclass(frozen=True)
class SimulatedStudy:
    """One study under the rules: `decision` is complete, preliminary, hold or discard, made `after_last_image_s`
    seconds after the last image; `series` and `used` are series numbers by contrast, as the rules choose and as they
    were analysed (empty where the study never was). `differences` are sentences."""

    study_key: str
    acquired: dt.date | None
    source_ae: str
    state: str
    decision: str
    after_last_image_s: float | None
    reason: str
    series: Mapping[str, str]
    undecided: Sequence[str]
    left_out: Mapping[str, str]
    used: Mapping[str, str]
    differences: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "acquired": self.acquired.isoformat() if self.acquired else None}


def simulate_rules(
    session: Session,
    rules: StudyRules,
    keys: KeyRing | None,
    limit: int = 200,
    since: dt.date | None = None,
    study_key: str | None = None,
) -> list[SimulatedStudy]:
    """Apply rules to the studies of the index, the newest arrival first.

    Args:
        rules: the `[study]` section to try.
        keys: the de-identification keys, to tell which series were analysed; None where there are none yet.
        limit: at most so many studies.
        since: only studies acquired on this day or later.
        study_key: only this study.
    """
    query = select(Study).where(Study.instance_count > 0).order_by(col(Study.last_arrival).desc()).limit(limit)
    if since is not None:
        query = query.where(col(Study.acquired) >= since)
    if study_key is not None:
        query = query.where(Study.study_key == study_key)
    return [_simulate(session, study, rules, keys) for study in session.exec(query).all()]


def _simulate(session: Session, study: Study, rules: StudyRules, keys: KeyRing | None) -> SimulatedStudy:
    own = rules.of_source(study.source_ae)
    facts = _as_it_ran(study, own, study_facts(session, study, NO_RETRY))
    decision, after_s = _decided(facts, own)
    numbers = {s.header.series_uid: s.header.series_number or "?" for s in facts.series}
    told = classify_study(s.header for s in facts.series)
    chosen, problem = _chosen(facts)
    series = {contrast: numbers[uid] for contrast, uid in chosen.items()}
    used = _used(session, study, keys, numbers)
    return SimulatedStudy(
        study_key=study.study_key,
        acquired=study.acquired,
        source_ae=study.source_ae,
        state=study.state.value,
        decision=decision.verdict.value,
        after_last_image_s=after_s,
        reason=_reason(decision, problem),
        series=series,
        undecided=[f"series {numbers[uid]}: {found.reason}" for uid, found in told.items() if found.undecided],
        left_out={
            numbers[uid]: found.reason for uid, found in told.items() if found.contrast is None and not found.undecided
        },
        used=used,
        differences=_differences(study, decision, series, used),
    )


def _as_it_ran(study: Study, own: StudyRules, facts: StudyFacts) -> StudyFacts:
    """The facts with the timers of these rules, all associations long gone."""
    last = study.last_arrival or study.created_at
    first = study.first_arrival or last
    return replace(
        facts,
        quiet_until=last + dt.timedelta(seconds=own.quiet_s),
        force_at=max(first + dt.timedelta(seconds=own.force_s), last),
        open_associations=0,
        retry_until=None,
    )


def _decided(facts: StudyFacts, own: StudyRules) -> tuple[Decision, float]:
    """The decision that ends the waiting, and how long after the last image it comes."""
    last = facts.quiet_until - dt.timedelta(seconds=own.quiet_s)
    moment = min(facts.quiet_until, facts.force_at)
    decision = decide(facts, rules_from(own), moment)
    if decision.verdict is Verdict.WAIT:
        moment = facts.force_at
        decision = decide(facts, rules_from(own), moment)
    return decision, round((moment - last).total_seconds(), 3)


def _chosen(facts: StudyFacts) -> tuple[dict[str, str], str]:
    try:
        chosen = select_series(s.header for s in facts.series)
    except AmbiguousSeries as problem:
        return {}, str(problem)
    return {contrast.value: uid for contrast, uid in chosen.items()}, ""


def _used(session: Session, study: Study, keys: KeyRing | None, numbers: Mapping[str, str]) -> dict[str, str]:
    """Series numbers of the latest analysis, whose rows hold de-identified UIDs."""
    latest = session.exec(
        select(Analysis).where(Analysis.study_key == study.study_key).order_by(col(Analysis.revision).desc()).limit(1)
    ).first()
    if latest is None or keys is None:
        return {}
    of = {keys.uid(uid): number for uid, number in numbers.items()}
    return {contrast: of.get(uid, "?") for contrast, uid in latest.detail.get("series", {}).items()}


def _reason(decision: Decision, problem: str) -> str:
    parts = [decision.shortfall, problem]
    to_settle = decision.evidence.get("to_settle", [])
    if to_settle:
        parts.append(f"{' and '.join(to_settle)} left to the pixels")
    return "; ".join(part for part in parts if part)


def _differences(study: Study, decision: Decision, series: Mapping[str, str], used: Mapping[str, str]) -> list[str]:
    found = []
    before = study.evidence.get("decided") or study.state.value
    forced = before == "complete" and study.evidence.get("preliminary")
    now = decision.verdict.value
    if (("preliminary" if forced else before) != now) and before != "wait":
        found.append(f"decided {before}, would be {now}")
    if used:
        for contrast in sorted(set(series) | set(used)):
            if series.get(contrast) != used.get(contrast):
                was, would = used.get(contrast, "none"), series.get(contrast, "none")
                found.append(f"{contrast}: series {was} was used, would be {would}")
    return found

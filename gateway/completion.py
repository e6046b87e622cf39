"""Closing studies: a due study whose evidence suffices gets its next revision and its job, in one transaction.

The timer of a study is `study.due`, set by each arrival and kept in the database, so that a restart resumes it. What
is due is decided by `gateway.completeness`; a person can complete or hold a study at any time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gateway import audit
from gateway.associations import forget_study, more_to_come
from gateway.column_types import utc_now
from gateway.completeness import ArchiveSays, Decision, Rules, SeriesFacts, StudyFacts, Verdict, decide
from gateway.database import read_scope, session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.expected_count import archive_says
from gateway.prior_studies import is_fetched_whole
from gateway.quarantine import list_open, put_study_aside, settle
from gateway.settings import ForcePolicy, Settings
from gateway.study_settings import Study as StudyRules
from gateway.tables import Instance, InstanceRole, Outbox, QuarantineKind, Series, Study, StudyState
from inference.contrasts import SeriesHeader

STUDY_JOB = "study"
_NOT_CLOSED = (StudyState.QUARANTINED, StudyState.RETRACTED, StudyState.DISCARDED)
_log = structlog.get_logger(__name__)


def close_due_studies(engine: Engine, settings: Settings, now: dt.datetime | None = None) -> list[tuple[str, int]]:
    """Decide on every study that is due; returns (study_key, revision) of those that were closed.

    Each study is one transaction that any number of workers may race for. Nothing is written while nothing is due.
    """
    moment = now or utc_now()
    with read_scope(engine) as session:
        due = session.exec(select(Study.study_key).where(*_is_due(moment)).order_by(col(Study.due))).all()
    closed = []
    for study_key in due:
        with session_scope(engine) as session:
            revision = _decide_on(session, study_key, settings, moment)
        if revision is not None:
            closed.append((study_key, revision))
    return closed


def rules_from(study: StudyRules) -> Rules:
    """The rules of completeness; `study` is the `[study]` section as it is for the sender (`Study.of_source`)."""
    return Rules(study.required, study.force_policy, study.allow_slice_gaps)


def complete_study(session: Session, study_key: str, actor: str) -> int:
    """Close a study as it is, on a person's word; returns its new revision. It settles findings of incompleteness.

    Raises:
        NotFound: for an unknown study.
        NotAllowed: when it has no images, or waits for a decision about its patient or its instances.
    """
    study = _study(session, study_key)
    for item in list_open(session, study_key):
        if item.kind not in (QuarantineKind.INCOMPLETE, QuarantineKind.UNUSABLE):
            raise NotAllowed(f"Study {study_key} waits for a decision ({item.kind.value}, {item.quarantine_key}).")
        settle(item, actor, "completed")
    if study.instance_count == 0:
        raise NotAllowed(f"Study {study_key} has no images.")
    revision = _close(session, study, {"by": actor, "images": study.instance_count, "missing": []})
    audit.append(session, actor=actor, action="study.complete", subject=study_key, detail={"revision": revision})
    return revision


def hold_study(session: Session, study_key: str, actor: str, hold: bool = True) -> None:
    """Hold a study back, or let it go again: while held it is not closed, whatever its timer says."""
    study = _study(session, study_key)
    study.on_hold = hold
    session.add(study)
    audit.append(session, actor=actor, action="study.hold" if hold else "study.unhold", subject=study_key)


def study_facts(session: Session, study: Study, retry: dt.timedelta, archive: ArchiveSays | None = None) -> StudyFacts:
    """What the decision looks at: the MR images of a study, series by series, and whether its senders are through."""
    rows = session.exec(select(Series).where(Series.study_key == study.study_key).order_by(col(Series.id))).all()
    images = session.exec(
        select(Instance.series_id, Instance.header)
        .where(Instance.study_key == study.study_key, Instance.role == InstanceRole.IMAGE)
        .order_by(col(Instance.sop_instance_uid))
    ).all()
    headers: dict[int, list[Mapping[str, Any]]] = {}
    for series_id, header in images:
        headers.setdefault(series_id, []).append(header)
    now = utc_now()
    still_open, retry_until = more_to_come(session, study.study_key, retry)
    return StudyFacts(
        series=[_series_facts(row, headers[row.id]) for row in rows if row.id is not None and row.id in headers],
        quiet_until=study.due or now,
        force_at=study.force_due or study.due or now,
        open_associations=still_open,
        retry_until=retry_until,
        expected_images=archive.images if archive else None,
        archive=archive,
    )


def _is_due(now: dt.datetime) -> Sequence[Any]:
    # The timer decides, not the state: a step of an earlier revision may still be moving the state on.
    return (col(Study.due) <= now, col(Study.on_hold).is_(False), col(Study.state).not_in(_NOT_CLOSED))


def _decide_on(session: Session, study_key: str, settings: Settings, now: dt.datetime) -> int | None:
    locked = select(Study).where(Study.study_key == study_key, *_is_due(now)).with_for_update(skip_locked=True)
    study = session.exec(locked).one_or_none()
    if study is None:
        return None
    own = settings.study.of_source(study.source_ae)
    retry = dt.timedelta(seconds=own.retry_s)
    facts = study_facts(session, study, retry, archive_says(session, study, settings, now))
    rules = rules_from(own)
    if is_fetched_whole(session, study):
        # What a prior lacks nobody can send: it is left out at once, and no person is asked.
        facts = dataclasses.replace(facts, force_at=min(facts.force_at, max(now, facts.quiet_until)))
        rules = dataclasses.replace(rules, force_policy=ForcePolicy.DISCARD)
    decision = decide(facts, rules, now)
    session.add(study)
    if decision.verdict in (Verdict.COMPLETE, Verdict.PRELIMINARY):
        return _close(session, study, {"by": "evidence", **decision.evidence})
    _keep_waiting(session, study, decision)
    return None


def _keep_waiting(session: Session, study: Study, decision: Decision) -> None:
    study.evidence = {**decision.evidence, "decided": decision.verdict.value}
    if decision.verdict is Verdict.WAIT:
        study.due, study.reason = decision.look_again, f"Waiting: {decision.shortfall}."
        return
    reason = f"Incomplete when the waiting time ended: {decision.shortfall}."
    if decision.verdict is Verdict.HOLD:
        put_study_aside(session, study, QuarantineKind.INCOMPLETE, reason)
    else:
        study.state, study.reason, study.due, study.force_due = StudyState.DISCARDED, reason, None, None
    _log.warning("study incomplete", study_key=study.study_key, verdict=decision.verdict.value)


def _close(session: Session, study: Study, evidence: Mapping[str, Any]) -> int:
    study.revision += 1
    study.state, study.reason, study.on_hold = StudyState.COMPLETE, "", False
    study.due, study.force_due = None, None
    study.evidence = {**evidence, "decided": "complete", "at": utc_now().isoformat(timespec="seconds")}
    session.add(study)
    forget_study(session, study.study_key)
    session.add(
        Outbox(
            job=f"{STUDY_JOB}-{study.study_key}-{study.revision}",
            kind=STUDY_JOB,
            payload={"study_key": study.study_key, "revision": study.revision},
        )
    )
    _log.info("study complete", study_key=study.study_key, revision=study.revision)
    return study.revision


def _study(session: Session, study_key: str) -> Study:
    study = session.exec(select(Study).where(Study.study_key == study_key).with_for_update()).one_or_none()
    if study is None:
        raise NotFound(f"study {study_key}")
    return study


def _series_facts(row: Series, images: Sequence[Mapping[str, Any]]) -> SeriesFacts:
    known = {f.name for f in dataclasses.fields(SeriesHeader)}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.header.items() if k in known}
    orientations = [i["orientation"] for i in images if i.get("orientation")]
    # rows written before the orientation was one of the facts of a series have it with their images
    values["orientation"] = values.get("orientation") or tuple(orientations[0] if orientations else ())
    return SeriesFacts(
        header=SeriesHeader(**{**values, "series_uid": row.series_instance_uid}),
        positions=[p for i in images for p in i.get("positions", ())],
        orientation=orientations[0] if orientations else None,
        images=len(images),
    )

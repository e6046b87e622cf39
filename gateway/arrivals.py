"""The index of what was received: instance, series and study rows and the study's timer, in one short transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select, update

from gateway.column_types import utc_now
from gateway.database import insert_or_ignore, session_scope
from gateway.identity import IssuerRules, PatientId, accept_merged, agree, patient_key_of
from gateway.instance_facts import Identity, InstanceFacts
from gateway.quarantine import Finding, keep, list_open, put_study_aside, settle, stop_study
from gateway.retention_tables import ReleasedImage
from gateway.settings import Settings
from gateway.sop_classes import ACCEPTED
from gateway.tables import Instance, InstanceRole, QuarantineKind, Series, Study, StudyState

REOPENED_BY_NEW_IMAGES = frozenset(StudyState) - {
    StudyState.RECEIVING,
    StudyState.QUARANTINED,
    StudyState.RETRACTED,
}
"""States that a late image takes back to receiving. A retracted study stays so until a person replays it."""


SETTLED_BY_NEW_IMAGES = frozenset({QuarantineKind.INCOMPLETE, QuarantineKind.UNUSABLE})


class Verdict(StrEnum):
    """What became of an instance."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    OWN_RESULT = "own-result"
    KEPT_FOR_DECISION = "kept-for-decision"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict and, for what went to quarantine, the kind and the sentence. `study_key` is None where unknown."""

    verdict: Verdict
    kind: QuarantineKind | None = None
    sentence: str = ""
    study_key: str | None = None


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance whose bytes are safe in the image store under `blob`."""

    facts: InstanceFacts
    transfer_syntax_uid: str
    source_ae: str
    blob: str
    dataset_sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ArrivalRules:
    """Quiet and force time of a study, those of single senders by calling AE title, and whose patient IDs are whose."""

    quiet: dt.timedelta
    force: dt.timedelta
    issuers: IssuerRules
    of_source: Mapping[str, tuple[dt.timedelta, dt.timedelta]] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings) -> ArrivalRules:
        return cls(
            quiet=dt.timedelta(seconds=settings.study.quiet_s),
            force=dt.timedelta(seconds=settings.study.force_s),
            issuers=IssuerRules.from_settings(settings.dicom, settings.identity),
            of_source={
                source.ae_title.strip(): (dt.timedelta(seconds=own.quiet_s), dt.timedelta(seconds=own.force_s))
                for source in settings.study.sources
                for own in [settings.study.of_source(source.ae_title)]
            },
        )

    def times(self, source_ae: str) -> tuple[dt.timedelta, dt.timedelta]:
        """Quiet and force time of the studies of one sender."""
        return self.of_source.get(source_ae.strip(), (self.quiet, self.force))


def index_instance(
    session: Session, stored: StoredInstance, rules: ArrivalRules, *, identity_accepted: bool = False
) -> Outcome:
    """Write the rows of one instance, or the quarantine row that says why not; the caller commits.

    `identity_accepted` is a person's decision that the instance belongs to the study whatever patient ID it states.
    """
    known = _known_copy(session, stored)
    if known is not None:
        return known
    study = study_of(session, stored)
    known = _known_copy(session, stored)  # it may have come in while we waited for the study
    if known is not None:
        return known
    who = rules.issuers.normalise(stored.facts.identity, stored.source_ae)
    if not identity_accepted and not _same_patient(session, study, who, rules):
        return _conflicting_patient(session, stored, study, who)
    identify(session, study, stored.facts.identity, who)
    _insert(session, study, stored)
    if ACCEPTED[stored.facts.sop_class_uid] is InstanceRole.IMAGE:
        _note_image(session, study, stored, rules)
    if study.patient_key is None:
        return _missing_patient(session, study)
    return Outcome(Verdict.STORED, study_key=study.study_key)


def await_images(study: Study, rules: ArrivalRules, now: dt.datetime) -> None:
    """Start, or start again, the quiet time; the force time runs from the first image of the revision."""
    quiet, force = rules.times(study.source_ae)
    if study.state is not StudyState.RECEIVING or study.force_due is None:
        study.force_due = now + force
    study.state, study.reason = StudyState.RECEIVING, ""
    study.due = now + quiet


def resume_timers(engine: Engine, rules: ArrivalRules, now: dt.datetime | None = None) -> None:
    """Let every running timer run for a full quiet time more: while we were down nothing could arrive, so the quiet
    before a restart proves nothing."""
    earliest = (now or utc_now()) + max(rules.quiet, *(quiet for quiet, _ in rules.of_source.values()), rules.quiet)
    with session_scope(engine) as session:
        for column in (Study.due, Study.force_due):
            waiting = update(Study).where(col(column).is_not(None), col(column) < earliest)
            session.exec(waiting.values({column: earliest}))


def _known_copy(session: Session, stored: StoredInstance) -> Outcome | None:
    known = session.exec(select(Instance).where(Instance.sop_instance_uid == stored.facts.sop_instance_uid)).first()
    if known is None:
        return None
    if known.dataset_sha256 == stored.dataset_sha256:
        _hold_again(session, known, stored)
        return Outcome(Verdict.DUPLICATE, study_key=known.study_key)
    return _conflicting_copy(session, stored, known)


def _hold_again(session: Session, known: Instance, stored: StoredInstance) -> None:
    """An image whose bytes were deleted by retention has been received once more: it is held again."""
    released = session.get(ReleasedImage, known.id)
    if released is not None:
        known.blob, known.received_at = stored.blob, utc_now()
        session.add(known)
        session.delete(released)


def study_of(session: Session, stored: StoredInstance) -> Study:
    """The row of an image's study, locked; made where there is none."""
    uid = stored.facts.study_instance_uid
    query = select(Study).where(Study.study_instance_uid == uid).with_for_update()
    found = session.exec(query).one_or_none()
    if found is not None:
        return found
    insert_or_ignore(session, Study(study_instance_uid=uid, source_ae=stored.source_ae))
    return session.exec(query).one()


def _same_patient(session: Session, study: Study, who: PatientId | None, rules: ArrivalRules) -> bool:
    settled = study.identity.get("normalised")
    if who is None or settled is None or agree(who, PatientId(*settled)):
        return True
    return rules.issuers.merged_ids_agree and accept_merged(session, study, who)


def identify(session: Session, study: Study, stated: Identity, who: PatientId | None) -> None:
    """Give a study the first patient that its images state."""
    if who is None or study.identity.get("normalised"):
        return
    study.identity = {**asdict(stated), "normalised": [who.patient_id, who.issuer]}
    study.patient_key = patient_key_of(session, who)


def _insert(session: Session, study: Study, stored: StoredInstance) -> None:
    facts = stored.facts
    series = series_of(session, study, stored)
    role = ACCEPTED[facts.sop_class_uid]
    series.instance_count += 1
    session.add(
        Instance(
            sop_instance_uid=facts.sop_instance_uid,
            sop_class_uid=facts.sop_class_uid,
            transfer_syntax_uid=stored.transfer_syntax_uid,
            study_key=study.study_key,
            series_id=series.id or 0,
            role=role,
            blob=stored.blob,
            dataset_sha256=stored.dataset_sha256,
            size_bytes=stored.size_bytes,
            source_ae=stored.source_ae[:16],
            header=dict(facts.geometry),
        )
    )


def series_of(session: Session, study: Study, stored: StoredInstance) -> Series:
    """The row of an image's series, made where there is none, described by this image where it comes before others."""
    facts = stored.facts
    query = select(Series).where(
        Series.study_key == study.study_key, Series.series_instance_uid == facts.series_instance_uid
    )
    series = session.exec(query).one_or_none()
    if series is None:
        new = Series(study_key=study.study_key, series_instance_uid=facts.series_instance_uid, modality=facts.modality)
        insert_or_ignore(session, new)
        series = session.exec(query).one()
    rank = header_rank(facts)
    if not series.header or rank < series.header["rank"]:
        series.header = {**facts.header, "rank": rank}
    return series


def header_rank(facts: InstanceFacts) -> list[Any]:
    """The series is described by its first image in order of Instance Number, in whatever order images arrive."""
    number = facts.geometry.get("number")
    return [number if number is not None else 2**31, facts.sop_instance_uid]


def _note_image(session: Session, study: Study, stored: StoredInstance, rules: ArrivalRules) -> None:
    now = utc_now()
    study.instance_count += 1
    study.first_arrival = study.first_arrival or now
    study.last_arrival = now
    note_acquired(study, stored.facts.acquired)
    if study.state is StudyState.QUARANTINED:
        _settle_incompleteness(session, study)
    if study.state is StudyState.RECEIVING or study.state in REOPENED_BY_NEW_IMAGES:
        await_images(study, rules, now)


def note_acquired(study: Study, acquired: dt.date | None) -> None:
    """The study was acquired when its first image was."""
    if acquired is not None and (study.acquired is None or acquired < study.acquired):
        study.acquired = acquired


def _settle_incompleteness(session: Session, study: Study) -> None:
    """What a study that was put aside as incomplete or unusable waited for may be this image: look again."""
    waiting = list_open(session, study.study_key)
    if all(item.kind in SETTLED_BY_NEW_IMAGES for item in waiting):
        for item in waiting:
            settle(item, "system", "new-images")
        study.state, study.force_due = StudyState.RECEIVING, None


def _conflicting_copy(session: Session, stored: StoredInstance, known: Instance) -> Outcome:
    sentence = "Another image is stored under the same SOP Instance UID."
    study = session.get_one(Study, known.study_key)
    keep(session, _finding(QuarantineKind.CONFLICTING_COPY, sentence, stored, known.study_key))
    stop_study(study, sentence)
    return Outcome(Verdict.KEPT_FOR_DECISION, QuarantineKind.CONFLICTING_COPY, sentence, known.study_key)


def _conflicting_patient(session: Session, stored: StoredInstance, study: Study, who: PatientId | None) -> Outcome:
    sentence = "The study holds images of two patient identities."
    finding = _finding(QuarantineKind.CONFLICTING_PATIENT, sentence, stored, study.study_key)
    finding.detail["stated"] = asdict(stored.facts.identity)
    finding.detail["normalised"] = [who.patient_id, who.issuer] if who else None
    keep(session, finding)
    stop_study(study, sentence)
    return Outcome(Verdict.KEPT_FOR_DECISION, QuarantineKind.CONFLICTING_PATIENT, sentence, study.study_key)


def _missing_patient(session: Session, study: Study) -> Outcome:
    sentence = "The images state no patient ID, or none whose issuer is known or trusted."
    put_study_aside(session, study, QuarantineKind.MISSING_PATIENT_ID, sentence)
    return Outcome(Verdict.STORED, QuarantineKind.MISSING_PATIENT_ID, sentence, study.study_key)


def _finding(kind: QuarantineKind, sentence: str, stored: StoredInstance, study_key: str) -> Finding:
    return Finding(
        kind=kind,
        reason=sentence,
        dedup=stored.blob,
        study_key=study_key,
        sop_instance_uid=stored.facts.sop_instance_uid,
        blob=stored.blob,
        source_ae=stored.source_ae,
        detail={"study_instance_uid": stored.facts.study_instance_uid},
    )

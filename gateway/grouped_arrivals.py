"""Rows of many images of one study at once: what is usual goes in with a few statements, and nothing else does.

Usual are new images of a study that is receiving, all of one known patient, whose UIDs no row has. `index_group`
leaves the same rows as `index_instance` does image by image; whoever calls it takes that way where it returns False.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import Session, col, select

from gateway.arrivals import (
    ArrivalRules,
    StoredInstance,
    await_images,
    header_rank,
    identify,
    note_acquired,
    series_of,
    study_of,
)
from gateway.column_types import utc_now
from gateway.identity import PatientId, agree
from gateway.tables import Delivery, Instance, InstanceRole, Study, StudyState


def known_uids(session: Session, uids: Sequence[str]) -> set[str]:
    """Which of these SOP Instance UIDs are of stored instances or of results that we have sent."""
    stored = session.exec(select(Instance.sop_instance_uid).where(col(Instance.sop_instance_uid).in_(uids))).all()
    sent = session.exec(select(Delivery.sop_instance_uid).where(col(Delivery.sop_instance_uid).in_(uids))).all()
    return {*stored, *sent}


def index_group(session: Session, group: Sequence[StoredInstance], rules: ArrivalRules) -> str | None:
    """Write the rows of new images of one study, in order of arrival; their UIDs are known to be new and distinct.

    Returns the key of the study, or None where nothing was written because something about them is not usual. The
    caller commits; on PostgreSQL a UID that came in elsewhere at this moment raises IntegrityError.
    """
    study = study_of(session, group[0])
    if study.state is not StudyState.RECEIVING or not _of_one_patient(study, group, rules):
        return None
    for stored in group:
        who = rules.issuers.normalise(stored.facts.identity, stored.source_ae)
        identify(session, study, stored.facts.identity, who)
        if study.identity.get("normalised"):
            break
    if study.patient_key is None:
        return None
    series_ids = _series_ids(session, study, group)
    session.execute(sa.insert(Instance), _rows(study, group, series_ids))
    _note_images(study, group, rules)
    return study.study_key


def _of_one_patient(study: Study, group: Sequence[StoredInstance], rules: ArrivalRules) -> bool:
    stated = {(s.facts.identity, s.source_ae) for s in group}
    people = [rules.issuers.normalise(identity, source) for identity, source in stated]
    settled = study.identity.get("normalised")
    known = [PatientId(*settled)] if settled else []
    known += [who for who in people if who is not None]
    return bool(known) and all(agree(first, second) for first in known for second in known)


def _series_ids(session: Session, study: Study, group: Sequence[StoredInstance]) -> dict[str, int]:
    """Make the series that are new, count the images, and let the first one of each describe it."""
    first: dict[str, StoredInstance] = {}
    for stored in group:
        uid = stored.facts.series_instance_uid
        if uid not in first or header_rank(stored.facts) < header_rank(first[uid].facts):
            first[uid] = stored
    counts = Counter(stored.facts.series_instance_uid for stored in group)
    ids = {}
    for uid, stored in first.items():
        series = series_of(session, study, stored)
        series.instance_count += counts[uid]
        ids[uid] = series.id or 0
    session.flush()
    return ids


def _rows(study: Study, group: Sequence[StoredInstance], series_ids: dict[str, int]) -> list[dict[str, object]]:
    now = utc_now()
    return [
        {
            "sop_instance_uid": stored.facts.sop_instance_uid,
            "sop_class_uid": stored.facts.sop_class_uid,
            "transfer_syntax_uid": stored.transfer_syntax_uid,
            "study_key": study.study_key,
            "series_id": series_ids[stored.facts.series_instance_uid],
            "role": InstanceRole.IMAGE,
            "blob": stored.blob,
            "dataset_sha256": stored.dataset_sha256,
            "size_bytes": stored.size_bytes,
            "source_ae": stored.source_ae[:16],
            "header": dict(stored.facts.geometry),
            "received_at": now,
        }
        for stored in group
    ]


def _note_images(study: Study, group: Sequence[StoredInstance], rules: ArrivalRules) -> None:
    now = utc_now()
    study.instance_count += len(group)
    study.first_arrival = study.first_arrival or now
    study.last_arrival = now
    for stored in group:
        note_acquired(study, stored.facts.acquired)
    await_images(study, rules, now)

"""Record: the lesions of a study are matched with the patient's, and the record is folded anew.

One transaction writes the time point, its measurements and new lesions, and queues a new revision of every other
study whose results this one changes; run again, it finds the time point there and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, func, select

from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.stages.progress import advance, key_and_revision, require_study
from gateway.stages.refolding import refold
from gateway.stages.segmentation import analysis_folder
from gateway.tables import Lesion, Measurement, Study, StudyState, TimePoint
from gateway.values import measurement_to_json
from inference.contracts import StudyAnalysis
from inference.encoding.identity import deterministic_uid
from inference.lesions import LesionMatch, PriorLesions, match_lesions
from inference.study import load_analysis


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Record the measurements of a study revision."""
    study_key, revision = key_and_revision(arguments)
    if not _recorded(gateway, study_key, revision):
        folder = analysis_folder(gateway, study_key, revision)
        analysis = load_analysis(folder)
        matches = match_lesions(analysis.lesions, analysis.to_baseline, _priors(gateway, study_key)).lesions
        with session_scope(gateway.database) as session:
            study = require_study(session, study_key)
            uids = _lesions(session, study, matches)
            _time_point(session, study, revision, analysis)
            for measurement in analysis.measurements:
                session.add(
                    Measurement(
                        study_key=study_key,
                        revision=revision,
                        tracking_uid=uids[measurement.index],
                        value=measurement_to_json(measurement),
                    )
                )
            session.flush()
            refold(session, str(study.patient_key), changed=study_key)
    advance(gateway, study_key, revision, StudyState.RECORDED)


def _recorded(gateway: Gateway, study_key: str, revision: int) -> bool:
    with read_scope(gateway.database) as session:
        done = select(TimePoint.id).where(TimePoint.study_key == study_key, TimePoint.revision == revision)
        return session.exec(done).first() is not None


def _priors(gateway: Gateway, study_key: str) -> list[PriorLesions]:
    """Lesion maps of the patient's other studies, the nearest in time last, with the tracking UID of each lesion."""
    with read_scope(gateway.database) as session:
        study = require_study(session, study_key)
        rows = session.exec(
            select(TimePoint).where(
                TimePoint.patient_key == study.patient_key,
                TimePoint.study_key != study_key,
                col(TimePoint.current).is_(True),
            )
        ).all()
        found = session.exec(
            select(Measurement).where(col(Measurement.study_key).in_([r.study_key for r in rows]))
        ).all()
    if study.acquired is not None:
        acquired = study.acquired
        rows = sorted(rows, key=lambda r: (-abs((r.acquired - acquired).days), r.study_key))
    uids: dict[tuple[str, int], dict[int, str]] = {}
    for m in found:
        if m.value is not None:
            uids.setdefault((m.study_key, m.revision), {})[int(m.value["index"])] = m.tracking_uid
    return [_prior(gateway, row, uids.get((row.study_key, row.revision), {})) for row in rows]


def _prior(gateway: Gateway, row: TimePoint, tracking_uids: dict[int, str]) -> PriorLesions:
    analysis = load_analysis(analysis_folder(gateway, row.study_key, row.revision))
    return PriorLesions(analysis.lesions, analysis.to_baseline, tracking_uids)


def _lesions(session: Session, study: Study, matches: Sequence[LesionMatch]) -> dict[int, str]:
    """Tracking UIDs by lesion index; lesions without one are minted here, once and deterministically."""
    numbered = session.exec(select(func.max(Lesion.number)).where(Lesion.patient_key == study.patient_key)).one()
    number = int(numbered or 0)
    uids: dict[int, str] = {}
    for match in matches:
        index = match.index
        if match.inherits is not None:
            uids[index] = match.inherits
        else:
            uid = deterministic_uid("lesion", study.study_instance_uid, str(study.revision), str(index))
            if session.get(Lesion, uid) is None:
                number += 1
                session.add(
                    Lesion(
                        tracking_uid=uid,
                        patient_key=str(study.patient_key),
                        number=number,
                        tracking_id=f"Lesion {number}",
                        first_study_key=study.study_key,
                        parent_uid=match.parent,
                    )
                )
            uids[index] = uid
        for closed in match.absorbed:
            lesion = session.get(Lesion, closed)
            if lesion is not None:
                lesion.closed_into = uids[index]
                session.add(lesion)
    session.flush()
    return uids


def _time_point(session: Session, study: Study, revision: int, analysis: StudyAnalysis) -> None:
    earlier = session.exec(select(TimePoint).where(TimePoint.study_key == study.study_key)).all()
    for row in earlier:
        row.current = False
        session.add(row)
    if study.acquired is None or study.patient_key is None:
        raise ValueError(f"study {study.study_key} has no acquisition date or no patient")
    session.add(
        TimePoint(
            patient_key=study.patient_key,
            study_key=study.study_key,
            revision=revision,
            acquired=study.acquired,
            preliminary=bool(study.evidence.get("preliminary", False)),
            detail={"seg_model": f"sha256:{analysis.backend.weights_sha256}"},
        )
    )

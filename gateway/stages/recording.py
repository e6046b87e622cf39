"""Record: the lesions of a study are matched with the patient's, and the record is folded anew.

One transaction writes the time point, its measurements and new lesions, and queues a new revision of every other
study whose results this one changes; run again, it finds the time point there and changes nothing.
"""

from __future__ import annotations

from sqlmodel import Session, col, select

from gateway import frames
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.frames import analysis_folder
from gateway.stages.progress import advance, hold_revision, key_and_revision, require_study
from gateway.stages.refolding import refold
from gateway.tables import Measurement, Study, StudyState, TimePoint
from gateway.tracking import assign_tracking_uids
from gateway.values import measurement_to_json
from inference.contracts import Matrix, StudyAnalysis
from inference.lesions import PriorLesions, match_lesions
from inference.study import load_analysis


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Record the measurements of a study revision."""
    study_key, revision = key_and_revision(arguments)
    if not _recorded(gateway, study_key, revision):
        analysis = load_analysis(analysis_folder(gateway, study_key, revision))
        to_root, priors = _priors(gateway, study_key, revision)
        matches = match_lesions(analysis.lesions, to_root, priors).lesions
        with session_scope(gateway.database) as session:
            study = hold_revision(session, study_key, revision)
            uids = assign_tracking_uids(session, study, matches)
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


def _priors(gateway: Gateway, study_key: str, revision: int) -> tuple[Matrix, list[PriorLesions]]:
    """The way of this study into the frame of its patient, and the lesion maps of the patient's other studies in that
    frame, the nearest in time last, with the tracking UID of each lesion."""
    with read_scope(gateway.database) as session:
        study = require_study(session, study_key)
        root, to_root = frames.to_root(gateway, session, study_key, revision)
        rows = session.exec(
            select(TimePoint).where(
                TimePoint.patient_key == study.patient_key,
                TimePoint.study_key != study_key,
                col(TimePoint.current).is_(True),
            )
        ).all()
        placed = [(row, *frames.to_root(gateway, session, row.study_key, row.revision)) for row in rows]
        found = session.exec(
            select(Measurement).where(col(Measurement.study_key).in_([r.study_key for r in rows]))
        ).all()
    if study.acquired is not None:
        acquired = study.acquired
        placed.sort(key=lambda p: (-abs((p[0].acquired - acquired).days), p[0].study_key))
    uids: dict[tuple[str, int], dict[int, str]] = {}
    for m in found:
        if m.value is not None:
            uids.setdefault((m.study_key, m.revision), {})[int(m.value["index"])] = m.tracking_uid
    return to_root, [
        _prior(gateway, row, matrix, uids.get((row.study_key, row.revision), {}))
        for row, its_root, matrix in placed
        if its_root == root
    ]


def _prior(gateway: Gateway, row: TimePoint, to_root: Matrix, tracking_uids: dict[int, str]) -> PriorLesions:
    analysis = load_analysis(analysis_folder(gateway, row.study_key, row.revision))
    return PriorLesions(analysis.lesions, to_root, tracking_uids)


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

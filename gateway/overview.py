"""What the command line, the pages and the demonstration show of studies and patients: plain JSON, our own keys.

Study Instance UIDs are shown (an operator looks a study up by them); names and patient IDs are not.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlmodel import Session, col, func, select

from gateway.clinical_facts import list_treatments, stated_of
from gateway.errors import NotFound
from gateway.object_names import BUNDLE, FORECAST, REPORT, SEG
from gateway.ownership import opted_out
from gateway.results import read_result
from gateway.tables import Delivery, Patient, Quarantine, Series, Study, StudyState, TimePoint
from gateway.values import result_to_json
from longitudinal.types import LesionResult, Reference, Region, StudyResult

OPEN_STATES = frozenset(StudyState) - {
    StudyState.PUBLISHED,
    StudyState.QUARANTINED,
    StudyState.FAILED,
    StudyState.DISCARDED,
    StudyState.RETRACTED,
    StudyState.SUPERSEDED,
}
"""States in which a study is still on its way."""


def list_studies(
    session: Session, state: StudyState | None = None, limit: int = 200, offset: int = 0
) -> list[dict[str, Any]]:
    """One short line for each study, the newest arrival first."""
    newest = (col(Study.last_arrival).desc(), col(Study.study_key))
    query = select(Study).order_by(*newest).offset(offset).limit(limit)
    if state is not None:
        query = query.where(Study.state == state)
    return [study_line(study) for study in session.exec(query).all()]


def study_line(study: Study) -> dict[str, Any]:
    return {
        "study_key": study.study_key,
        "study_instance_uid": study.study_instance_uid,
        "patient_key": study.patient_key,
        "acquired": study.acquired.isoformat() if study.acquired else None,
        "state": study.state.value,
        "revision": study.revision,
        "reason": study.reason,
        "instances": study.instance_count,
        "last_arrival": study.last_arrival.isoformat() if study.last_arrival else None,
    }


def find_study(session: Session, key_or_uid: str) -> Study:
    """A study by our key or by its Study Instance UID.

    Raises:
        NotFound: when there is none.
    """
    found = session.exec(
        select(Study).where((Study.study_key == key_or_uid) | (Study.study_instance_uid == key_or_uid))
    ).first()
    if found is None:
        raise NotFound(f"study {key_or_uid}")
    return found


def show_study(session: Session, key_or_uid: str) -> dict[str, Any]:
    """Everything that is known of a study; `result` is None until it is in the record."""
    study = find_study(session, key_or_uid)
    series = session.exec(select(Series).where(Series.study_key == study.study_key)).all()
    deliveries = session.exec(
        select(Delivery).where(Delivery.study_key == study.study_key).order_by(col(Delivery.id))
    ).all()
    waiting = session.exec(
        select(Quarantine).where(Quarantine.study_key == study.study_key, col(Quarantine.resolved_at).is_(None))
    ).all()
    return {
        **study_line(study),
        "evidence": study.evidence,
        "series": [{"modality": s.modality, "instances": s.instance_count} for s in series],
        "result": _result(session, study),
        "deliveries": [_delivery_line(d) for d in deliveries],
        "quarantine": [{"key": q.quarantine_key, "reason": q.reason, "remedy": q.remedy} for q in waiting],
    }


def _result(session: Session, study: Study) -> dict[str, Any] | None:
    try:
        return result_to_json(read_result(session, study.study_key, study.revision))
    except NotFound:
        return None


def _delivery_line(row: Delivery) -> dict[str, Any]:
    return {
        "destination": row.destination,
        "object": row.object_name,
        "revision": row.revision,
        "state": row.state.value,
        "attempts": row.attempts,
        "error": row.last_error,
        "sop_instance_uid": row.sop_instance_uid,
    }


def summarise_study(session: Session, study: Study) -> dict[str, Any]:
    """One entry of `studies` in the demonstration's `summary.json`."""
    entry: dict[str, Any] = {
        "study_instance_uid": study.study_instance_uid,
        "patient_key": study.patient_key,
        "timepoint": None,
        "acquired": study.acquired.isoformat() if study.acquired else None,
        "state": study.state.value,
        "reason": study.reason,
        "lesions": [],
        "forecast": [],
        "seg_sop_uid": None,
        "sr_sop_uid": None,
        "forecast_sr_sop_uid": None,
        "fhir": [],
    }
    try:
        result = read_result(session, study.study_key, study.revision)
    except NotFound:
        return entry
    entry["timepoint"] = result.timepoint.order
    entry["response"] = result.response.value
    entry["lesions"] = [_lesion_line(lesion, result) for lesion in result.lesions]
    if result.forecast is not None:
        entry["forecast"] = [
            {
                "horizon_days": p.horizon_days,
                "median_ml": p.median_ml,
                "lower_ml": p.lower_ml,
                "upper_ml": p.upper_ml,
                "coverage": p.coverage,
            }
            for p in result.forecast.points
        ]
        entry["forecast_abstained"] = result.forecast.abstained
    entry.update(_delivered(session, study))
    return entry


def _lesion_line(lesion: LesionResult, result: StudyResult) -> dict[str, Any]:
    previous = next((c for c in lesion.changes if c.reference is Reference.PREVIOUS), None)
    return {
        "tracking_uid": lesion.tracking_uid,
        "tracking_id": lesion.tracking_id,
        "volumes_ml": {region.value: lesion.volume_ml(region) for region in Region},
        "truth_ml": None,
        "response": lesion.response.value,
        "change_since_previous_ml": previous.absolute_ml if previous else None,
        "change_reliable": previous.reliable if previous else None,
        "target": result.target.value,
    }


def _delivered(session: Session, study: Study) -> dict[str, Any]:
    rows = session.exec(
        select(Delivery)
        .where(Delivery.study_key == study.study_key, col(Delivery.revision) <= study.revision)
        .order_by(col(Delivery.revision))
    ).all()
    uids = {row.object_name: row.sop_instance_uid for row in rows}
    bundle = next((row for row in reversed(rows) if row.object_name == BUNDLE), None)
    return {
        "seg_sop_uid": uids.get(SEG),
        "sr_sop_uid": uids.get(REPORT),
        "forecast_sr_sop_uid": uids.get(FORECAST),
        "fhir": list(bundle.detail.get("references", [])) if bundle else [],
    }


def list_patients(session: Session) -> list[dict[str, Any]]:
    """One line for each patient who has studies here and was not merged away."""
    counted = (
        select(TimePoint.patient_key, func.count(), func.min(TimePoint.acquired), func.max(TimePoint.acquired))
        .where(col(TimePoint.current).is_(True))
        .group_by(TimePoint.patient_key)
    )
    points = {key: (count, first, last) for key, count, first, last in session.exec(counted).all()}
    patients = session.exec(
        select(Patient)
        .where(
            col(Patient.merged_into).is_(None),
            col(Patient.patient_key).in_(select(Study.patient_key).where(col(Study.patient_key).is_not(None))),
        )
        .order_by(col(Patient.created_at))
    ).all()
    merged = session.exec(select(Patient.merged_into, Patient.patient_key).order_by(col(Patient.patient_key))).all()
    lines = []
    for patient in patients:
        count, first, last = points.get(patient.patient_key, (0, None, None))
        lines.append(
            {
                "patient_key": patient.patient_key,
                "tumour_type": patient.tumour_type,
                "opted_out": opted_out(session, patient.patient_key),
                "merged": [key for into, key in merged if into == patient.patient_key],
                "time_points": count,
                "first": first.isoformat() if first else None,
                "last": last.isoformat() if last else None,
            }
        )
    return lines


def show_patient(session: Session, patient_key: str) -> dict[str, Any]:
    """The history of a patient: each study's result in the order of acquisition.

    Raises:
        NotFound: when there is no such patient.
    """
    patient = session.get(Patient, patient_key)
    if patient is None:
        raise NotFound(f"patient {patient_key}")
    rows = session.exec(
        select(Study)
        .join(TimePoint, col(TimePoint.study_key) == col(Study.study_key))
        .where(TimePoint.patient_key == patient_key, col(TimePoint.current).is_(True))
        .order_by(col(TimePoint.acquired))
    ).all()
    return {
        "patient_key": patient_key,
        "tumour_type": patient.tumour_type,
        "treatments": list_treatments(session, patient_key) if patient.merged_into is None else [],
        "facts": asdict(stated_of(session, patient_key).facts),
        "opted_out": opted_out(session, patient_key),
        "merged_into": patient.merged_into,
        "merged": sorted(session.exec(select(Patient.patient_key).where(Patient.merged_into == patient_key)).all()),
        "studies": [{"study_key": s.study_key, "state": s.state.value, "result": _result(session, s)} for s in rows],
    }


def is_settled(session: Session, study: Study) -> bool:
    """Whether nothing more will happen to a study by itself."""
    if study.state in OPEN_STATES:
        return False
    return read_pending(session, study.study_key) == 0


def read_pending(session: Session, study_key: str) -> int:
    pending = (
        select(func.count()).select_from(Delivery).where(Delivery.study_key == study_key, Delivery.state == "pending")
    )
    return int(session.exec(pending).one())

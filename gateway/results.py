"""One internal result for all encodings: `StudyResult` from the record, the analysis and the forecast of a study."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlmodel import Session, select

from gateway.errors import NotFound
from gateway.records import PatientRecord, read_patient_record
from gateway.tables import Analysis, ForecastRow, Study, TimePoint
from gateway.values import forecast_from_json, identity_from_json
from longitudinal.rano_reading import reading_notes
from longitudinal.record import RecordedTimePoint
from longitudinal.types import LesionResult, StudyResult


@dataclass(frozen=True)
class StudyInRecord:
    """A study where it stands in its patient's record; `row.revision` is the revision that was analysed."""

    study: Study
    row: TimePoint
    point: RecordedTimePoint
    patient: PatientRecord
    analysis: Analysis


def read_study_in_record(session: Session, study_key: str) -> StudyInRecord:
    """Find a recorded study.

    Raises:
        NotFound: when the study is not in the record.
    """
    study = session.get(Study, study_key)
    if study is None or study.patient_key is None:
        raise NotFound(f"study {study_key}")
    patient = read_patient_record(session, study.patient_key)
    for point, (row, other) in zip(patient.record.time_points, patient.rows, strict=True):
        if other.study_key == study_key:
            analysis = session.exec(
                select(Analysis).where(Analysis.study_key == study_key, Analysis.revision == row.revision)
            ).one()
            return StudyInRecord(study, row, point, patient, analysis)
    raise NotFound(f"study {study_key} is not in the record")


def read_result(session: Session, study_key: str, revision: int) -> StudyResult:
    """The result of a study at one revision of its results; its UIDs are the original ones, but for the image that a
    diameter was drawn on, which is still the de-identified one (`with_original_images` maps it)."""
    at = read_study_in_record(session, study_key)
    forecast = session.exec(
        select(ForecastRow).where(ForecastRow.study_key == study_key, ForecastRow.revision == revision)
    ).first()
    return StudyResult(
        study_instance_uid=at.study.study_instance_uid,
        revision=revision,
        timepoint=at.point.context,
        lesions=at.point.lesions,
        response=at.point.response,
        target=at.patient.record.target,
        forecast=forecast_from_json(forecast.value) if forecast else None,
        segmentation=identity_from_json(at.analysis.backend),
        preliminary=at.row.preliminary,
        warnings=(*at.analysis.notes, *_reading_notes(at)),
    )


def _reading_notes(at: StudyInRecord) -> list[str]:
    points = at.patient.record.time_points
    return reading_notes(
        at.patient.record, points.index(at.point), at.patient.tumour_type, at.patient.stated.treatments
    )


def with_original_images(result: StudyResult, original_uid: dict[str, str]) -> StudyResult:
    """Put the original SOP Instance UIDs in place of the de-identified ones."""

    def mapped(lesion: LesionResult) -> LesionResult:
        measured = lesion.measurement
        if measured is None or measured.diameter_sop_instance_uid is None:
            return lesion
        uid = original_uid[measured.diameter_sop_instance_uid]
        return replace(lesion, measurement=replace(measured, diameter_sop_instance_uid=uid))

    return replace(result, lesions=tuple(mapped(lesion) for lesion in result.lesions))

"""From the rows of a patient to the record: the fold over everything that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from gateway.clinical_facts import Stated, stated_of
from gateway.errors import NotFound
from gateway.lesion_names import names_of
from gateway.ownership import family_of
from gateway.tables import Measurement, Patient, Study, TimePoint
from gateway.values import measurement_from_json
from longitudinal.patient_history import HistoryContext, ScanProvenance
from longitudinal.rano_reading import baseline_resets
from longitudinal.record import ObservedTimePoint, Record, build_record
from longitudinal.types import LesionMeasurement, TumourType


@dataclass(frozen=True)
class PatientRecord:
    """The record of a patient with the rows it was folded from; `rows` in the order of the record."""

    patient: Patient
    record: Record
    rows: Sequence[tuple[TimePoint, Study]]
    tumour_type: TumourType
    stated: Stated

    def study_key_of(self, study_instance_uid: str) -> str:
        return next(s.study_key for _, s in self.rows if s.study_instance_uid == study_instance_uid)

    def until(self, study_instance_uid: str) -> Record:
        """The record as it stood at a study: nothing of what came after it."""
        points = self.record.time_points
        last = next(i for i, p in enumerate(points) if p.study_instance_uid == study_instance_uid)
        return Record(self.record.target, points[: last + 1])

    def history_context(self, pid: str) -> HistoryContext:
        """What the history of this patient says beside its volumes."""
        provenance = {
            study.study_instance_uid: ScanProvenance(
                seg_model=row.detail.get("seg_model"), qc="warn" if row.preliminary else "pass"
            )
            for row, study in self.rows
        }
        return HistoryContext(
            pid=pid,
            tumour_type=self.tumour_type,
            treatments=self.stated.treatments,
            facts=self.stated.facts,
            provenance=provenance,
        )


def tumour_type(session: Session, patient: Patient) -> TumourType:
    """The type that was stated for the patient, else for a record that was merged into this one."""
    stated = [p.tumour_type for p in (patient, *family_of(session, patient.patient_key)) if p.tumour_type]
    return TumourType(stated[0]) if stated else TumourType.OTHER


def read_patient_record(session: Session, patient_key: str) -> PatientRecord:
    """Fold the current time points of a patient.

    A lesion that a time point has no measurement of was looked for there (segmentation sees the whole brain) and
    not found.

    Raises:
        NotFound: when there is no such patient.
    """
    patient = session.get(Patient, patient_key)
    if patient is None:
        raise NotFound(f"patient {patient_key}")
    rows = session.exec(
        select(TimePoint, Study)
        .join(Study, col(Study.study_key) == col(TimePoint.study_key))
        .where(TimePoint.patient_key == patient_key, col(TimePoint.current).is_(True))
    ).all()
    names = names_of(session, patient_key)
    seen = {m: value for row, _ in rows for m, value in _measured(session, row).items()}
    shown = [uid for uid in names if any(uid == measured for _, measured in seen)]
    observed = [
        ObservedTimePoint(
            study_instance_uid=study.study_instance_uid,
            acquired=row.acquired,
            lesions={uid: seen.get((row.id, uid)) for uid in shown},
        )
        for row, study in rows
    ]
    kind = tumour_type(session, patient)
    stated = stated_of(session, patient_key)
    resets = baseline_resets(stated.treatments, kind)
    record = build_record(observed, kind.target, resets, tracking_ids=names)
    by_uid = {study.study_instance_uid: (row, study) for row, study in rows}
    return PatientRecord(patient, record, [by_uid[p.study_instance_uid] for p in record.time_points], kind, stated)


def _measured(session: Session, row: TimePoint) -> Mapping[tuple[int | None, str], LesionMeasurement]:
    found = session.exec(
        select(Measurement).where(Measurement.study_key == row.study_key, Measurement.revision == row.revision)
    ).all()
    return {(row.id, m.tracking_uid): measurement_from_json(m.value) for m in found if m.value is not None}

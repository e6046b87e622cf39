"""From the record of a patient to the history that is exported and forecast from.

Gateway, export and forecaster take this one path; calendar dates end here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from longitudinal.features import ScanQuantities, feature_vector
from longitudinal.histories import Patient, Quality, Scan, Treatment, Volumes
from longitudinal.record import Record, RecordedTimePoint
from longitudinal.treatments import treatment_flags, treatment_table
from longitudinal.types import Compartment, LesionMeasurement, Response, TumourType

TreatmentKind = Literal["surgery", "rt", "srs", "chemo", "antiangiogenic", "immuno", "steroid"]


class NoHistoryError(ValueError):
    """The record holds no time point that a history can begin with."""


@dataclass(frozen=True, slots=True)
class TreatmentEvent:
    """A treatment by its dates. `decided` is the day of the decision, the start where it is not known; `stop` is
    the last day, None while it runs."""

    kind: TreatmentKind
    start: dt.date
    stop: dt.date | None = None
    decided: dt.date | None = None
    agent: str | None = None
    extent: Literal["gtr", "str", "bx"] | None = None
    planned: bool = False


@dataclass(frozen=True, slots=True)
class ClinicalFacts:
    """What is known of the patient beside the images; everything may be missing."""

    who_grade: int | None = None
    idh: Literal["wt", "mut"] | None = None
    mgmt: Literal["meth", "unmeth"] | None = None
    codel_1p19q: bool | None = None
    age_decade: int | None = None
    sex: Literal["F", "M", "O"] | None = None


@dataclass(frozen=True, slots=True)
class ScanProvenance:
    """How one study came about: a pseudonym of the scanner, the hash of the segmentation weights, quality."""

    scanner: str | None = None
    seg_model: str | None = None
    qc: Literal["pass", "warn", "fail"] = "pass"
    reader_edited: bool = False


@dataclass(frozen=True, slots=True)
class HistoryContext:
    """What `patient_from_record` needs beside the record; `provenance` is keyed by study instance UID."""

    pid: str
    tumour_type: TumourType = TumourType.OTHER
    treatments: Sequence[TreatmentEvent] = ()
    facts: ClinicalFacts = ClinicalFacts()
    provenance: Mapping[str, ScanProvenance] = field(default_factory=dict)


def patient_from_record(record: Record, context: HistoryContext) -> Patient:
    """The history of one patient: every evaluable time point is a scan, the first of them is day 0.

    Volumes are summed over the lesions; longest diameter and sphericity are those of the largest lesion.

    Raises:
        NoHistoryError: when no time point is evaluable, or the record follows another region than the tumour
            type asks for.
    """
    if record.target is not context.tumour_type.target:
        raise NoHistoryError(
            f"the record follows the {record.target} volume, {context.tumour_type} is followed by "
            f"{context.tumour_type.target}: build the record with the region of the tumour type"
        )
    points = [point for point in record.time_points if point.response is not Response.NOT_EVALUABLE]
    if not points:
        raise NoHistoryError("no time point of the record can be evaluated")
    baseline = points[0].context.acquired
    treatments = tuple(_treatment(event, baseline) for event in context.treatments)
    features = _features(points, treatments)
    scans = tuple(
        _scan(point, row, baseline, context.provenance.get(point.study_instance_uid, ScanProvenance()))
        for point, row in zip(points, features, strict=True)
    )
    facts = context.facts
    return Patient(
        pid=context.pid,
        tumour_type=context.tumour_type,
        who_grade=facts.who_grade,
        idh=facts.idh,
        mgmt=facts.mgmt,
        codel_1p19q=facts.codel_1p19q,
        age_decade=facts.age_decade,
        sex=facts.sex,
        treatments=treatments,
        scans=scans,
    )


def _treatment(event: TreatmentEvent, baseline: dt.date) -> Treatment:
    start = (event.start - baseline).days
    return Treatment(
        kind=event.kind,
        decided=min(start, (event.decided - baseline).days) if event.decided else start,
        start=start,
        stop=(event.stop - baseline).days if event.stop else None,
        agent=event.agent,
        extent=event.extent,
        planned=event.planned,
    )


def _measured(point: RecordedTimePoint) -> list[LesionMeasurement]:
    return [lesion.measurement for lesion in point.lesions if lesion.measurement is not None]


def _compartment_ml(point: RecordedTimePoint, compartment: Compartment) -> float:
    return sum(m.compartments_ml[compartment] for m in _measured(point))


def _features(points: Sequence[RecordedTimePoint], treatments: tuple[Treatment, ...]) -> list[tuple[float, ...]]:
    day0 = points[0].context.acquired
    days = np.array([[float((point.context.acquired - day0).days) for point in points]])
    largest = [max(_measured(p), key=lambda m: m.max_3d_diameter_mm, default=None) for p in points]
    flags = treatment_flags(treatment_table([treatments]), days)
    quantities = ScanQuantities(
        target_ml=np.array([[point.total_ml for point in points]]),
        enhancing_ml=np.array([[_compartment_ml(p, Compartment.ENHANCING) for p in points]]),
        necrotic_ml=np.array([[_compartment_ml(p, Compartment.NECROTIC) for p in points]]),
        oedema_ml=np.array([[_compartment_ml(p, Compartment.OEDEMA) for p in points]]),
        longest_mm=np.array([[m.max_3d_diameter_mm if m else 0.0 for m in largest]]),
        sphericity=np.array([[m.sphericity if m else 1.0 for m in largest]]),
        days_from_baseline=days,
        interval_days=np.diff(days, axis=1, prepend=0.0),
        **flags,  # type: ignore[arg-type]  # keys are the treatment fields of ScanQuantities
    )
    return [tuple(row) for row in feature_vector(quantities)[0].tolist()]


def _scan(point: RecordedTimePoint, row: tuple[float, ...], baseline: dt.date, origin: ScanProvenance) -> Scan:
    sd_ln = point.total_sd_ml / point.total_ml if point.total_ml > 0 else None
    return Scan(
        t=(point.context.acquired - baseline).days,
        scanner=origin.scanner,
        seg_model=origin.seg_model,
        volume_cc=Volumes(
            enhancing=_compartment_ml(point, Compartment.ENHANCING),
            necrotic=_compartment_ml(point, Compartment.NECROTIC),
            oedema=_compartment_ml(point, Compartment.OEDEMA),
            cavity=_compartment_ml(point, Compartment.CAVITY),
        ),
        target_cc=point.total_ml,
        target_sd_ln=min(max(sd_ln, 1e-3), 5.0) if sd_ln else None,
        features=row,
        quality=Quality(qc=origin.qc, reader_edited=origin.reader_edited),
        rano=point.response,
    )

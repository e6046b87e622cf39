"""A patient with three analysed time points, as the pipeline leaves them in rows and in the research zone, without its
networks: what was segmented is stated, everything after it is the real thing.

The head carries a bright marker at the patient's left, front and top, so that a picture that is turned or mirrored
shows. The second study is acquired sagittally and the head lies turned in it; its registration is known exactly.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from imaging.mr_series import ORIENTATIONS, Floats, Matrix, classic, grid, head, rigid, save, voxel_places, with_array

from gateway.context import Gateway
from gateway.database import session_scope
from gateway.frames import Frame, analysis_folder, note_frame
from gateway.stages import forecasting, recording
from gateway.stages.deidentification import research_study
from gateway.stages.progress import arguments_of
from gateway.tables import Analysis, Patient, Quarantine, QuarantineKind, Study, StudyState
from gateway.values import identity_to_json
from inference.analysis_files import save_analysis
from inference.contracts import StudyAnalysis
from inference.lesions import find_lesions
from inference.measurement import measure_lesions
from longitudinal.types import AlgorithmIdentity, Contrast

PATIENT = "p1"
MARKER = (36.0, -44.0, 30.0)
"""LPS mm of the marker in the first study: left, front, top."""

CENTRE = (25.0, -20.0, 10.0)
RADII_MM = (14.0, 16.0, 19.0)
DATES = (dt.date(2024, 1, 10), dt.date(2024, 3, 20), dt.date(2024, 6, 12))
TURNED = rigid((4.0, -6.0, 8.0), (3.0, -5.0, 4.0))
"""How the head lies in the second study: LPS of the first to LPS of the second."""

_BACKEND = AlgorithmIdentity("stated", "1", "0" * 64)


@dataclass(frozen=True)
class Made:
    """One study: its key, and the matrix from LPS of the first study to LPS of its own."""

    study_key: str
    pose: Matrix


def build(gateway: Gateway) -> list[Made]:
    """Write everything; the forecasts are made by the forecaster that ships."""
    _ = gateway.keys  # made before anything is analysed, as the worker does at its first start
    made = [Made("s1", np.eye(4)), Made("s2", TURNED), Made("s3", np.eye(4))]
    with session_scope(gateway.database) as session:
        session.add(Patient(patient_key=PATIENT, surrogate="ab" * 16))
        session.flush()
        for study, date in zip(made, DATES, strict=True):
            session.add(_row(study.study_key, date))
    for study, radius in zip(made, RADII_MM, strict=True):
        _analyse(gateway, study, radius)
        arguments = arguments_of(study.study_key, 1)
        recording.run(gateway, arguments)
        forecasting.run(gateway, arguments)
    _quarantine(gateway)
    return made


def _row(key: str, date: dt.date) -> Study:
    arrival = dt.datetime.combine(date, dt.time(12), dt.UTC)
    return Study(
        study_key=key,
        study_instance_uid=f"2.25.{key[1:]}",
        patient_key=PATIENT,
        state=StudyState.MEASURED,
        revision=1,
        acquired=date,
        instance_count=120,
        last_arrival=arrival,
        identity={"patient_id": "A-1", "issuer": "HOSPITAL", "name": "ONE^PATIENT"},
    )


def _analyse(gateway: Gateway, study: Made, radius_mm: float) -> None:
    sagittal = study.study_key == "s2"
    axes = ORIENTATIONS["sagittal" if sagittal else "axial"]
    shape, spacing = ((80, 100, 110), (2.0, 1.8, 1.8)) if sagittal else ((60, 110, 90), (3.0, 1.8, 1.8))
    native = grid(shape, spacing, axes)
    series = {contrast.value: f"1.2.3.{study.study_key[1:]}.{i}" for i, contrast in enumerate(Contrast)}
    image = _with_marker(head(native, pose=study.pose), study.pose)
    images = [i for c in (Contrast.T1C, Contrast.FLAIR) for i in classic(image, SeriesInstanceUID=series[c])]
    save(research_study(gateway, study.study_key, 1), images)
    labels = find_lesions(_labels(native, study.pose, radius_mm))
    anchor_grid = grid((80, 100, 80), (2.0, 2.0, 2.0))
    analysis = StudyAnalysis(
        labels=labels.labels,
        lesions=labels.lesions,
        measurements=measure_lesions(labels.labels, labels.lesions, ()),
        reference_series_uid=series[Contrast.T1C],
        to_baseline=np.linalg.inv(study.pose),
        anchor=head(anchor_grid, pose=study.pose, skull=False),
        backend=_BACKEND,
        notes=(),
    )
    frame = None if study.study_key == "s1" else Frame("s1", 1)
    folder = analysis_folder(gateway, study.study_key, 1)
    save_analysis(folder, analysis)
    note_frame(folder, frame)
    kept = {c: uid for c, uid in series.items() if c in (Contrast.T1C, Contrast.FLAIR)}
    detail = {"series": kept, "frame": frame.to_json() if frame else None, "images_of": 1}
    row = Analysis(
        study_key=study.study_key,
        patient_key=PATIENT,
        revision=1,
        labels_sha256=study.study_key.ljust(64, "0"),
        backend=identity_to_json(_BACKEND),
        notes=[],
        detail=json.loads(json.dumps(detail)),
    )
    with session_scope(gateway.database) as session:
        session.add(row)


def _places(native: Volume, pose: Matrix) -> Floats:
    """Where each voxel lies in the first study, LPS mm."""
    inverse = np.linalg.inv(pose)
    return np.einsum("ij,j...->i...", inverse[:3, :3], voxel_places(native)) + inverse[:3, 3].reshape(3, 1, 1, 1)


def _with_marker(image: Volume, pose: Matrix) -> Volume:
    places = _places(image, pose)
    near = np.all(np.abs(places - np.reshape(MARKER, (3, 1, 1, 1))) < 4.0, axis=0)
    return with_array(image, np.where(near, 4000.0, image.array).astype(np.float32))


def _labels(native: Volume, pose: Matrix, radius_mm: float) -> Volume:
    distance = np.linalg.norm(_places(native, pose) - np.reshape(CENTRE, (3, 1, 1, 1)), axis=0)
    values = np.select([distance < radius_mm / 3, distance < radius_mm / 1.6, distance < radius_mm], [1, 3, 2], 0)
    return Volume(values.astype(np.uint8), native.affine, "PATIENT")


def _quarantine(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        study = _row("s9", dt.date(2024, 7, 1))
        study.state, study.patient_key = StudyState.QUARANTINED, None
        session.add(study)
        session.flush()
        session.add(
            Quarantine(
                quarantine_key="q1",
                kind=QuarantineKind.CONFLICTING_PATIENT,
                reason="An image states another patient ID.",
                remedy="Discard the instance, or release it when both IDs are the same person.",
                dedup="test:1",
                study_key="s9",
                detail={"stated": {"patient_id": "B-2", "issuer": "HOSPITAL", "name": "TWO^PATIENT"}},
            )
        )

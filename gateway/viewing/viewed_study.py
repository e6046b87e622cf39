"""A study as the viewers see it: its latest analysis, and the frame of its patient that all time points share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from highdicom import Volume
from sqlmodel import Session, col, select

from gateway.context import Gateway
from gateway.errors import NotFound
from gateway.frames import Frame, analysis_folder, root_analysis
from gateway.overview import find_study
from gateway.rehoming import images_of
from gateway.stages.deidentification import research_study
from gateway.tables import Analysis, TimePoint
from inference.analysis_files import load_analysis
from inference.contracts import Matrix, StudyAnalysis


@dataclass(frozen=True)
class ViewedStudy:
    """Where the parts of a study lie. `to_root` maps LPS of the study to LPS of `root`, the patient's frame.

    `images` and `analysis_folder` are folders of the research zone, `images` may be gone by retention; `series` names
    the de-identified series that were used, by contrast.
    """

    study_key: str
    patient_key: str
    revision: int
    labels_sha256: str
    series: dict[str, str]
    images: Path
    analysis_folder: Path
    root: Frame
    root_folder: Path
    to_root: Matrix

    @cached_property
    def analysis(self) -> StudyAnalysis:
        return load_analysis(self.analysis_folder)

    @cached_property
    def registered_grid(self) -> Volume:
        """The grid that all time points of the patient are shown on: 1 mm, slices towards S, rows P, columns L."""
        anchor = load_analysis(self.root_folder).anchor
        halved = np.diag([0.5, 0.5, 0.5, 1.0])
        halved[:3, 3] = -0.25
        shape = tuple(2 * n for n in anchor.spatial_shape)
        return Volume(np.zeros(shape, np.uint8), anchor.affine @ halved, "PATIENT")

    @property
    def from_root(self) -> Matrix:
        """LPS of the patient's frame to LPS of the study."""
        return np.asarray(np.linalg.inv(self.to_root), dtype=np.float64)

    @property
    def is_registered(self) -> bool:
        """Whether the study was moved to reach the frame of its patient."""
        return self.root.study_key != self.study_key


def find_viewed(gateway: Gateway, session: Session, key_or_uid: str) -> ViewedStudy:
    """The latest analysis of a study that stands in the record; else its latest one at all.

    Raises:
        NotFound: for an unknown study, or one that was not analysed.
    """
    study = find_study(session, key_or_uid)
    in_record = select(TimePoint.revision).where(TimePoint.study_key == study.study_key, col(TimePoint.current))
    wanted = select(Analysis).where(Analysis.study_key == study.study_key).order_by(col(Analysis.revision).desc())
    current = session.exec(in_record).first()
    rows = session.exec(wanted).all()
    row = next((r for r in rows if r.revision == current), rows[0] if rows else None)
    if row is None:
        raise NotFound(f"an analysis of study {study.study_key}")
    root, matrix = root_analysis(gateway, session, row.study_key, row.revision)
    return ViewedStudy(
        study_key=row.study_key,
        patient_key=row.patient_key,
        revision=row.revision,
        labels_sha256=row.labels_sha256,
        series=dict(row.detail["series"]),
        images=research_study(gateway, row.study_key, images_of(row)),
        analysis_folder=analysis_folder(gateway, row.study_key, row.revision),
        root=root,
        root_folder=analysis_folder(gateway, root.study_key, root.revision),
        to_root=matrix,
    )


def viewed_of_patient(gateway: Gateway, session: Session, patient_key: str) -> list[tuple[TimePoint, ViewedStudy]]:
    """The time points of a patient in the order of acquisition.

    Raises:
        NotFound: when the patient has none.
    """
    rows = session.exec(
        select(TimePoint)
        .where(TimePoint.patient_key == patient_key, col(TimePoint.current))
        .order_by(col(TimePoint.acquired), col(TimePoint.id))
    ).all()
    if not rows:
        raise NotFound(f"a time point of patient {patient_key}")
    return [(row, find_viewed(gateway, session, row.study_key)) for row in rows]

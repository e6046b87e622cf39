"""The frame of a patient: the coordinates in which lesions of all studies are compared.

An analysis is registered to the study that was analysed first among those the patient has at that moment, and names
it (`Analysis.detail["frame"]`). Following these names leads every analysis of a patient to one root, also where the
first study has left the record since: it stays a system of coordinates, nothing else of it is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlmodel import Session, col, select

from gateway.context import Gateway
from gateway.errors import NotFound
from gateway.tables import Analysis, Study
from inference.contracts import Matrix

FRAME_FILE = "frame.json"


@dataclass(frozen=True)
class Frame:
    """The analysis that another one was registered to."""

    study_key: str
    revision: int

    def to_json(self) -> list[str | int]:
        return [self.study_key, self.revision]


def analysis_folder(gateway: Gateway, study_key: str, revision: int) -> Path:
    """Folder of the masks and measurements of a study revision."""
    return gateway.research_folder / "analyses" / f"{study_key}-r{revision}"


def frame_of_patient(session: Session, study: Study) -> Frame | None:
    """What the next analysis of a study is registered to; None when it is the patient's first."""
    query = (
        select(Analysis)
        .join(Study, col(Study.study_key) == col(Analysis.study_key))
        .where(
            Analysis.patient_key == study.patient_key,
            Study.patient_key == study.patient_key,
            Analysis.study_key != study.study_key,
        )
        .order_by(col(Analysis.id))
        .limit(1)
    )
    first = session.exec(query).first()
    return Frame(first.study_key, first.revision) if first else None


def note_frame(folder: Path, frame: Frame | None) -> None:
    """Keep beside an analysis what it was registered to."""
    (folder / FRAME_FILE).write_text(json.dumps(frame.to_json() if frame else None), encoding="utf-8")


def noted_frame(folder: Path) -> Frame | None:
    """What the analysis in a folder was registered to."""
    stated = json.loads((folder / FRAME_FILE).read_text(encoding="utf-8"))
    return Frame(str(stated[0]), int(stated[1])) if stated else None


def to_root(gateway: Gateway, session: Session, study_key: str, revision: int) -> tuple[str, Matrix]:
    """The root of an analysis' frame, and the 4 x 4 matrix from LPS of the study to LPS of that root.

    Raises:
        NotFound: when an analysis on the way is not known.
    """
    matrix: Matrix = np.eye(4)
    way = _way(session, study_key, revision)
    for row in way:
        matrix = _to_baseline(analysis_folder(gateway, row.study_key, row.revision)) @ matrix
    return _name(way[-1]), matrix


def root_analysis(gateway: Gateway, session: Session, study_key: str, revision: int) -> tuple[Frame, Matrix]:
    """The analysis at the root of an analysis' frame, and the matrix that `to_root` gives.

    Raises:
        NotFound: when an analysis on the way is not known.
    """
    root = _way(session, study_key, revision)[-1]
    return Frame(root.study_key, root.revision), to_root(gateway, session, study_key, revision)[1]


def root_of(session: Session, frame: Frame) -> str:
    """The root of an analysis' frame; two analyses can be compared when it is the same.

    Raises:
        NotFound: when an analysis on the way is not known.
    """
    return _name(_way(session, frame.study_key, frame.revision)[-1])


def _way(session: Session, study_key: str, revision: int) -> list[Analysis]:
    """The analyses from this one to the root of its frame."""
    way: list[Analysis] = []
    while True:
        row = session.exec(
            select(Analysis).where(Analysis.study_key == study_key, Analysis.revision == revision)
        ).first()
        if row is None or row in way:
            raise NotFound(f"the analysis of study {study_key}, revision {revision}")
        way.append(row)
        stated = row.detail.get("frame")
        if not stated:
            return way
        study_key, revision = str(stated[0]), int(stated[1])


def _name(root: Analysis) -> str:
    """An analysis from before frames were noted was registered to the first one of its patient."""
    return root.study_key if "frame" in root.detail else root.patient_key


def _to_baseline(folder: Path) -> Matrix:
    stated = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))["to_baseline"]
    return np.array(stated, dtype=np.float64)

"""Segment and measure: the de-identified study in, masks and measurements in the research zone out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sqlmodel import select

from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.frames import Frame, analysis_folder, frame_of_patient, note_frame, noted_frame
from gateway.series_choice import choose, series_uid
from gateway.stages.deidentification import research_study
from gateway.stages.progress import advance, hold_revision, key_and_revision, require_study, set_aside
from gateway.tables import Analysis, QuarantineKind, StudyState
from gateway.values import identity_to_json
from inference.backends.registry import load_backend
from inference.contracts import InferenceError, SegmentationBackend, StudyAnalysis
from inference.model_folder import sha256_of
from inference.study import analyse_series, load_analysis, save_analysis
from longitudinal.types import Contrast

SHIPPED_MODEL = "segmentation-1"


@cache
def _backend(model: str, device: str) -> SegmentationBackend:
    return load_backend(model, device)


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Analyse the study; one that cannot be analysed is set aside with the reason."""
    study_key, revision = key_and_revision(arguments)
    folder = analysis_folder(gateway, study_key, revision)
    source = research_study(gateway, study_key, revision)
    options = gateway.settings.inference
    backend = _backend(options.model or SHIPPED_MODEL, options.device)
    try:
        series = choose(gateway, study_key, revision, source).files
        if not folder.exists():
            _analyse(gateway, study_key, series, backend, folder)
    except InferenceError as error:
        raise set_aside(
            gateway,
            study_key,
            revision,
            QuarantineKind.UNUSABLE,
            str(error),
            "Check the protocol of this study; complete it or dismiss it.",
        ) from error
    used = {contrast.value: series_uid(files[0]) for contrast, files in series.items()}
    record_analysis(gateway, study_key, revision, used)
    advance(gateway, study_key, revision, StudyState.MEASURED)


def _analyse(
    gateway: Gateway, study_key: str, series: Mapping[Contrast, list[Path]], backend: SegmentationBackend, folder: Path
) -> None:
    frame, anchor = patient_anchor(gateway, study_key)
    write_analysis(folder, analyse_series(series, backend, anchor.anchor if anchor else None), frame)


def patient_anchor(gateway: Gateway, study_key: str) -> tuple[Frame | None, StudyAnalysis | None]:
    """The analysis whose image a study is registered to, and its name."""
    with read_scope(gateway.database) as session:
        frame = frame_of_patient(session, require_study(session, study_key))
    if frame is None:
        return None, None
    return frame, load_analysis(analysis_folder(gateway, frame.study_key, frame.revision))


def write_analysis(folder: Path, analysis: StudyAnalysis, frame: Frame | None) -> None:
    """Write an analysis with what it was registered to: the folder appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    save_analysis(partial, analysis)
    note_frame(partial, frame)
    partial.rename(folder)


def record_analysis(
    gateway: Gateway, study_key: str, revision: int, series: dict[str, str], images: int | None = None
) -> None:
    """Write the row of an analysis in its folder; `series` are the de-identified series used, by contrast, `images`
    is the revision that was segmented where it is an earlier one."""
    folder = analysis_folder(gateway, study_key, revision)
    analysis, frame = load_analysis(folder), noted_frame(folder)
    with session_scope(gateway.database) as session:
        study = hold_revision(session, study_key, revision)
        done = session.exec(select(Analysis).where(Analysis.study_key == study_key, Analysis.revision == revision))
        if done.first() is None:
            session.add(
                Analysis(
                    study_key=study_key,
                    patient_key=str(study.patient_key),
                    revision=revision,
                    labels_sha256=sha256_of(folder / "labels.nii.gz"),
                    backend=identity_to_json(analysis.backend),
                    notes=list(analysis.notes),
                    detail={
                        "series": series,
                        "frame": frame.to_json() if frame else None,
                        "images_of": revision if images is None else images,
                    },
                )
            )

"""Segment and measure: the de-identified study in, masks and measurements in the research zone out."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import pydicom
from sqlmodel import col, select

from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import Arguments
from gateway.stages.deidentification import original_images, research_study
from gateway.stages.progress import advance, key_and_revision, require_study, set_aside
from gateway.tables import Analysis, QuarantineKind, StudyState
from gateway.values import identity_to_json
from inference.backends.registry import load_backend
from inference.contracts import InferenceError, SegmentationBackend, StudyAnalysis
from inference.model_folder import sha256_of
from inference.study import analyse_series, load_analysis, save_analysis, select_files
from longitudinal.types import Contrast

SHIPPED_MODEL = "segmentation-1"


@cache
def _backend(model: str, device: str) -> SegmentationBackend:
    return load_backend(model, device)


def analysis_folder(gateway: Gateway, study_key: str, revision: int) -> Path:
    """Folder of the masks and measurements of a study revision."""
    return gateway.research_folder / "analyses" / f"{study_key}-r{revision}"


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Analyse the study; one that cannot be analysed is set aside with the reason."""
    study_key, revision = key_and_revision(arguments)
    folder = analysis_folder(gateway, study_key, revision)
    source = research_study(gateway, study_key, revision)
    options = gateway.settings.inference
    backend = _backend(options.model or SHIPPED_MODEL, options.device)
    try:
        series = _select_series(gateway, study_key, source)
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
    _record_analysis(gateway, study_key, revision, folder, series)
    advance(gateway, study_key, revision, StudyState.MEASURED)


def _select_series(gateway: Gateway, study_key: str, source: Path) -> dict[Contrast, list[Path]]:
    """The de-identified files of the series to analyse, chosen by the headers as they came: cleaning a description can
    take the very word away that tells a T1 with contrast from one without."""
    chosen = select_files(original_images(gateway, study_key).files)
    files: dict[str, list[Path]] = {}
    for file in sorted(source.glob("*.dcm")):
        files.setdefault(_series_uid(file), []).append(file)
    wanted = {contrast: gateway.keys.uid(_series_uid(found[0])) for contrast, found in chosen.items()}
    return {contrast: files[uid] for contrast, uid in wanted.items() if uid in files}


def _series_uid(file: Path) -> str:
    return str(pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)


def _analyse(
    gateway: Gateway, study_key: str, series: dict[Contrast, list[Path]], backend: SegmentationBackend, folder: Path
) -> None:
    anchor = _patient_anchor(gateway, study_key)
    analysis = analyse_series(series, backend, anchor.anchor if anchor else None)
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    save_analysis(partial, analysis)
    partial.rename(folder)


def _patient_anchor(gateway: Gateway, study_key: str) -> StudyAnalysis | None:
    """The analysis whose frame is the patient's: that of the study of this patient that was analysed first."""
    with read_scope(gateway.database) as session:
        study = require_study(session, study_key)
        first = session.exec(
            select(Analysis)
            .where(Analysis.patient_key == study.patient_key, Analysis.study_key != study_key)
            .order_by(col(Analysis.id))
            .limit(1)
        ).first()
    return load_analysis(analysis_folder(gateway, first.study_key, first.revision)) if first else None


def _record_analysis(
    gateway: Gateway, study_key: str, revision: int, folder: Path, series: dict[Contrast, list[Path]]
) -> None:
    analysis = load_analysis(folder)
    used = {contrast.value: _series_uid(files[0]) for contrast, files in series.items()}
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
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
                    detail={"series": used},
                )
            )

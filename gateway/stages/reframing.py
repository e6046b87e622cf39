"""Reframe: a study that was analysed for one patient comes to another one.

Its masks and measurements stay as they are, on the native grid; what changes is the frame in which its lesions are
compared: the study is registered to the frame of its new patient, as if it had been analysed there.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.context import Gateway
from gateway.database import read_scope
from gateway.engine import Arguments
from gateway.errors import NotFound
from gateway.frames import analysis_folder
from gateway.rehoming import images_of, latest_analysis
from gateway.stages.progress import advance, key_and_revision, set_aside
from gateway.stages.segmentation import patient_anchor, record_analysis, write_analysis
from gateway.tables import QuarantineKind, StudyState
from inference.contracts import InferenceError
from inference.registration import register
from inference.resampling import IDENTITY
from inference.study import load_analysis


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Put the latest analysis of a study into the frame of its patient; where that fails a person has to look."""
    study_key, revision = key_and_revision(arguments)
    with read_scope(gateway.database) as session:
        source = latest_analysis(session, study_key, before=revision)
    if source is None:
        raise NotFound(f"study {study_key} was never analysed")
    if not analysis_folder(gateway, study_key, revision).exists():
        try:
            _reframe(gateway, study_key, source.revision, revision)
        except InferenceError as error:
            raise set_aside(
                gateway,
                study_key,
                revision,
                QuarantineKind.UNUSABLE,
                f"The study does not fit the record it was given to: {error}",
                "Check whose study it is: unmerge or move it back, or discard it.",
            ) from error
    record_analysis(gateway, study_key, revision, dict(source.detail["series"]), images_of(source))
    advance(gateway, study_key, revision, StudyState.MEASURED)


def _reframe(gateway: Gateway, study_key: str, source: int, revision: int) -> None:
    analysis = load_analysis(analysis_folder(gateway, study_key, source))
    frame, anchor = patient_anchor(gateway, study_key)
    matrix = register(analysis.anchor, anchor.anchor).matrix if anchor else IDENTITY.copy()
    write_analysis(analysis_folder(gateway, study_key, revision), replace(analysis, to_baseline=matrix), frame)

"""The summary page of a study: its key slices come from the research zone, where the images have no names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom import Dataset
from sqlmodel import select

from gateway.context import Gateway
from gateway.database import read_scope
from gateway.frames import analysis_folder
from gateway.object_names import SUMMARY, SUMMARY_PDF
from gateway.rehoming import images_of
from gateway.result_settings import SummaryKind
from gateway.results import StudyInRecord
from gateway.stages.deidentification import research_study
from gateway.tables import Analysis
from inference.analysis_files import UnreadableAnalysis, load_analysis
from inference.contracts import StudyAnalysis
from inference.encoding.identity import software_version
from inference.encoding.report_document import DocumentContext
from inference.encoding.summary_object import encode_summary_image, encode_summary_pdf
from inference.summary.content import KeySlice, SummaryPage, chosen_points, key_slice
from inference.summary.drawing import draw_image, draw_pdf
from inference.volumes import UnreadableSeries, load_volume
from longitudinal.record import RecordedTimePoint
from longitudinal.types import Region, StudyResult


def encode_summary(
    gateway: Gateway, at: StudyInRecord, result: StudyResult, context: DocumentContext
) -> list[tuple[str, Dataset]]:
    """The page of a study as the settings ask for it, as named objects; none where no page is wanted."""
    options = gateway.settings.results
    if options.summary is SummaryKind.NONE:
        return []
    page = _page(gateway, at, result)
    made: list[tuple[str, Dataset]] = []
    if options.summary in (SummaryKind.IMAGE, SummaryKind.BOTH):
        made.append((SUMMARY, encode_summary_image(context, draw_image(page, options.language))))
    if options.summary in (SummaryKind.PDF, SummaryKind.BOTH):
        made.append((SUMMARY_PDF, encode_summary_pdf(context, draw_pdf(page, options.language))))
    return made


def _page(gateway: Gateway, at: StudyInRecord, result: StudyResult) -> SummaryPage:
    record = at.patient.record
    until = at.patient.until(at.study.study_instance_uid).time_points
    stored = {study.study_instance_uid: (study.study_key, row.revision) for row, study in at.patient.rows}
    slices = [
        _slice(gateway, point, *stored[point.study_instance_uid], record.target) for point in chosen_points(until)
    ]
    return SummaryPage(result, until, slices, f"Timepoint {software_version()}")


def _slice(gateway: Gateway, point: RecordedTimePoint, study_key: str, revision: int, target: Region) -> KeySlice:
    """The key slice of a time point, without picture where its images or masks are no longer kept."""
    acquired, volume_ml = point.context.acquired, point.total_ml
    try:
        analysis = load_analysis(analysis_folder(gateway, study_key, revision))
        images = _images_revision(gateway, study_key, revision)
        files = _reference_files(research_study(gateway, study_key, images), analysis)
        image = load_volume(files).volume if files else None
    except (UnreadableAnalysis, UnreadableSeries):
        image = None
    if image is None:
        return KeySlice(acquired, volume_ml, None, None, None)
    labels, lesions = (each.match_geometry(image) for each in (analysis.labels, analysis.lesions))
    return key_slice(acquired, volume_ml, image, labels, lesions, target)


def _images_revision(gateway: Gateway, study_key: str, revision: int) -> int:
    with read_scope(gateway.database) as session:
        query = select(Analysis).where(Analysis.study_key == study_key, Analysis.revision == revision)
        found = session.exec(query).first()
    return images_of(found) if found is not None else revision


def _reference_files(folder: Path, analysis: StudyAnalysis) -> Sequence[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [file for file in files if _series(file) == analysis.reference_series_uid]


def _series(file: Path) -> str:
    header = pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True, force=True)
    return str(header.get("SeriesInstanceUID", ""))

"""One encoded study that several tests read; it is made once and must not be changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoding.source_series import (
    CREATED,
    GEOMETRIES,
    STUDY_UID,
    SourceSeries,
    classic,
    masks,
    study_result,
)
from highdicom import Volume
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, encode_study
from longitudinal.types import Contrast, StudyResult


@pytest.fixture(scope="session")
def oblique_masks() -> tuple[Volume, Volume]:
    return masks(GEOMETRIES["oblique"])


@pytest.fixture(scope="session")
def oblique_result(oblique_masks: tuple[Volume, Volume]) -> StudyResult:
    return study_result(*oblique_masks)


@pytest.fixture(scope="session")
def oblique_series() -> dict[Contrast, list[Dataset]]:
    geometry = GEOMETRIES["oblique"]
    return {
        Contrast.T1C: classic(SourceSeries(geometry)),
        Contrast.FLAIR: classic(SourceSeries(geometry, series_uid=STUDY_UID + ".2")),
    }


@pytest.fixture(scope="session")
def encoded(
    oblique_result: StudyResult,
    oblique_masks: tuple[Volume, Volume],
    oblique_series: dict[Contrast, list[Dataset]],
) -> EncodedStudy:
    return encode_study(oblique_result, *oblique_masks, oblique_series, Contrast.T1C, CREATED)


@pytest.fixture(scope="session")
def encoded_files(encoded: EncodedStudy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four objects on disk: seg, report, diameters, forecast."""
    folder = tmp_path_factory.mktemp("encoded")
    names = ("seg", "report", "diameters", "forecast")
    files = {}
    for name, ds in zip(names, encoded.objects, strict=True):
        files[name] = folder / f"{name}.dcm"
        ds.save_as(files[name], enforce_file_format=True)
    return files

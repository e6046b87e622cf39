"""A forecast cannot be taken for a measurement, even by a reader that looks at no modifier, no title and no series.

Three readers collect volumes from every report of a study as a hurried integrator would: by the concept Volume alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import highdicom as hd
import pytest
from peers.dcmqi import read_groups, volume_ml
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, codes
from longitudinal.types import StudyResult

REPORTS = ("report", "diameters", "forecast")
VOLUME_NAMES = ("118565006", "G-D705", "RNU0", "YEKZ")


def every_volume_at_any_depth(file: Path, folder: Path) -> Iterator[float]:
    def walk(node: Dataset) -> Iterator[Dataset]:
        for item in node.get("ContentSequence", []):
            yield item
            yield from walk(item)

    for item in walk(dcmread(file)):
        names = item.get("ConceptNameCodeSequence")
        called = names and (names[0].CodeValue in VOLUME_NAMES or names[0].CodeMeaning.strip().lower() == "volume")
        if called and item.get("MeasuredValueSequence"):
            yield float(item.MeasuredValueSequence[0].NumericValue)


def every_volume_highdicom_offers(file: Path, folder: Path) -> Iterator[float]:
    content = hd.sr.srread(file).content
    groups = [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_planar_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    for group in groups:
        for found in group.get_measurements(name=codes.VOLUME):
            yield float(found.value)


def every_volume_dcmqi_offers(file: Path, folder: Path) -> Iterator[float]:
    found = [volume_ml(group) for group in read_groups(file, folder)]
    yield from (volume for volume in found if volume is not None)


@pytest.mark.parametrize(
    "reader", [every_volume_at_any_depth, every_volume_highdicom_offers, every_volume_dcmqi_offers]
)
def test_no_forecast_is_among_the_volumes(
    reader: Callable[[Path, Path], Iterator[float]],
    encoded_files: dict[str, Path],
    oblique_result: StudyResult,
    tmp_path: Path,
) -> None:
    found = {name: list(reader(encoded_files[name], tmp_path)) for name in REPORTS}
    forecast = oblique_result.forecast
    assert forecast is not None
    told = {value for p in forecast.points for value in (p.median_ml, p.lower_ml, p.upper_ml)}
    assert found["forecast"] == [], "no number of the forecast document is a Volume"
    assert len(found["report"]) >= 8, "the reader does find the measured ones"
    assert told.isdisjoint(value for values in found.values() for value in values)


def test_the_forecast_has_a_series_and_a_document_of_its_own(encoded: EncodedStudy) -> None:
    assert encoded.forecast is not None
    assert "FORECAST, not measured" in encoded.forecast.SeriesDescription
    (declared,) = encoded.forecast.SeriesDescriptionCodeSequence
    assert declared.CodeValue == codes.SERIES_FORECAST.value
    referenced = [
        str(item.ReferencedSOPInstanceUID)
        for ds in encoded.objects
        for study in ds.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    assert encoded.forecast.SOPInstanceUID not in referenced, "nothing measured rests on it"

"""What a radiologist sees: our objects in OHIF on Orthanc's DICOMweb, in a browser without a screen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peers.encoded_patients import CREATED, EncodedTimePoint, simulated_patients
from peers.ohif import View, look
from peers.orthanc import running_orthanc

from inference.encoding.report_document import DocumentContext
from inference.encoding.summary_object import DESCRIPTION, encode_summary_image
from inference.summary.content import SummaryPage, chosen_points, key_slice
from inference.summary.drawing import draw_image
from inference.summary.words import Language
from inference.volumes import load_volume
from longitudinal.types import Contrast, Region

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> EncodedTimePoint:
    (patient,) = simulated_patients(tmp_path_factory.mktemp("patient"), 1, 2)
    return patient[-1]


@pytest.fixture(scope="module")
def seen(point: EncodedTimePoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Everything opened once; the pictures lie beside (`.../ohif*/pictures`)."""
    folder = tmp_path_factory.mktemp("ohif")
    (folder / "pictures").mkdir()
    point.save(folder / "objects")
    summary(point).save_as(folder / "objects" / "summary.dcm", enforce_file_format=True)
    views = [
        View("ohif-segmentation", "Timepoint tumor segmentation", "segmentation", whole_tumour(point)[0]),
        View("ohif-volumes", "Timepoint tumor measurements", "text"),
        View("ohif-diameters", "Timepoint tumor diameters (RANO)", "calipers"),
        View("ohif-forecast", "Timepoint FORECAST, not measured", "text"),
        View("ohif-summary", DESCRIPTION, "image"),
    ]
    with running_orthanc(1, route=False) as archive:
        archive.upload([file for files in point.study.files.values() for file in files])
        archive.upload(sorted((folder / "objects").glob("*.dcm")))
        return look(archive.dicomweb_url, point.study.study_instance_uid, views, folder / "pictures")


def summary(point: EncodedTimePoint) -> Any:
    source = load_volume(point.study.files[Contrast.T1C]).volume
    found, target = point.study.found, point.result.target
    (last,) = chosen_points(point.record.time_points)[-1:]
    shown = key_slice(last.context.acquired, last.total_ml, source, found.labels, found.lesions, target)
    page = SummaryPage(point.result, point.record.time_points, [shown], "Timepoint")
    context = DocumentContext(point.result, point.study.headers()[Contrast.T1C], "digest", CREATED)
    return encode_summary_image(context, draw_image(page, Language.ENGLISH))


def whole_tumour(point: EncodedTimePoint) -> tuple[tuple[float, float, float], int]:
    """The middle (LPS mm) of the whole tumour on the slice that holds most of it, and its pixels there."""
    labels, lesions = point.study.found.labels, point.study.found.lesions
    mask = (lesions.array > 0) & np.isin(labels.array, Region.WHOLE.labels)
    at = int(mask.sum(axis=(1, 2)).argmax())
    middle = np.argwhere(mask[at]).mean(axis=0)
    x, y, z = labels.map_indices_to_reference(np.array([[at, *middle]]))[0]
    return (float(x), float(y), float(z)), int(mask[at].sum())


def test_the_overlay_lies_on_the_tumour(seen: dict[str, dict[str, Any]], point: EncodedTimePoint) -> None:
    """What changes when the overlay is hidden has its middle where the masks have theirs, and their size."""
    overlay = seen["ohif-segmentation"]
    _, pixels = whole_tumour(point)
    assert overlay["off_mm"] < 0.01
    scale = overlay["mm_per_pixel"]
    spacing = point.study.found.labels.spacing[1] * point.study.found.labels.spacing[2]
    apart = np.linalg.norm(np.array(overlay["centre"]) - np.array(overlay["canvas"])) * scale
    assert apart < 1.0, f"the overlay is {apart:.2f} mm off"
    area_mm2 = overlay["count"] / overlay["ratio"] ** 2 * scale**2
    assert area_mm2 == pytest.approx(pixels * spacing, rel=0.1)
    assert "Lesion 1 whole tumor" in overlay["labels"]


def test_volumes_are_text(seen: dict[str, dict[str, Any]], point: EncodedTimePoint) -> None:
    text = seen["ohif-volumes"]["text"]
    assert "Oncology Measurement Report" in text
    for lesion in point.result.lesions:
        assert lesion.measurement is not None
        for region in (Region.WHOLE, Region.CORE, Region.ENHANCING):
            assert f"{float(f'{lesion.measurement.volumes_ml[region]:.9g}'):g}"[:6] in text
        assert lesion.tracking_id in text


def test_diameters_are_callipers_on_the_slice(seen: dict[str, dict[str, Any]], point: EncodedTimePoint) -> None:
    drawn = " ".join(seen["ohif-diameters"]["drawn"])
    for lesion in point.result.lesions:
        measured = lesion.measurement
        assert measured is not None and measured.longest is not None and measured.perpendicular is not None
        assert f"L: : {measured.longest.length_mm:.2f} mm" in drawn
        assert f"W: : {measured.perpendicular.length_mm:.2f} mm" in drawn
    assert "Time Point Order" not in drawn


def test_the_forecast_says_what_it_is(seen: dict[str, dict[str, Any]], point: EncodedTimePoint) -> None:
    text = seen["ohif-forecast"]["text"]
    assert point.result.forecast is not None
    horizons = len(point.result.forecast.points)
    assert text.count("Model forecast, not a measurement") >= horizons
    assert text.count("FORECAST") >= horizons


def test_the_summary_page_opens(seen: dict[str, dict[str, Any]]) -> None:
    assert DESCRIPTION in seen["ohif-summary"]["text"]
    assert "1/1" in seen["ohif-summary"]["text"]

"""Reports and segmentations of other toolkits, read by the same code that reads ours."""

from __future__ import annotations

import copy
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from encoding.source_series import AXIAL, Geometry, SourceSeries, classic
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, EncodingError, codes, is_own_object, read_report, read_segment_volumes


def golden(real_data: Path, name: str) -> Dataset:
    return dcmread(real_data / "golden" / name)


def test_dcmqi_report(real_data: Path) -> None:
    (group,) = read_report(golden(real_data, "dcmqi_sr.dcm"))
    assert group.volume_ml == pytest.approx(33.5824)
    assert group.tracking_id == "primary tumor"
    assert group.tracking_uid.endswith("575818119084")
    assert group.finding is not None and group.finding.meaning == "Neoplasm, Primary"
    assert group.segment is not None and group.segment[1] == 1
    assert len(group.numbers) == 22
    assert not group.is_forecast


def test_dcmqi_report_and_its_segmentation_agree(real_data: Path) -> None:
    (group,) = read_report(golden(real_data, "dcmqi_sr.dcm"))
    volumes = read_segment_volumes(golden(real_data, "dcmqi_seg.dcm"))
    assert volumes[1] == pytest.approx(group.volume_ml, rel=1e-5)


def test_highdicom_report_with_planar_volumetric_and_image_groups(real_data: Path) -> None:
    groups = {
        g.tracking_id: g for g in read_report(golden(real_data, "highdicom_sr_document_with_multiple_groups.dcm"))
    }
    assert set(groups) == {"Image0001", "LungNodule0001", "Aorta0001", "Vertebra0001"}
    assert groups["Vertebra0001"].volume_ml == pytest.approx(0.2)  # written as 200 mm3
    assert groups["LungNodule0001"].volume_ml is None
    assert groups["LungNodule0001"].numbers[0].unit == "mm"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dcmqi_liver.dcm", {1: 70.36193}),
        ("dcmqi_partial_overlaps.dcm", {1: 6.308384, 2: 7.810255, 3: 7.058005, 4: 4.397210, 5: 3.096377}),
        ("highdicom_seg_image_ct_binary_overlap.dcm", {1: 0.019073, 2: 0.004768}),
        ("dcmqi_sparse-labelmap-noppv.dcm", {0: 1.46265, 1: 0.77175}),
    ],
)
def test_segmentations_of_every_kind(real_data: Path, name: str, expected: dict[int, float]) -> None:
    assert read_segment_volumes(golden(real_data, name)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("keep", "spacing", "thickness", "expected_mm"),
    [(3, 2.5, 9.0, 2.5), (3, None, 9.0, 4.0), (1, None, 9.0, 9.0)],
)
def test_slice_distance_is_taken_from_the_best_source(
    keep: int, spacing: float | None, thickness: float, expected_mm: float
) -> None:
    """A segment of `keep` one-voxel frames 4 mm apart, whatever the header states."""
    ds = one_voxel_frames(keep)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = thickness
    if spacing is None:
        del measures.SpacingBetweenSlices
    else:
        measures.SpacingBetweenSlices = spacing
    assert read_segment_volumes(ds)[1] == pytest.approx(keep * 2.0 * 3.0 * expected_mm / 1000)


def test_a_single_slice_without_any_thickness_is_refused() -> None:
    ds = one_voxel_frames(1)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.SpacingBetweenSlices
    measures.SliceThickness = None
    with pytest.raises(EncodingError, match="thickness"):
        read_segment_volumes(ds)


def one_voxel_frames(count: int) -> Dataset:
    geometry = Geometry(AXIAL, spacing=(4.0, 2.0, 3.0), shape=(5, 8, 8))
    mask = np.zeros(geometry.shape, np.uint8)
    mask[1 : 1 + count, 2, 3] = 1
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="one",
        segmented_property_category=codes.MORPHOLOGICALLY_ABNORMAL,
        segmented_property_type=codes.NEOPLASM,
        algorithm_type="MANUAL",
    )
    return hd.seg.Segmentation(
        classic(SourceSeries(geometry), shuffle=False),
        mask,
        "BINARY",
        [description],
        hd.UID(),
        1,
        hd.UID(),
        1,
        "maker",
        "model",
        "1",
        "1",
    )


def test_none_of_them_is_ours(real_data: Path) -> None:
    files = sorted((real_data / "golden").glob("*.dcm"))
    assert len(files) == 9
    assert not any(is_own_object(dcmread(file)) for file in files)


def test_time_point_numbers_are_no_measurements_whatever_their_relationship(encoded: EncodedStudy) -> None:
    """Some writers put the time point context under CONTAINS, as they do with measurements."""
    report = copy.deepcopy(encoded.report)
    expected = read_report(encoded.report)
    (container,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    changed = [
        item
        for group in container.ContentSequence
        for item in group.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue in ("126073", "128740")
    ]
    for item in changed:
        item.RelationshipType = "CONTAINS"
    assert len(changed) == 2 * len(expected)
    assert read_report(report) == expected


def test_the_wrong_kind_of_object_is_refused(real_data: Path) -> None:
    with pytest.raises(EncodingError, match="no structured report"):
        read_report(golden(real_data, "dcmqi_seg.dcm"))
    with pytest.raises(EncodingError, match="no segmentation"):
        read_segment_volumes(golden(real_data, "dcmqi_sr.dcm"))


@pytest.mark.parametrize(("unit", "per_ml"), [("ml", 1.0), ("mL", 1.0), ("cm3", 1.0), ("mm3", 1000.0)])
def test_the_same_volume_in_every_unit(encoded: EncodedStudy, unit: str, per_ml: float) -> None:
    report = copy.deepcopy(encoded.report)
    expected = [group.volume_ml for group in read_report(encoded.report)]
    (container,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    for group in container.ContentSequence:
        for item in group.ContentSequence:
            if item.ConceptNameCodeSequence[0].CodeValue == "118565006":
                value = item.MeasuredValueSequence[0]
                exact = float(value.get("FloatingPointValue") or value.NumericValue) * per_ml
                value.NumericValue, value.FloatingPointValue = f"{exact:.8g}", exact
                value.MeasurementUnitsCodeSequence[0].CodeValue = unit
    assert [group.volume_ml for group in read_report(report)] == pytest.approx(expected)

"""LABELMAP segmentation, the opt-in: the same volumes in a tenth of the size, unions without a segment."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from encoding.source_series import CREATED, GEOMETRIES, SourceSeries, classic, masks, study_result
from highdicom import Volume
from highdicom.seg import SegmentationTypeValues
from peers.dcmqi import read_segments
from peers.validators import complaints
from pydicom import dcmread

from inference.encoding import EncodedStudy, encode_study, read_report, read_segment_volumes
from longitudinal.types import Contrast

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
UNKNOWN_TO_DCIODVFY = "Shall not be present for Referenced SOP Class that is not segmentation"
"""dciodvfy 20260927 does not count Label Map Segmentation Storage among the segmentations when a report names one."""


@pytest.fixture(scope="module")
def source() -> tuple[Volume, Volume]:
    return masks(GEOMETRIES["oblique"])


@pytest.fixture(scope="module")
def label_map(source: tuple[Volume, Volume]) -> EncodedStudy:
    images = {Contrast.T1C: classic(SourceSeries(GEOMETRIES["oblique"]))}
    kind = SegmentationTypeValues.LABELMAP
    return encode_study(study_result(*source), *source, images, Contrast.T1C, CREATED, kind=kind)


def test_validator_finds_nothing(label_map: EncodedStudy, tmp_path: Path) -> None:
    assert label_map.segmentation is not None and label_map.segmentation.SOPClassUID == LABEL_MAP
    for number, ds in enumerate(label_map.objects):
        file = tmp_path / f"{number}.dcm"
        ds.save_as(file, enforce_file_format=True)
        assert [line for line in complaints(file) if not line.endswith(UNKNOWN_TO_DCIODVFY)] == []


def test_the_volumes_are_those_of_the_binary_one(label_map: EncodedStudy, encoded: EncodedStudy) -> None:
    def volumes(study: EncodedStudy) -> dict[str, float | None]:
        return {group.tracking_uid: group.volume_ml for group in read_report(study.report)}

    assert volumes(label_map) == pytest.approx(volumes(encoded))
    own = {str(ds.SOPInstanceUID) for ds in label_map.objects}
    assert own.isdisjoint(str(ds.SOPInstanceUID) for ds in encoded.objects), "other content, other instances"


def test_every_compartment_has_its_segment_and_no_union_has(label_map: EncodedStudy) -> None:
    groups = read_report(label_map.report)
    unions = [g for g in groups if "whole" in g.tracking_id or "core" in g.tracking_id.replace("necrotic core", "")]
    assert unions and all(g.segment is None for g in unions)
    parts = [g for g in groups if g not in unions and g.volume_ml]
    assert parts and all(g.segment is not None for g in parts)
    counted = read_segment_volumes(label_map.segmentation)  # type: ignore[arg-type]
    assert {g.segment[1]: g.volume_ml for g in parts if g.segment} == pytest.approx(
        {number: volume for number, volume in counted.items() if number}
    )


def test_dcmqi_reads_every_label_on_its_voxels(
    label_map: EncodedStudy, source: tuple[Volume, Volume], tmp_path: Path
) -> None:
    file = tmp_path / "seg.dcm"
    label_map.segmentation.save_as(file, enforce_file_format=True)  # type: ignore[union-attr]
    read_segments(file, tmp_path / "read")
    (image,) = [nibabel.load(path) for path in (tmp_path / "read").glob("*.nii.gz")]
    values = np.asarray(image.dataobj)
    counts = {int(v): int((values == v).sum()) for v in np.unique(values) if v}
    voxel_ml = source[0].voxel_volume / 1000
    ours = read_segment_volumes(dcmread(file))
    assert {v: n * voxel_ml for v, n in counts.items()} == pytest.approx({n: ml for n, ml in ours.items() if n})

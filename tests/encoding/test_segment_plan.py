"""The frame budget: what goes without a segment, in which order, and how the report copes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoding.source_series import AXIAL, CREATED, Geometry, SourceSeries, classic, masks, measure, study_result, volume
from highdicom import Volume
from pydicom.dataset import Dataset

from inference.encoding import encode_study, read_report
from inference.encoding.segment_plan import FRAME_BUDGET, PlannedSegment, Structure, plan_segments, tracking_uid
from longitudinal.types import Compartment, Contrast, LesionResult, Region, Response, StudyResult

GEOMETRY = Geometry(AXIAL, spacing=(1.0, 1.0, 1.0), shape=(120, 30, 30))


def three_lesions(target: Region = Region.CORE) -> tuple[StudyResult, Volume, Volume]:
    """Lesions on 100, 60 and 30 slices, each with oedema, enhancement and necrosis: 950 frames with unions."""
    labels = np.zeros(GEOMETRY.shape, np.uint8)
    lesions = np.zeros(GEOMETRY.shape, np.uint8)
    for index, (length, column) in enumerate(((100, 0), (60, 10), (30, 20)), start=1):
        labels[:length, 2:12, column : column + 9] = Compartment.OEDEMA.label
        labels[:length, 4:9, column + 2 : column + 7] = Compartment.ENHANCING.label
        labels[:length, 6, column + 4] = Compartment.NECROTIC.label
        lesions[:length, 2:12, column : column + 9] = index
    label_volume, lesion_volume = volume(labels, GEOMETRY), volume(lesions, GEOMETRY)
    base = study_result(*masks(Geometry(AXIAL)), target=target)
    found = tuple(
        LesionResult(f"2.25.{n}", f"L{n}", measure(label_volume, lesion_volume, n), (), Response.STABLE)
        for n in (1, 2, 3)
    )
    return replace(base, lesions=found, forecast=None), label_volume, lesion_volume


def dropped(planned: list[PlannedSegment]) -> list[str]:
    return sorted(segment.tracking_id for segment in planned if segment.number is None)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (950, []),
        (949, ["L3 whole tumor"]),
        (919, ["L2 whole tumor", "L3 whole tumor"]),
        (760, ["L1 whole tumor", "L2 whole tumor", "L3 whole tumor"]),
        (759, ["L1 whole tumor", "L2 whole tumor", "L3 tumor core", "L3 whole tumor"]),
        (1, [f"L{n} {kind}" for n in (1, 2, 3) for kind in ("tumor core", "whole tumor")]),
    ],
)
def test_unions_go_first_and_those_of_the_target_last(budget: int, expected: list[str]) -> None:
    result, labels, lesions = three_lesions()
    planned = plan_segments(result, labels, lesions, Dataset(), budget)
    assert dropped(planned) == expected
    numbers = [segment.number for segment in planned if segment.number is not None]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_target_region_decides_which_union_stays() -> None:
    result, labels, lesions = three_lesions(Region.WHOLE)
    planned = plan_segments(result, labels, lesions, Dataset(), 800)
    assert dropped(planned) == ["L1 tumor core", "L2 tumor core", "L3 tumor core"]
    assert all(segment.number is not None for segment in planned if segment.structure is Structure.WHOLE)


def test_frames_and_volumes_of_the_plan_are_those_of_the_masks() -> None:
    result, labels, lesions = three_lesions()
    planned = plan_segments(result, labels, lesions, Dataset())
    assert sum(segment.frames for segment in planned) == 5 * (100 + 60 + 30)
    for segment in planned:
        assert segment.lesion is not None and segment.lesion.measurement is not None
        if segment.structure.region is not None:
            measured = segment.lesion.measurement.volumes_ml[segment.structure.region]
            assert segment.volume_ml == pytest.approx(measured)


def test_a_study_over_budget_keeps_every_volume_in_the_report() -> None:
    result, labels, lesions = three_lesions()
    source = classic(SourceSeries(GEOMETRY))
    encoded = encode_study(result, labels, lesions, {Contrast.T1C: source}, Contrast.T1C, CREATED)
    assert encoded.segmentation is not None
    compartments = 3 * (100 + 60 + 30)
    assert compartments > FRAME_BUDGET  # so all unions went, and compartments stay all the same
    assert int(encoded.segmentation.NumberOfFrames) == compartments
    (findings,) = [i for i in encoded.report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375"]
    assert any("L2 whole tumor" in str(item.get("TextValue")) for item in findings.ContentSequence)
    groups = {group.tracking_uid: group for group in read_report(encoded.report)}
    for lesion in result.lesions:
        assert lesion.measurement is not None
        for region in Region:
            group = groups[tracking_uid(lesion.tracking_uid, Structure(region.value))]
            assert group.volume_ml == pytest.approx(lesion.measurement.volumes_ml[region])
            union = region in (Region.WHOLE, Region.CORE)
            assert (group.segment is None) == union
            assert any(value.value == "TP042" for _, value in group.evaluations) == union

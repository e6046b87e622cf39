"""Each contradiction between result, SEG, report and source is found and named; a sound set raises none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from encoding.source_series import CREATED, GEOMETRIES, SourceSeries, classic, masks, study_result
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, InconsistentResultError, check, encode_study
from longitudinal.types import Contrast, Region, StudyResult


def walk(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from walk(item)


def items(report: Dataset, code: str) -> list[Dataset]:
    return [item for item in walk(report) if item.ConceptNameCodeSequence[0].CodeValue == code]


def grow_a_volume(report: Dataset, segmentation: Dataset) -> None:
    value = items(report, "118565006")[0].MeasuredValueSequence[0]
    value.FloatingPointValue *= 1.002


def exchange_a_tracking_uid(report: Dataset, segmentation: Dataset) -> None:
    items(report, "112040")[2].UID = "2.25.5"


def lose_the_unit(report: Dataset, segmentation: Dataset) -> None:
    units = items(report, "371884006")[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    units.CodeValue = "1"


def point_at_another_segment(report: Dataset, segmentation: Dataset) -> None:
    items(report, "121191")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = 3


def point_nowhere(report: Dataset, segmentation: Dataset) -> None:
    items(report, "121191")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = 44


def erase_a_voxel(report: Dataset, segmentation: Dataset) -> None:
    pixels = bytearray(segmentation.PixelData)
    first = next(i for i, byte in enumerate(pixels) if byte)
    pixels[first] &= pixels[first] - 1
    segmentation.PixelData = bytes(pixels)


def drop_the_issuer(report: Dataset, segmentation: Dataset) -> None:
    del report.IssuerOfPatientID


def rename_the_patient(report: Dataset, segmentation: Dataset) -> None:
    segmentation.PatientName = "Mueller^Aenne"


def change_the_character_set(report: Dataset, segmentation: Dataset) -> None:
    report.SpecificCharacterSet = "ISO_IR 192"


def change_the_birth_date(report: Dataset, segmentation: Dataset) -> None:
    report.PatientBirthDate = "19610204"


def forget_an_image(report: Dataset, segmentation: Dataset) -> None:
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    del series[1].ReferencedSOPSequence[4]


def forget_the_segmentation(report: Dataset, segmentation: Dataset) -> None:
    del report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[2]


def hide_our_scheme(report: Dataset, segmentation: Dataset) -> None:
    del report.CodingSchemeIdentificationSequence


def pretend_to_be_someone_else(report: Dataset, segmentation: Dataset) -> None:
    segmentation.Manufacturer = "Someone"
    del segmentation.ContributingEquipmentSequence


FAULTS: dict[Callable[[Dataset, Dataset], None], str] = {
    grow_a_volume: "the report says",
    exchange_a_tracking_uid: "tracking UID differs",
    lose_the_unit: "uncertainty in 1 beside a value in cm3",
    point_at_another_segment: "tracking UID differs",
    point_nowhere: "which is not there",
    erase_a_voxel: "segment 1",
    drop_the_issuer: "IssuerOfPatientID",
    rename_the_patient: "PatientName",
    change_the_character_set: "SpecificCharacterSet",
    change_the_birth_date: "PatientBirthDate",
    forget_an_image: "1 objects are not listed as evidence of the report (the first is a source image)",
    forget_the_segmentation: "the first is a segmentation",
    hide_our_scheme: "99TIMEPOINT",
    pretend_to_be_someone_else: "our mark",
}


def sources(series: dict[Contrast, list[Dataset]]) -> list[Dataset]:
    return [*series[Contrast.T1C], *series[Contrast.FLAIR]]


def test_a_sound_set_has_no_problems(
    encoded: EncodedStudy, oblique_result: StudyResult, oblique_series: dict[Contrast, list[Dataset]]
) -> None:
    assert check(oblique_result, encoded.segmentation, encoded.report, sources(oblique_series)) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_found(
    fault: Callable[[Dataset, Dataset], None],
    encoded: EncodedStudy,
    oblique_result: StudyResult,
    oblique_series: dict[Contrast, list[Dataset]],
) -> None:
    report, segmentation = copy.deepcopy(encoded.report), copy.deepcopy(encoded.segmentation)
    assert segmentation is not None
    fault(report, segmentation)
    problems = check(oblique_result, segmentation, report, sources(oblique_series))
    assert any(FAULTS[fault] in problem for problem in problems), problems


def test_a_report_without_its_segmentation_is_found(
    encoded: EncodedStudy, oblique_result: StudyResult, oblique_series: dict[Contrast, list[Dataset]]
) -> None:
    problems = check(oblique_result, None, encoded.report, sources(oblique_series))
    assert problems == ["the report references a segment, but there is no segmentation"]


def test_a_result_that_does_not_fit_its_masks_never_leaves() -> None:
    geometry = GEOMETRIES["axial"]
    labels, lesions = masks(geometry)
    result = study_result(labels, lesions)
    measured = result.lesions[0].measurement
    assert measured is not None
    wrong = replace(
        measured, volumes_ml={**measured.volumes_ml, Region.OEDEMA: measured.volumes_ml[Region.OEDEMA] * 1.01}
    )
    broken = replace(result, lesions=(replace(result.lesions[0], measurement=wrong), *result.lesions[1:]))
    with pytest.raises(InconsistentResultError, match="L1 peritumoral edema") as caught:
        encode_study(broken, labels, lesions, {Contrast.T1C: classic(SourceSeries(geometry))}, Contrast.T1C, CREATED)
    assert len(caught.value.problems) == 1


def test_problems_name_no_patient(
    encoded: EncodedStudy, oblique_result: StudyResult, oblique_series: dict[Contrast, list[Dataset]]
) -> None:
    report = copy.deepcopy(encoded.report)
    report.PatientName, report.PatientID = "Other^Person", "0815"
    problems = check(oblique_result, encoded.segmentation, report, sources(oblique_series))
    assert problems
    assert not any(secret in p for p in problems for secret in ("Müller", "0042", "Other", "0815", "Hospital A"))

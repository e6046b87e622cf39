"""What the measurement report says, read from the finished document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace

import highdicom as hd
import pytest
from encoding.source_series import (
    AXIAL,
    CREATED,
    Geometry,
    SourceSeries,
    classic,
    empty_result,
    masks,
    study_result,
    volume,
)
from highdicom import Volume
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, EncodingError, ReadGroup, encode_study, read_report, read_segment_volumes
from inference.encoding.segment_plan import LESION_STRUCTURES, Structure, tracking_uid
from longitudinal.types import Change, Compartment, Contrast, Reference, Region, Response, StudyResult

GEOMETRY = Geometry(AXIAL)
SOURCE = classic(SourceSeries(GEOMETRY))


def encode(result: StudyResult, labels: Volume, lesions: Volume) -> EncodedStudy:
    return encode_study(result, labels, lesions, {Contrast.T1C: SOURCE}, Contrast.T1C, CREATED)


def walk(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from walk(item)


def name_of(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def groups_of(ds: Dataset) -> dict[str, ReadGroup]:
    groups = read_report(ds)
    by_uid = {group.tracking_uid: group for group in groups}
    assert len(by_uid) == len(groups)
    return by_uid


def texts(ds: Dataset, code: str) -> list[str]:
    return [str(item.TextValue) for item in walk(ds) if item.ValueType == "TEXT" and name_of(item) == code]


def codes(ds: Dataset, code: str) -> list[tuple[str, str]]:
    values = [i.ConceptCodeSequence[0] for i in walk(ds) if i.ValueType == "CODE" and name_of(i) == code]
    return [(value.CodingSchemeDesignator, value.CodeValue) for value in values]


def test_every_lesion_and_region_has_a_group_with_its_volume(
    encoded: EncodedStudy, oblique_result: StudyResult
) -> None:
    groups = groups_of(encoded.report)
    for lesion in oblique_result.lesions[:2]:
        assert lesion.measurement is not None
        for region in Region:
            group = groups[tracking_uid(lesion.tracking_uid, Structure(region.value))]
            assert group.volume_ml == pytest.approx(lesion.measurement.volumes_ml[region], rel=1e-8)
            assert group.tracking_id.startswith(lesion.tracking_id)
        assert groups[lesion.tracking_uid].finding.meaning == "Neoplasm"  # type: ignore[union-attr]
    necrosis = groups[tracking_uid("2.25.1001", Structure.NECROTIC)]
    assert necrosis.volume_ml == pytest.approx(
        oblique_result.lesions[0].measurement.compartments_ml[Compartment.NECROTIC]  # type: ignore[union-attr]
    )


def test_groups_with_a_segment_reference_it_and_agree_with_it(encoded: EncodedStudy) -> None:
    assert encoded.segmentation is not None
    volumes = read_segment_volumes(encoded.segmentation)
    items = {int(item.SegmentNumber): item for item in encoded.segmentation.SegmentSequence}
    seen = set()
    for group in read_report(encoded.report):
        if group.segment is None:
            assert group.template == "1501"
            continue
        uid, number = group.segment
        seen.add(number)
        assert (group.template, uid) == ("1411", encoded.segmentation.SOPInstanceUID)
        assert group.volume_ml == pytest.approx(volumes[number], rel=1e-3)
        assert (group.tracking_uid, group.tracking_id) == (items[number].TrackingUID, items[number].TrackingID)
        property_type = items[number].SegmentedPropertyTypeCodeSequence[0]
        assert group.finding is not None
        assert property_type.CodeValue == group.finding.value
    assert seen == set(volumes) == set(range(1, 11))


def test_segments_are_coded_coloured_and_signed(encoded: EncodedStudy) -> None:
    assert encoded.segmentation is not None
    colours = set()
    for item in encoded.segmentation.SegmentSequence:
        assert item.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert item.AnatomicRegionSequence[0].CodeValue == "12738006"
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("test network", "1.2.0")
        assert "ab" * 32 in algorithm.AlgorithmParameters
        colours.add(tuple(item.RecommendedDisplayCIELabValue))
    assert len(colours) == 6
    assert encoded.segmentation.SegmentationType == "BINARY"
    assert encoded.segmentation.SegmentsOverlap == "YES"


def test_every_number_has_a_unit_an_algorithm_and_uncertainty_in_its_own_unit(encoded: EncodedStudy) -> None:
    uncertain = 0
    for ds in encoded.objects[1:]:
        numbers = [item for item in walk(ds) if item.ValueType == "NUM" and item.RelationshipType == "CONTAINS"]
        assert numbers
        for item in numbers:
            unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue
            names = [name_of(child) for child in item.ContentSequence]
            assert {"111001", "111003", "111002", "111000", "121050"} <= set(names)
            for child in item.ContentSequence:
                if name_of(child) in ("371884006", "371886008", "371885007"):
                    uncertain += 1
                    assert child.RelationshipType == "HAS PROPERTIES"
                    assert child.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == unit == "cm3"
    assert uncertain == 12  # eight regions of two lesions, two sides of two horizons


def test_uncertainty_is_the_95_percent_half_width(encoded: EncodedStudy, oblique_result: StudyResult) -> None:
    measured = oblique_result.lesions[0].measurement
    assert measured is not None
    group = groups_of(encoded.report)["2.25.1001"]
    (volume_number,) = [n for n in group.numbers if n.is_volume]
    ((code, half_width, unit),) = volume_number.uncertainty
    assert (code, unit) == ("371884006", "cm3")
    assert half_width == pytest.approx(1.96 * measured.volume_sd_ml[Region.WHOLE])


def test_shape_is_that_of_the_whole_tumour(encoded: EncodedStudy, oblique_result: StudyResult) -> None:
    measured = oblique_result.lesions[0].measurement
    assert measured is not None
    for group in read_report(encoded.report):
        shape = {n.name.value: (n.value, n.unit) for n in group.numbers if n.name.scheme_designator == "IBSI"}
        if group.tracking_uid == "2.25.1001":
            assert shape["L0JK"] == (pytest.approx(measured.max_3d_diameter_mm), "mm")
            assert shape["C0JK"] == (pytest.approx(measured.surface_area_mm2), "mm2")
            assert shape["QCFX"] == (pytest.approx(measured.sphericity), "1")
        elif group.tracking_uid != "2.25.1002":
            assert shape == {}


def test_change_is_stated_against_its_reference(encoded: EncodedStudy) -> None:
    core = groups_of(encoded.report)[tracking_uid("2.25.1001", Structure.CORE)]
    by_code = {number.name.value: number for number in core.numbers}
    assert (by_code["TP012"].value, by_code["TP012"].unit) == (0.35, "cm3")
    assert (by_code["TP015"].value, by_code["TP015"].unit) == (70.0, "%")
    assert by_code["TP015"].derivation is not None
    assert by_code["TP015"].derivation.value == "125314"
    item = next(item for item in walk(encoded.report) if item.ValueType == "NUM" and name_of(item) == "TP015")
    (origin,) = [child for child in item.ContentSequence if child.RelationshipType == "INFERRED FROM"]
    assert (name_of(origin), float(origin.MeasuredValueSequence[0].NumericValue)) == ("118565006", 0.5)
    assert any("nadir of 2025-12-01 (91 d before)" in text for text in texts(encoded.report, "121050"))
    significance = [c for c in item.ContentSequence if name_of(c) == "121403"]
    assert significance[0].ConceptCodeSequence[0].CodeValue == "386134007"


@pytest.mark.parametrize("reference", Reference)
def test_each_reference_has_its_own_codes(reference: Reference) -> None:
    labels, lesions = masks(GEOMETRY)
    base = study_result(labels, lesions)
    change = Change(reference, dt.date(2026, 1, 1), 60, 0.0, 0.2, None, False)
    result = replace(base, lesions=(replace(base.lesions[0], changes=(change,)), *base.lesions[1:]))
    core = groups_of(encode(result, labels, lesions).report)[tracking_uid("2.25.1001", Structure.CORE)]
    written = {number.name.value for number in core.numbers}
    expected = {Reference.BASELINE: "TP011", Reference.NADIR: "TP012", Reference.PREVIOUS: "TP013"}[reference]
    assert written == {"118565006", expected}  # a change from nothing has no percentage


def test_a_lost_lesion_is_zero_under_its_own_tracking_uid(encoded: EncodedStudy) -> None:
    gone = groups_of(encoded.report)[tracking_uid("2.25.1003", Structure.CORE)]
    assert (gone.template, gone.segment, gone.volume_ml) == ("1501", None, 0.0)
    assert {value.value for _, value in gone.evaluations} >= {"TP033", "TP039"}
    assert tracking_uid("2.25.1003", Structure.WHOLE) not in groups_of(encoded.report)


def test_an_empty_region_of_a_lesion_is_zero_and_not_missing() -> None:
    labels, lesions = masks(GEOMETRY)
    array = labels.array.copy()
    array[(lesions.array == 2)] = Compartment.OEDEMA.label
    labels = volume(array, GEOMETRY)
    encoded = encode(study_result(labels, lesions), labels, lesions)
    groups = groups_of(encoded.report)
    for structure in (Structure.CORE, Structure.ENHANCING):
        assert groups[tracking_uid("2.25.1002", structure)].volume_ml == 0.0
    assert tracking_uid("2.25.1002", Structure.NECROTIC) not in groups


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (Response.COMPLETE, ("DCM", "112041")),
        (Response.PARTIAL, ("DCM", "112042")),
        (Response.PROGRESSIVE, ("DCM", "112043")),
        (Response.STABLE, ("DCM", "112044")),
        (Response.BASELINE, ("99TIMEPOINT", "TP031")),
        (Response.NOT_EVALUABLE, ("99TIMEPOINT", "TP032")),
    ],
)
def test_the_response_of_the_patient(response: Response, code: tuple[str, str]) -> None:
    labels, lesions = masks(GEOMETRY)
    report = encode(replace(study_result(labels, lesions), response=response), labels, lesions).report
    assert codes(report, "112048") == [code]
    assert codes(report, "112021") == [("NCIt", "C114879")]
    said = any("steroid dose" in text for text in texts(report, "TP043"))
    assert said == (response is not Response.BASELINE)


def test_time_point_context(encoded: EncodedStudy) -> None:
    report = encoded.report
    groups = len(read_report(report))
    assert texts(report, "126070") == ["3"] * groups
    assert texts(report, "C2348792") == ["Time point 3, 2026-03-02"] * groups
    offsets = [i for i in walk(report) if i.ValueType == "NUM" and name_of(i) == "128740"]
    assert [float(i.MeasuredValueSequence[0].NumericValue) for i in offsets] == [182.0] * groups
    assert not any(n.name.value in ("126073", "128740") for g in read_report(report) for n in g.numbers)


def test_warnings_are_told_in_letters_every_character_set_has(encoded: EncodedStudy) -> None:
    assert "T2 missing, T2-FLAIR >= used in its place - see note" in texts(encoded.report, "TP043")


def test_highdicom_parses_what_it_did_not_build(encoded_files: dict) -> None:  # type: ignore[type-arg]
    report = hd.sr.srread(encoded_files["report"])
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 10
    assert len(report.content.get_image_measurement_groups()) == 1
    volumes = [
        m for group in groups for m in group.get_measurements(name=hd.sr.CodedConcept("118565006", "SCT", "Volume"))
    ]
    assert len(volumes) == 10


def test_evidence_lists_every_image_and_the_segmentation(encoded: EncodedStudy, oblique_series: dict) -> None:  # type: ignore[type-arg]
    assert encoded.segmentation is not None
    used = {ds.SOPInstanceUID for images in oblique_series.values() for ds in images}
    report = hd.sr.Comprehensive3DSR.from_dataset(encoded.report)
    listed = report.get_evidence(current_procedure_only=True)
    assert {uid for _, _, uid, _ in listed} == used | {encoded.segmentation.SOPInstanceUID}
    assert len({series for _, series, _, _ in listed}) == 3


def test_nothing_found_is_said_and_not_left_out() -> None:
    nothing = volume(masks(GEOMETRY)[0].array * 0, GEOMETRY)
    encoded = encode(empty_result(), nothing, nothing)
    assert encoded.objects == (encoded.report,)
    (group,) = read_report(encoded.report)
    assert group.numbers == ()
    assert [value.value for _, value in group.evaluations] == ["TP003"]
    assert any("found no lesion" in text for text in texts(encoded.report, "TP043"))
    assert hd.sr.Comprehensive3DSR.from_dataset(encoded.report).content.get_image_measurement_groups()


def test_only_a_cavity_is_left() -> None:
    labels, lesions = masks(GEOMETRY)
    cavity = volume(labels.array * (labels.array == Compartment.CAVITY.label), GEOMETRY)
    encoded = encode(empty_result(), cavity, volume(lesions.array * 0, GEOMETRY))
    assert encoded.segmentation is not None
    (group,) = [g for g in read_report(encoded.report) if g.segment]
    assert group.volume_ml == pytest.approx(6 * 5.5 * 0.9 * 1.1 / 1000)
    assert group.finding is not None
    assert group.finding.value == "TP002"
    assert any("found no lesion" in text for text in texts(encoded.report, "TP043"))


def test_all_lesions_gone() -> None:
    labels, lesions = masks(GEOMETRY)
    base = study_result(labels, lesions)
    nothing = volume(labels.array * 0, GEOMETRY)
    encoded = encode(replace(base, lesions=base.lesions[2:], response=Response.COMPLETE), nothing, nothing)
    assert encoded.segmentation is None
    assert [g.volume_ml for g in read_report(encoded.report)] == [0.0]


def test_lesion_map_and_result_must_name_the_same_lesions() -> None:
    labels, lesions = masks(GEOMETRY)
    result = study_result(labels, lesions)
    with pytest.raises(EncodingError, match="same analysis"):
        encode(replace(result, lesions=result.lesions[1:]), labels, lesions)


def test_another_study_is_refused() -> None:
    labels, lesions = masks(GEOMETRY)
    result = replace(study_result(labels, lesions), study_instance_uid="1.2.3")
    with pytest.raises(EncodingError, match="study"):
        encode(result, labels, lesions)


def test_a_missing_reference_series_is_refused() -> None:
    labels, lesions = masks(GEOMETRY)
    with pytest.raises(EncodingError, match="no images"):
        encode_study(study_result(labels, lesions), labels, lesions, {Contrast.FLAIR: SOURCE}, Contrast.T1C, CREATED)


def test_tracking_uids_stay_with_the_lesion_over_time() -> None:
    uids: Sequence[str] = [tracking_uid("2.25.7", s) for s in LESION_STRUCTURES]
    assert len(set(uids)) == 5
    assert uids[0] == "2.25.7"
    assert uids == [tracking_uid("2.25.7", s) for s in LESION_STRUCTURES]
    assert set(uids).isdisjoint(tracking_uid("2.25.8", s) for s in LESION_STRUCTURES)

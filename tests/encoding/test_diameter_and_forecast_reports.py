"""Callipers that lie where the lesion was measured, and forecasts that nobody can take for a measurement."""

from __future__ import annotations

from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from encoding.source_series import (
    CREATED,
    GEOMETRIES,
    Geometry,
    SourceSeries,
    classic,
    enhanced,
    masks,
    study_result,
)
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, EncodingError, encode_study, read_report
from inference.encoding.segment_plan import Structure, tracking_uid
from longitudinal.types import Contrast, Diameter, StudyResult


def lines(ds: Dataset) -> list[tuple[Dataset, Dataset]]:
    """(NUM, SCOORD) of every line of a diameter report."""
    (container,) = [i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    return [
        (number, child)
        for group in container.ContentSequence
        for number in group.ContentSequence
        if number.ValueType == "NUM"
        for child in number.get("ContentSequence", [])
        if child.ValueType == "SCOORD"
    ]


@pytest.mark.parametrize(("name", "kind"), [*((name, "classic") for name in GEOMETRIES), ("oblique", "enhanced")])
def test_lines_return_to_their_ends_in_space(name: str, kind: str) -> None:
    geometry = GEOMETRIES[name]
    labels, lesions = masks(geometry)
    result = study_result(labels, lesions)
    recipe = SourceSeries(geometry)
    source = classic(recipe) if kind == "classic" else [enhanced(recipe)]
    encoded = encode_study(result, labels, lesions, {Contrast.T1C: source}, Contrast.T1C, CREATED)
    assert encoded.diameters is not None
    by_uid = {ds.SOPInstanceUID: ds for ds in source}
    found = lines(encoded.diameters)
    expected = [
        d
        for lesion in result.lesions
        if lesion.measurement
        for d in (lesion.measurement.longest, lesion.measurement.perpendicular)
    ]
    assert len(found) == len(expected) == 4
    for (number, scoord), diameter in zip(found, expected, strict=True):
        assert diameter is not None
        reference = scoord.ContentSequence[0].ReferencedSOPSequence[0]
        ends = in_space(by_uid[reference.ReferencedSOPInstanceUID], reference, scoord)
        assert np.allclose(ends, [diameter.start, diameter.end], atol=1e-3)
        value = float(number.MeasuredValueSequence[0].NumericValue)
        assert value == pytest.approx(diameter.length_mm)
        assert value == pytest.approx(float(np.linalg.norm(ends[1] - ends[0])), rel=1e-4)


def in_space(image: Dataset, reference: Dataset, scoord: Dataset) -> np.ndarray:
    """The ends of a line in LPS, by highdicom's own transformer."""
    number = reference.get("ReferencedFrameNumber")
    transformer = hd.spatial.ImageToReferenceTransformer.for_image(
        image, frame_number=None if number is None else int(number)
    )
    return transformer(np.array(scoord.GraphicData, float).reshape(2, 2))


def test_the_report_is_one_that_viewers_draw(encoded: EncodedStudy) -> None:
    ds = encoded.diameters
    assert ds is not None
    assert ds.ConceptNameCodeSequence[0].CodeValue == "126000"
    groups = read_report(ds)
    assert {g.tracking_id for g in groups} == {"Cornerstone3DTools@^0.1.0:Bidirectional"}
    assert [g.tracking_uid for g in groups] == [tracking_uid(u, Structure.CORE) for u in ("2.25.1001", "2.25.1002")]
    for group in groups:
        assert (group.template, group.segment) == ("1501", None)
        long, short, product = group.numbers
        assert (long.name.meaning, long.unit) == ("Long Axis", "mm")
        assert (short.name.meaning, short.unit) == ("Short Axis", "mm")
        assert long.value is not None and short.value is not None
        assert (product.value, product.unit) == (pytest.approx(long.value * short.value), "mm2")
    assert all(child.GraphicType == "POLYLINE" for _, child in lines(ds))


def test_lesions_without_diameters_give_no_report(oblique_result: StudyResult) -> None:
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    bare = tuple(
        replace(
            lesion, measurement=lesion.measurement and replace(lesion.measurement, longest=None, perpendicular=None)
        )
        for lesion in oblique_result.lesions
    )
    encoded = encode_study(
        replace(oblique_result, lesions=bare),
        labels,
        lesions,
        {Contrast.T1C: classic(SourceSeries(geometry))},
        Contrast.T1C,
        CREATED,
    )
    assert encoded.diameters is None
    assert len(encoded.objects) == 3


@pytest.mark.parametrize("offset", [(0.0, 0.0, 2.7), (500.0, 0.0, 0.0)])
def test_diameters_off_the_slices_are_refused(offset: tuple[float, float, float]) -> None:
    geometry: Geometry = GEOMETRIES["axial"]
    labels, lesions = masks(geometry)
    result = study_result(labels, lesions)
    measured = result.lesions[0].measurement
    assert measured is not None and measured.longest is not None
    start, end = (tuple(np.add(p, offset)) for p in (measured.longest.start, measured.longest.end))
    moved = replace(measured, longest=Diameter(start, end, measured.longest.length_mm))
    broken = replace(result, lesions=(replace(result.lesions[0], measurement=moved), *result.lesions[1:]))
    with pytest.raises(EncodingError, match="no slice"):
        encode_study(broken, labels, lesions, {Contrast.T1C: classic(SourceSeries(geometry))}, Contrast.T1C, CREATED)


def test_forecasts_are_kept_apart_and_marked(encoded: EncodedStudy) -> None:
    ds = encoded.forecast
    assert ds is not None
    others = {o.SeriesInstanceUID for o in encoded.objects} - {ds.SeriesInstanceUID}
    assert len(others) == 3
    assert "FORECAST" in ds.SeriesDescription
    assert ds.SeriesDescriptionCodeSequence[0].CodeValue == "TP053"
    groups = read_report(ds)
    assert all(g.is_forecast for g in groups)
    assert not any(g.is_forecast for o in (encoded.report, encoded.diameters) for g in read_report(o))
    assert all("FORECAST" in g.tracking_id for g in groups)
    measured = {g.tracking_uid for g in read_report(encoded.report)}
    assert measured.isdisjoint(g.tracking_uid for g in groups)


def test_forecasts_carry_horizon_interval_coverage_model_and_origin(encoded: EncodedStudy) -> None:
    assert encoded.forecast is not None
    groups = read_report(encoded.forecast)
    (container,) = [i for i in encoded.forecast.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    expected = [(90, 1.6, 0.8, 0.5), (180, 2.0, 2.0, 1.1)]
    for group, item, (days, median, upper, lower) in zip(groups, container.ContentSequence, expected, strict=True):
        (number,) = group.numbers
        assert number.derivation is not None and number.derivation.value == "414135002"
        assert (number.value, number.unit) == (median, "cm3")
        assert number.uncertainty == (
            ("371886008", pytest.approx(upper), "cm3"),
            ("371885007", pytest.approx(lower), "cm3"),
        )
        by_name = {i.ConceptNameCodeSequence[0].CodeValue: i for i in item.ContentSequence}
        assert float(by_name["128740"].MeasuredValueSequence[0].NumericValue) == days
        assert by_name["128740"].ContentSequence[0].ConceptCodeSequence[0].CodeValue == "TP021"
        assert by_name["C2348792"].TextValue == f"Forecast +{days} d"
        children = [(c.ConceptNameCodeSequence[0].CodeValue, c) for c in by_name["TP101"].ContentSequence]
        inferred = {
            code: float(c.MeasuredValueSequence[0].NumericValue)
            for code, c in children
            if c.RelationshipType == "INFERRED FROM"
        }
        assert inferred == {"TP020": 90.0, "TP106": 1.25}
        said = [c.TextValue for code, c in children if code == "121050"]
        assert f"at +{days} days" in said[0] and "90 % interval" in said[0] and "not measured" in said[0]
        stated = {(code, str(c.get("TextValue"))) for code, c in children}
        assert ("111001", "test forecaster") in stated and ("111002", "calibration cal-7") in stated
        assert ("111002", "weights sha256 " + "cd" * 32) in stated


@pytest.mark.parametrize("reason", ["no forecast", "abstained"])
def test_no_forecast_gives_no_report(reason: str, oblique_result: StudyResult) -> None:
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    forecast = oblique_result.forecast
    assert forecast is not None
    without = None if reason == "no forecast" else replace(forecast, points=(), abstained="one time point only")
    encoded = encode_study(
        replace(oblique_result, forecast=without),
        labels,
        lesions,
        {Contrast.T1C: classic(SourceSeries(geometry))},
        Contrast.T1C,
        CREATED,
    )
    assert encoded.forecast is None

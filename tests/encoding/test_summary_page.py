"""The summary page: drawn in every language, legible without colour, valid as image and as PDF, recognised as ours."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from encoding.source_series import CREATED, GEOMETRIES, SourceSeries, classic, masks, study_result
from highdicom import Volume
from peers.validators import complaints
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.encoding import is_own_object
from inference.encoding.report_document import DocumentContext
from inference.encoding.summary_object import encode_summary_image, encode_summary_pdf
from inference.summary import fonts
from inference.summary.content import CROP_MM, SummaryPage, chosen_points, key_slice
from inference.summary.drawing import draw_image, draw_pdf
from inference.summary.words import WORDS, Language
from longitudinal.record import ObservedTimePoint, RecordedTimePoint, build_record
from longitudinal.types import Region, Response, StudyResult


def record_of(result: StudyResult, count: int) -> tuple[RecordedTimePoint, ...]:
    found = {lesion.tracking_uid: lesion.measurement for lesion in result.lesions}
    day = result.timepoint.acquired
    observed = [ObservedTimePoint(f"2.25.{n}", day.replace(year=day.year + n), found) for n in range(1 - count, 1)]
    return build_record(observed, result.target).time_points


@pytest.fixture(scope="module")
def page() -> SummaryPage:
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    result = replace(study_result(labels, lesions), preliminary=True)
    pixels = np.random.default_rng(3).uniform(200, 1000, labels.shape).astype(np.float32)
    image = Volume(pixels, labels.affine, "PATIENT")
    points = record_of(result, 3)
    slices = [
        key_slice(p.context.acquired, p.total_ml, image, labels, lesions, result.target) for p in chosen_points(points)
    ]
    return SummaryPage(result, points, slices, "Timepoint 0")


@pytest.fixture(scope="module")
def context(page: SummaryPage) -> DocumentContext:
    return DocumentContext(page.result, classic(SourceSeries(GEOMETRIES["oblique"])), "digest", CREATED)


@pytest.mark.parametrize("language", Language)
def test_the_page_can_be_set_in_every_language(page: SummaryPage, language: Language) -> None:
    """A character that the font lacks is a warning of matplotlib, and warnings fail."""
    pixels = draw_image(page, language)
    assert pixels.shape == (1024, 1280, 3)
    assert pixels.dtype == np.uint8
    assert fonts.language_to_set(language) is language


def test_the_languages_differ_and_say_everything(page: SummaryPage) -> None:
    drawn = [draw_image(page, language).tobytes() for language in Language]
    assert len(set(drawn)) == len(Language)
    for words in WORDS.values():
        assert set(words.regions) == set(Region)
        assert set(words.responses) == set(Response)
        assert all(getattr(words, field.name) for field in fields(words))
    assert WORDS[Language.GERMAN].number(-12.34) == "−12,3"


def test_without_the_font_the_page_is_in_english_and_says_so(
    page: SummaryPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "JAPANESE_PACKAGE", "no_such_font_package")
    assert fonts.language_to_set(Language.JAPANESE) is Language.ENGLISH
    drawn = draw_image(page, Language.JAPANESE)
    assert drawn.tobytes() != draw_image(page, Language.ENGLISH).tobytes(), "the fall-back is told"


def test_the_verdict_is_legible_without_colour(page: SummaryPage) -> None:
    """The banner is white on black, and both contours stay far brighter than the seam beside them in grey."""
    drawn = draw_image(page, Language.ENGLISH)
    banner = drawn[20:80, 860:1270].mean(axis=2)
    assert banner.max() == 255 and np.median(banner) == 0
    for colour in ("#9fdcff", "#ffc04d", "#ffd9a0"):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert 0.299 * red + 0.587 * green + 0.114 * blue > 180


def test_the_key_slice_is_the_one_with_most_target(page: SummaryPage) -> None:
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    target = (lesions.array > 0) & np.isin(labels.array, page.result.target.labels)
    shown = page.slices[-1]
    assert shown.target is not None and shown.image is not None
    assert shown.target.sum() == target.sum(axis=(1, 2)).max()
    assert max(side * mm for side, mm in zip(shown.image.shape, shown.spacing_mm, strict=True)) <= CROP_MM + 2


def test_the_shown_time_points_are_the_first_the_nadir_and_the_last(page: SummaryPage) -> None:
    points = record_of(page.result, 9)
    chosen = chosen_points(points)
    assert len(chosen) == 4
    assert chosen[0] is points[0] and chosen[-1] is points[-1]
    assert [p.context.order for p in chosen] == sorted(p.context.order for p in chosen)


def test_image_and_pdf_are_valid_and_ours(page: SummaryPage, context: DocumentContext, tmp_path: Path) -> None:
    pixels, pdf = draw_image(page, Language.ENGLISH), draw_pdf(page, Language.JAPANESE)
    made = {"image": encode_summary_image(context, pixels), "pdf": encode_summary_pdf(context, pdf)}
    for name, ds in made.items():
        file = tmp_path / f"{name}.dcm"
        ds.save_as(file, enforce_file_format=True)
        assert complaints(file) == []
        read = dcmread(file)
        assert is_own_object(read)
        assert (read.PatientName, read.PatientID, read.IssuerOfPatientID) == ("Müller^Änne", "0042", "Hospital A")
        assert "NOT VERIFIED" in read.SeriesDescription
        assert read.BurnedInAnnotation == "YES"
    assert np.array_equal(dcmread(tmp_path / "image.dcm").pixel_array, pixels)
    assert bytes(dcmread(tmp_path / "pdf.dcm").EncapsulatedDocument).startswith(b"%PDF")
    uids = {(str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)) for ds in made.values()}
    assert len(uids) == 2 and len({series for series, _ in uids}) == 2, "an image and a document share no series"


def test_the_same_page_is_the_same_object(page: SummaryPage, context: DocumentContext) -> None:
    def written(ds: Dataset) -> bytes:
        out = io.BytesIO()
        ds.save_as(out, enforce_file_format=True)
        return out.getvalue()

    assert written(encode_summary_image(context, draw_image(page, Language.FRENCH))) == written(
        encode_summary_image(context, draw_image(page, Language.FRENCH))
    )
    assert draw_pdf(page, Language.FRENCH) == draw_pdf(page, Language.FRENCH)


def test_a_time_point_without_images_has_its_place(page: SummaryPage) -> None:
    bare = replace(page, slices=[replace(page.slices[0], image=None, whole=None, target=None), *page.slices[1:]])
    assert draw_image(bare, Language.ENGLISH).tobytes() != draw_image(page, Language.ENGLISH).tobytes()

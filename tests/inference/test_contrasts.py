"""Which contrast a series is, from headers as scanners and protocols write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from imaging.mr_series import classic, enhanced, grid
from pydicom import dcmread

from inference.contrasts import AmbiguousSeries, SeriesHeader, classify, header_of, select_series
from inference.series_header import normalise_words
from longitudinal.types import Contrast

T1C, T1, T2, FLAIR = Contrast.T1C, Contrast.T1, Contrast.T2, Contrast.FLAIR
SE, GR, IR = ("SE",), ("GR",), ("SE", "IR")


def header(name: str = "", **facts: object) -> SeriesHeader:
    return SeriesHeader("1.2", words=normalise_words([name]), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("AX T1 POST GAD", T1C), ("T1W_3D_TFE +C", T1C), ("t1_mprage_sag_p2_iso_KM", T1C), ("FSPGR 3D C+", T1C),
        ("T1ce", T1C), ("t1c", T1C), ("T1W+C", T1C), ("T1 GD", T1C), ("3D T1 postcontrast", T1C), ("T1 CONTRAST", T1C),
        ("eT1W_SE", T1), ("3DT1", T1), ("AX T1 PRE", T1), ("AX T1 NON CONTRAST", T1), ("T1 w/o", T1), ("t1n", T1),
        ("AX T1 FLAIR", T1), ("T1 posterior fossa", T1), ("T1 post op", T1), ("T1 BRAIN W WO", None), ("BRAVO", T1),
        ("t2_tse_tra", T2), ("t2w", T2), ("T2W_TSE_DRIVE", T2), ("t2_tse_tra_restore", T2),
        ("Ax T2 FLAIR", FLAIR), ("T2FLAIR", FLAIR), ("t2f flair", FLAIR), ("t2_tirm_tra_dark-fluid", FLAIR),
        ("t2_space_dark-fluid_sag_p2_iso", FLAIR), ("3D FLAIR post gad", FLAIR),
        ("post1", None), ("T1 T2 dual", None), ("", None), ("3-plane loc", None), ("SURVEY", None),
        ("ep2d_diff_3scan_trace_p2", None), ("ADC (10^-6 mm/s)", None), ("SWI_Images", None), ("Ax T2* GRE", None),
        ("T1 mprage sub", None), ("T1 map", None), ("TOF_3D_multi-slab", None), ("T1 3D MIP", None), ("DSC perf", None),
        ("T2 STIR cor", None), ("PD T2 dual", None), ("ASSET calibration", None), ("3D CISS t2", None),
    ],
)  # fmt: skip
def test_names_of_real_protocols(name: str, contrast: Contrast | None) -> None:
    assert classify(header(name)).contrast is contrast


@pytest.mark.parametrize(
    ("contrast", "facts"),
    [
        (T1, {"echo_time_ms": 11.0, "repetition_time_ms": 600.0, "scanning_sequence": SE}),
        (T1, {"echo_time_ms": 3.0, "repetition_time_ms": 2000.0, "inversion_time_ms": 900.0, "scanning_sequence": GR}),
        (T1, {"echo_time_ms": 3.0, "repetition_time_ms": 8.0, "inversion_time_ms": 450.0, "scanning_sequence": GR}),
        (T2, {"echo_time_ms": 95.0, "repetition_time_ms": 4500.0, "scanning_sequence": SE}),
        (FLAIR, {"echo_time_ms": 120.0, "repetition_time_ms": 9000.0, "inversion_time_ms": 2500.0}),
        (FLAIR, {"echo_time_ms": 390.0, "repetition_time_ms": 5000.0, "inversion_time_ms": 1800.0}),
        (FLAIR, {"echo_time_ms": 120.0, "repetition_time_ms": 9000.0, "scanning_sequence": IR}),
        (None, {"echo_time_ms": 20.0, "repetition_time_ms": 600.0, "scanning_sequence": GR}),
        (None, {"echo_time_ms": 15.0, "repetition_time_ms": 3000.0, "scanning_sequence": SE}),
        (None, {"echo_time_ms": 70.0, "repetition_time_ms": 4000.0, "inversion_time_ms": 160.0,
                "scanning_sequence": IR}),
    ],
)  # fmt: skip
def test_timing_alone_tells_the_contrast(contrast: Contrast | None, facts: dict[str, object]) -> None:
    assert classify(header("brain", **facts)).contrast is contrast


def test_a_stated_contrast_agent_makes_a_t1_a_t1c_but_leaves_the_others() -> None:
    assert classify(header("AX T1", contrast_agent="CONTRAST")).contrast is T1C
    assert classify(header("AX T1", contrast_agent="NONE")).contrast is T1
    assert classify(header("AX FLAIR", contrast_agent="GADAVIST 7 ML")).contrast is FLAIR
    assert classify(header("AX T2", contrast_agent="CONTRAST")).contrast is T2


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "AX T1", "echo_time_ms": 100.0, "repetition_time_ms": 4000.0, "scanning_sequence": SE},
        {"name": "AX T1 PRE", "contrast_agent": "CONTRAST"},
        {"name": "AX T1 without contrast post gad"},
    ],
)
def test_contradicting_evidence_is_refused_not_guessed(facts: dict[str, object]) -> None:
    assert classify(header(**facts)).contrast is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "facts",
    [
        {"modality": "CT"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.66"},
        {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")},
        {"image_type": ("DERIVED", "SECONDARY", "ADC")},
        {"image_type": ("DERIVED", "SECONDARY", "PROJECTION IMAGE", "CSA MIP")},
        {"image_type": ("DERIVED", "SECONDARY")},
        {"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")},
        {"scanning_sequence": ("EP", "SE")},
        {"diffusion_weighted": True},
        {"angiography": True},
        {"acquisition_contrast": "DIFFUSION"},
    ],
)
def test_what_is_no_anatomical_image_is_refused_whatever_its_name(facts: dict[str, object]) -> None:
    refused = classify(header("AX T1 POST", **facts))
    assert refused.contrast is None
    assert refused.reason


def test_selection_prefers_original_then_volumetric_then_thin() -> None:
    def t1c(uid: str, **facts: object) -> SeriesHeader:
        return SeriesHeader(uid, words="t1 post", **facts)  # type: ignore[arg-type]

    thick = t1c("1", slice_thickness_mm=5.0)
    three_d = t1c("2", slice_thickness_mm=1.0, acquisition_type="3D")
    reformat = t1c("3", slice_thickness_mm=0.9, acquisition_type="3D", image_type=("DERIVED", "SECONDARY", "MPR"))
    flair = SeriesHeader("4", words="flair")
    assert select_series([thick, reformat, three_d, flair]) == {T1C: "2", FLAIR: "4"}
    assert select_series([thick, reformat]) == {T1C: "1"}
    assert select_series([reformat]) == {T1C: "3"}
    assert select_series([]) == {}


def test_of_repeated_series_the_later_is_taken_and_without_times_a_person_is_asked() -> None:
    first = SeriesHeader("1", words="t1 post", series_number="5", acquired="20260101101500")
    again = SeriesHeader("2", words="t1 post", series_number="9", acquired="20260101103000")
    assert select_series([again, first]) == {T1C: "2"}
    undated = [SeriesHeader(u, words="t1 post", series_number=n) for u, n in (("1", "5"), ("2", "9"))]
    with pytest.raises(AmbiguousSeries, match="5, 9"):
        select_series(undated)


def test_header_of_classic_and_enhanced_images_carries_the_same_facts() -> None:
    volume = grid((2, 4, 4), (5.0, 0.9, 0.9))
    facts = {"SeriesDescription": "Ax T1 POST", "ContrastBolusAgent": "CONTRAST", "MRAcquisitionType": "3D"}
    image = classic(volume, EchoTime="3.2", RepetitionTime="8", ScanningSequence=["GR"], **facts)[0]
    single, multi = header_of(image), header_of(enhanced(volume, EchoPulseSequence="GRADIENT", **facts))
    assert (single.echo_time_ms, single.repetition_time_ms, single.slice_thickness_mm) == (3.2, 8.0, 5.0)
    for fact in ("words", "contrast_agent", "scanning_sequence", "acquisition_type", "slice_thickness_mm",
                 "pixel_spacing_mm"):  # fmt: skip
        assert getattr(single, fact) == getattr(multi, fact), fact
    assert classify(single).contrast is classify(multi).contrast is T1C


def test_malformed_numbers_count_as_not_stated() -> None:
    image = classic(grid((2, 4, 4), (5.0, 0.9, 0.9)), SeriesDescription="T2")[0]
    image.EchoTime, image.PixelSpacing = None, None
    assert header_of(image).echo_time_ms is None
    assert classify(header_of(image)).contrast is T2


def test_real_enhanced_images(real_data: Path) -> None:
    functional = header_of(dcmread(real_data / "dicom/enhanced/6_1.dcm", stop_before_pixels=True))
    assert functional.scanning_sequence == ("GR", "EP")
    assert functional.echo_time_ms == 30.0
    raw = header_of(dcmread(real_data / "dicom/enhanced/1301_WIP_ADNI_Sag3D_MPRAGE_Raw.dcm"))
    assert classify(functional).contrast is None
    assert classify(raw).reason == "no MR image (another SOP class)"


def test_the_gateway_can_classify_without_loading_a_framework() -> None:
    code = (
        "import sys, inference.contrasts, inference.slice_stack; "
        "print([m for m in ('torch', 'monai', 'SimpleITK') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

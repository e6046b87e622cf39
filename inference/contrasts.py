"""Which of the four contrasts a series is, told from its header alone.

The words of a protocol and the timing of a sequence are two witnesses; where both speak they must agree, and where
they do not the series is left out with the reason. Everything here is a pure function over `SeriesHeader`, so that
the rule that waits for a complete study and the analysis choose alike. Attributes: PS3.3 C.7.6.1 (General Image),
C.8.3.1 (MR Image), C.8.13 (Enhanced MR Image), C.7.6.4 (Contrast/Bolus).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.contracts import InferenceError
from inference.series_header import SeriesHeader, header_of
from longitudinal.types import Contrast

__all__ = ["AmbiguousSeries", "Classification", "SeriesHeader", "classify", "header_of", "select_series"]


class AmbiguousSeries(InferenceError):
    """Two series of one contrast are equally good and nothing tells which is meant: a person must choose."""


@dataclass(frozen=True, slots=True)
class Classification:
    """The contrast of a series, or None where it cannot be used; `reason` is a sentence fragment for people."""

    contrast: Contrast | None
    reason: str


_NOT_ANATOMY = (
    (r"loc|localizer|localiser|scout|survey|smartbrain|(3|three) ?(plane|pl)( loc)?|aahscout", "a localizer"),
    (r"(ep2d ?)?(dwi|dti|diff\w*)|adc|e?adc|trace\w*|tracew|b ?(0|500|1000|2000)|fa map|tensor|isodwi", "diffusion"),
    (
        r"swi|swan|swip|venbold|qsm|t2 ?\*\w*|t2 ?star\w*|hemo|heme|susc\w*|medic|mip swi|fieldmap|field map|b0 ns",
        "T2*",
    ),
    (r"mra|mrv|tof|angio\w*|pca|venogram|venc|phase contrast|inhance|mip|minip|mnip|projection", "angiography or MIP"),
    (r"perf\w*|pwi|dsc|dce|asl|pcasl|cbf|cbv|rcbv|mtt|ttp|tmax|ktrans", "perfusion"),
    (r"bold|fmri|rest ?\d*|resting\w*|task|mosaic", "functional imaging"),
    (r"mrs|spectro\w*|csi|svs|press", "spectroscopy"),
    (r"sub|subtraction|subtracted", "a subtraction"),
    (r"calib\w*|asset cal\w*|sense ref\w*|ref scan|reference scan|b1 ?map\w*|shim\w*|prescan", "a calibration scan"),
    (r"\w* ?map|maps|t1rho|mtr|mt on|mt off|synthetic|magic|screen ?save|report|phoenix\w*", "a computed map or page"),
    (r"stir|ciss|fiesta|bffe|truefisp|trufi|pd|pdw|proton\w*|dir|psir", "a contrast no model is trained on"),
)
_T1 = r"(?:(?<![a-z])|(?<=\dd)|(?<=\bd)|(?<=\be))t1(?![\d*])|mprage|mp rage|fspgr|spgr|bravo|\bvibe\b|\btfe\b"
_T2 = r"(?:(?<![a-z])|(?<=\dd)|(?<=\bd)|(?<=\be))t2(?![\d*])"
_FLAIR = r"flair|tirm|dark ?fluid|da fl\b|darkfl|\bfla\b"
_WITHOUT = (
    r"\b(pre(?! ?op)|precontrast|nativ|native|non ?contrast|noncontrast|unenhanced|without|w o|wo|no gad|no contrast)\b"
)
_AFTER_CARE = r"(?! ?op| ?rt| ?surg| ?treat| ?chemo| ?rad)"  # "post op" tells the date, not the contrast
_WITH = (
    rf"\b(post{_AFTER_CARE}|postcontrast|postgad\w*|gad\w*|gd|contrast|enhanced|km|ce|kontrast\w*|with c)\b"
    r"|\+ ?(c|gd|gad\w*|km|contrast)\b|\bc ?\+|t1w?[ _]?(c|ce|gd|km|gad)\b|[a-z]\+c"
)
_WITH_AND_WITHOUT = r"\bw(ith)? (and )?(w ?o|without)\b"  # names the examination, not the series
_NO_AGENT = {"", "NO", "NONE", "N", "N/A", "NA", "0", "NO CONTRAST", "NONE GIVEN", "WITHOUT"}
_ENHANCED_CONTRASTS = {"T1": Contrast.T1, "T2": Contrast.T2, "FLUID_ATTENUATED": Contrast.FLAIR}
_ENHANCED_UNUSABLE = {
    "DIFFUSION", "PERFUSION", "T2_STAR", "PROTON_DENSITY", "FLOW_ENCODED", "TAGGING", "TEMPERATURE", "STIR",
    "SUSCEPTIBILITY", "TOF", "VELOCITY", "SPECTROSCOPY",
}  # fmt: skip
_IMAGE_TYPES_UNUSABLE = {
    "LOCALIZER", "ADC", "FA", "TRACEW", "DIFFUSION", "PERFUSION", "ASL", "CBF", "CBV", "MTT", "TTP", "RELCBF",
    "RELCBV", "SWI", "PROJECTION IMAGE", "PROJECTION", "MIP", "MNIP", "MAX_IP", "MIN_IP", "SUBTRACT", "SUBTRACTION",
    "SUB", "P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY", "ANGIO", "ANGIO_TIME", "TENSOR",
    "FMRI", "CSA REPORT", "CSAPARALLEL", "SCREEN SAVE", "FIELD_MAP", "B0", "T1 MAP", "T2 MAP", "T2_STAR", "OTHER MAP",
    "MPR_MIP", "COLLAGE", "ADDITION", "DIVISION", "MULTIPLICATION",
}  # fmt: skip
_REFORMATS = {"MPR", "REFORMATTED", "RESAMPLED", "AVERAGE"}
_MR_IMAGE_CLASSES = {"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"}
LONG_ECHO_MS = 55.0
SHORT_ECHO_MS = 35.0
GRADIENT_T2_STAR_ECHO_MS = 12.0
FLAIR_INVERSION_MS = 1500.0
FLAIR_REPETITION_MS = 4000.0
T1_SPIN_ECHO_REPETITION_MS = 1300.0
T1_PREPARED_REPETITION_MS = 3500.0


def classify(header: SeriesHeader) -> Classification:
    """Tell the contrast of a series, or why it cannot be used.

    Args:
        header: the facts of one image of the series; `header_of` reads them from a dataset.
    """
    unusable = _refusal(header)
    if unusable:
        return Classification(None, unusable)
    timing = _by_timing(header)
    if timing and timing.contrast is None:
        return timing
    worded, timed = _by_words(header), timing.contrast if timing else None
    if worded and timed and worded is not timed:
        return Classification(None, f"its name says {worded.value} but its timing says {timed.value}")
    contrast = worded or timed
    if contrast is None:
        return Classification(None, "neither its name nor its timing tells a contrast")
    evidence = "name and timing" if worded and timed else "name" if worded else "timing"
    if contrast is Contrast.T1:
        return _with_or_without_contrast(header, evidence)
    return Classification(contrast, f"{contrast.value} by {evidence}")


def select_series(headers: Iterable[SeriesHeader]) -> dict[Contrast, str]:
    """Choose at most one series for each contrast; original before derived, then 3-D, thin, fine, late.

    Args:
        headers: one header for each series of a study.

    Returns:
        Series Instance UID by contrast; a contrast without a usable series is absent.

    Raises:
        AmbiguousSeries: when the two best series of a contrast differ in nothing that could decide.
    """
    candidates: dict[Contrast, list[SeriesHeader]] = {}
    for header in headers:
        contrast = classify(header).contrast
        if contrast:
            candidates.setdefault(contrast, []).append(header)
    return {
        contrast: _best(contrast, candidates[contrast]).series_uid for contrast in Contrast if contrast in candidates
    }


def _best(contrast: Contrast, headers: Sequence[SeriesHeader]) -> SeriesHeader:
    ordered = sorted(headers, key=lambda h: (_preference(h), h.series_uid))
    best = [h for h in ordered if _preference(h) == _preference(ordered[0])]
    if len({h.series_uid for h in best}) == 1:
        return best[0]
    # A repeat of the same protocol follows a spoilt first try, so the later one is meant - if a time tells which.
    times = sorted((h.acquired for h in best), reverse=True)
    if times[0] and times[0] != times[1]:
        return next(h for h in best if h.acquired == times[0])
    raise AmbiguousSeries(
        f"{len(best)} series are equally good as {contrast.value} (series numbers "
        f"{', '.join(h.series_number or '?' for h in best)}): state which one to analyse"
    )


def _preference(header: SeriesHeader) -> tuple[bool, bool, float, float]:
    thickness = header.slice_thickness_mm or 99.0
    volumetric = header.acquisition_type == "3D" or thickness <= 2.0
    return (
        "DERIVED" in header.image_type,
        not volumetric,
        round(thickness, 1),
        round(header.pixel_spacing_mm or 9.0, 2),
    )


def _refusal(header: SeriesHeader) -> str | None:
    if header.modality != "MR":
        return f"modality {header.modality or 'not stated'}, not MR"
    if header.sop_class_uid not in _MR_IMAGE_CLASSES:
        return "no MR image (another SOP class)"
    kinds = _IMAGE_TYPES_UNUSABLE.intersection(header.image_type)
    if kinds:
        return f"Image Type says {sorted(kinds)[0]}"
    if header.image_type[:2] == ("DERIVED", "SECONDARY") and not _REFORMATS.intersection(header.image_type):
        return "computed from other images (DERIVED\\SECONDARY)"
    if header.acquisition_contrast in _ENHANCED_UNUSABLE:
        return f"Acquisition Contrast says {header.acquisition_contrast}"
    if header.diffusion_weighted:
        return "diffusion weighted"
    if "EP" in header.scanning_sequence:
        return "echo planar (diffusion, perfusion or functional imaging)"
    if header.angiography:
        return "angiography"
    return _refusal_by_words(header)


def _refusal_by_words(header: SeriesHeader) -> str | None:
    padded = header.words
    for pattern, what in _NOT_ANATOMY:
        found = re.search(rf"(?:^| )(?:{pattern})(?= |$)", padded)
        if found:
            return f"{what} by its name"
    return None


def _by_words(header: SeriesHeader) -> Contrast | None:
    if header.acquisition_contrast in _ENHANCED_CONTRASTS:
        return _ENHANCED_CONTRASTS[header.acquisition_contrast]
    t1, t2 = re.search(_T1, header.words), re.search(_T2, header.words)
    if re.search(_FLAIR, header.words):
        # "T1 FLAIR" is a T1 with inversion, "T2 FLAIR" and plain "FLAIR" are fluid-attenuated T2.
        return Contrast.T1 if t1 and not t2 else Contrast.FLAIR
    if t1 and t2:
        return None
    return Contrast.T1 if t1 else Contrast.T2 if t2 else None


def _by_timing(header: SeriesHeader) -> Classification | None:
    """What echo, repetition and inversion time make: a contrast, a refusal, or None where they do not tell."""
    echo, repetition = header.echo_time_ms, header.repetition_time_ms
    if not echo or not repetition:
        return None
    gradient_only = "GR" in header.scanning_sequence and "SE" not in header.scanning_sequence
    if gradient_only and echo >= GRADIENT_T2_STAR_ECHO_MS:
        return Classification(None, "T2* weighted by timing")
    if echo >= LONG_ECHO_MS:
        return _long_echo(header, repetition)
    if echo <= SHORT_ECHO_MS:
        return _short_echo(header, repetition)
    return None


def _long_echo(header: SeriesHeader, repetition: float) -> Classification | None:
    inversion = header.inversion_time_ms or 0.0
    if inversion >= FLAIR_INVERSION_MS or (not inversion and "IR" in header.scanning_sequence):
        return Classification(Contrast.FLAIR, "timing") if repetition >= FLAIR_REPETITION_MS else None
    if 80.0 <= inversion <= 400.0 and "IR" in header.scanning_sequence:
        return Classification(None, "STIR by timing")
    return Classification(Contrast.T2, "timing") if repetition >= T1_SPIN_ECHO_REPETITION_MS else None


def _short_echo(header: SeriesHeader, repetition: float) -> Classification | None:
    inversion = header.inversion_time_ms or 0.0
    prepared = bool(inversion) or "IR" in header.scanning_sequence or "MP" in header.sequence_variant
    if inversion >= FLAIR_INVERSION_MS:
        return None
    if repetition <= (T1_PREPARED_REPETITION_MS if prepared else T1_SPIN_ECHO_REPETITION_MS):
        return Classification(Contrast.T1, "timing")
    return None if prepared else Classification(None, "proton-density weighted by timing")


def _with_or_without_contrast(header: SeriesHeader, evidence: str) -> Classification:
    agent = header.contrast_agent.strip().upper() not in _NO_AGENT
    words = re.sub(_WITH_AND_WITHOUT, " ", header.words)
    without = re.search(_WITHOUT, words) is not None
    # "non contrast" must not count as "contrast".
    with_words = re.search(_WITH, re.sub(_WITHOUT, " ", words)) is not None
    if without and (agent or with_words):
        return Classification(None, "T1 whose header both states and denies a contrast agent")
    if agent or with_words:
        return Classification(Contrast.T1C, f"t1c by {evidence}, contrast agent {'stated' if agent else 'named'}")
    return Classification(Contrast.T1, f"t1n by {evidence}, no contrast agent stated")

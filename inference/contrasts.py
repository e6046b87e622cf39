"""Which of the four contrasts a series is, told from its header and its place in the study alone.

The words of a protocol and the timing of a sequence are two witnesses; where both speak they must agree, and where
they do not the series stays undecided, with what is left open. Everything here is a pure function over
`SeriesHeader`, so that the rule that waits for a complete study and the analysis choose alike. Attributes: PS3.3
C.7.6.1 (General Image), C.8.3.1 (MR Image), C.8.13 (Enhanced MR Image), C.7.6.4 (Contrast/Bolus).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference.contracts import InferenceError
from inference.series_header import SeriesHeader, header_of
from inference.series_traits import Dixon, Origin, Plane, dixon_component, origin_of, traits_of
from inference.series_words import AgentWord, agent_word, not_anatomy, weighting
from longitudinal.types import Contrast

__all__ = [
    "AmbiguousSeries", "Classification", "SeriesHeader", "classify", "classify_study", "header_of", "select_series",
]  # fmt: skip


class AmbiguousSeries(InferenceError):
    """Two series of one contrast are equally good and nothing tells which is meant: a person must choose."""


@dataclass(frozen=True, slots=True)
class Classification:
    """The contrast of a series, or None where it cannot be used or the header does not settle it; `reason` is a
    sentence fragment for people, `candidates` what the header leaves open (empty for what cannot be used)."""

    contrast: Contrast | None
    reason: str
    candidates: tuple[Contrast, ...] = ()

    @property
    def undecided(self) -> bool:
        """Whether pixels, or a person, could still make it one of the contrasts."""
        return self.contrast is None and bool(self.candidates)


EITHER_T1 = (Contrast.T1C, Contrast.T1)
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
_MR_IMAGE_CLASSES = {"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"}
LONG_ECHO_MS = 55.0
SHORT_ECHO_MS = 35.0
GRADIENT_T2_STAR_ECHO_MS = 12.0
FLAIR_INVERSION_MS = 1300.0
FLAIR_REPETITION_MS = 4000.0
T1_SPIN_ECHO_REPETITION_MS = 1300.0
T1_PREPARED_REPETITION_MS = 3500.0


def classify(header: SeriesHeader) -> Classification:
    """Tell the contrast of a series by itself, or why it cannot be told.

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
        left = (*_open(worded), *_open(timed))
        return Classification(None, f"its name says {worded.value} but its timing says {timed.value}", left)
    contrast = worded or timed
    if contrast is None:
        return Classification(None, "neither its name nor its timing tells a contrast", tuple(Contrast))
    evidence = "name and timing" if worded and timed else "name" if worded else "timing"
    if contrast is Contrast.T1:
        return _with_or_without_contrast(header, evidence)
    return Classification(contrast, f"{contrast.value} by {evidence}")


def classify_study(headers: Iterable[SeriesHeader]) -> dict[str, Classification]:
    """Tell the contrast of every series of a study, by Series Instance UID; the order of acquisition tells a T1 of
    which nothing is stated: once contrast agent was given, it stays.

    A T1 that was run again by the same protocol after an agent was given is one with contrast; any other T1 after it,
    and the second of two alike where no agent is stated anywhere, stays undecided.
    """
    known = list(headers)
    alone = {h.series_uid: classify(h) for h in known}
    given = _agent_given(known, alone)
    return {h.series_uid: _in_order(h, alone[h.series_uid], known, alone, given) for h in known}


def select_series(
    headers: Iterable[SeriesHeader], settled: Mapping[str, Contrast] | None = None
) -> dict[Contrast, str]:
    """Choose at most one series for each contrast; original before derived, then 3-D, thin, axial, fine, late.

    Args:
        headers: one header for each series of a study.
        settled: contrasts by Series Instance UID that something else than the headers has told (the pixels).

    Returns:
        Series Instance UID by contrast; a contrast without a usable series is absent.

    Raises:
        AmbiguousSeries: when the two best series of a contrast differ in nothing that could decide.
    """
    known = list(headers)
    told = {uid: found.contrast for uid, found in classify_study(known).items()} | dict(settled or {})
    candidates: dict[Contrast, list[SeriesHeader]] = {}
    for header in known:
        contrast = told[header.series_uid]
        if contrast:
            candidates.setdefault(contrast, []).append(header)
    return {
        contrast: _best(contrast, candidates[contrast]).series_uid for contrast in Contrast if contrast in candidates
    }


def _open(contrast: Contrast) -> tuple[Contrast, ...]:
    return EITHER_T1 if contrast is Contrast.T1 else (contrast,)


def _agent_given(headers: Sequence[SeriesHeader], alone: Mapping[str, Classification]) -> str:
    """When the first series that shows contrast agent was acquired; empty where none does or no time is stated."""
    shows = [
        h.acquired
        for h in headers
        if h.acquired and (alone[h.series_uid].contrast is Contrast.T1C or _is_bolus_perfusion(h))
    ]
    return min(shows, default="")


def _is_bolus_perfusion(header: SeriesHeader) -> bool:
    # spin labelling needs no agent, and what is computed from a perfusion series states the time of its making
    taken = origin_of(header) is Origin.ORIGINAL and "ASL" not in header.image_type and "asl" not in header.words
    return taken and _states_agent(header) and not_anatomy(header.words) == "perfusion"


def _in_order(
    header: SeriesHeader,
    found: Classification,
    study: Sequence[SeriesHeader],
    alone: Mapping[str, Classification],
    given: str,
) -> Classification:
    if found.contrast is not Contrast.T1 or not header.acquired or origin_of(header) is not Origin.ORIGINAL:
        return found
    earlier_alike = any(
        other.acquired and other.acquired < header.acquired and _same_protocol(other, header)
        for other in study
        if alone[other.series_uid].contrast is Contrast.T1
    )
    if given and header.acquired > given:
        if agent_word(header.words) is AgentWord.NOT_GIVEN:
            return Classification(None, "T1 named without contrast agent, acquired after one was given", EITHER_T1)
        if earlier_alike:
            return Classification(Contrast.T1C, "t1c: the same T1 was acquired before contrast agent was given")
        # only signs of the agent could settle it: that none are seen does not make it a T1 without
        why = "T1 of which no contrast agent is stated, acquired after one was given"
        return Classification(None, why, (Contrast.T1C,))
    if earlier_alike and not given and agent_word(header.words) is not AgentWord.NOT_GIVEN:
        return Classification(None, "T1 run twice alike and no contrast agent stated", EITHER_T1)
    return found


def _same_protocol(one: SeriesHeader, other: SeriesHeader) -> bool:
    """Whether two series were acquired alike: sequence, plane, times and slice thickness."""

    def signature(h: SeriesHeader) -> tuple[object, ...]:
        numbers = (h.echo_time_ms, h.repetition_time_ms, h.inversion_time_ms, h.slice_thickness_mm)
        rounded = tuple(None if n is None else round(n, 1) for n in numbers)
        return (h.scanning_sequence, h.acquisition_type, traits_of(h).plane, dixon_component(h), rounded)

    stated = one.echo_time_ms is not None and one.repetition_time_ms is not None
    return stated and signature(one) == signature(other)


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


_DIXON_RANK = {Dixon.NONE: 0, Dixon.IN_PHASE: 1, Dixon.WATER: 2}
_PLANE_RANK = {Plane.AXIAL: 0, Plane.UNKNOWN: 0, Plane.SAGITTAL: 1, Plane.CORONAL: 1}


def _preference(header: SeriesHeader) -> tuple[bool, int, bool, float, int, float]:
    traits = traits_of(header)
    return (
        traits.origin is not Origin.ORIGINAL or "DERIVED" in header.image_type,
        _DIXON_RANK.get(traits.dixon, 3),
        not traits.volumetric,
        round(header.slice_thickness_mm or 99.0, 1),
        _PLANE_RANK[traits.plane],
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
    if origin_of(header) is Origin.COMPUTED:
        return "computed from other images (DERIVED\\SECONDARY)"
    if header.acquisition_contrast in _ENHANCED_UNUSABLE:
        return f"Acquisition Contrast says {header.acquisition_contrast}"
    if header.diffusion_weighted:
        return "diffusion weighted"
    if "EP" in header.scanning_sequence:
        return "echo planar (diffusion, perfusion or functional imaging)"
    if header.angiography:
        return "angiography"
    component = dixon_component(header)
    if component in (Dixon.FAT, Dixon.OPPOSED):
        return f"the {component.value} image of a Dixon acquisition"
    named = not_anatomy(header.words)
    return f"{named} by its name" if named else None


def _by_words(header: SeriesHeader) -> Contrast | None:
    if header.acquisition_contrast in _ENHANCED_CONTRASTS:
        return _ENHANCED_CONTRASTS[header.acquisition_contrast]
    return weighting(header.words)


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
    if not prepared and "GR" in header.scanning_sequence and "SE" not in header.scanning_sequence:
        return None  # angiography, field maps and localizers are timed alike: only a name makes it a T1
    if repetition <= (T1_PREPARED_REPETITION_MS if prepared else T1_SPIN_ECHO_REPETITION_MS):
        return Classification(Contrast.T1, "timing")
    return None if prepared else Classification(None, "proton-density weighted by timing")


def _states_agent(header: SeriesHeader) -> bool:
    return header.contrast_agent.strip().upper() not in _NO_AGENT


def _with_or_without_contrast(header: SeriesHeader, evidence: str) -> Classification:
    agent, worded = _states_agent(header), agent_word(header.words)
    if worded is AgentWord.BOTH or (worded is AgentWord.NOT_GIVEN and agent):
        return Classification(None, "T1 whose header both states and denies a contrast agent", EITHER_T1)
    if agent or worded is AgentWord.GIVEN:
        return Classification(Contrast.T1C, f"t1c by {evidence}, contrast agent {'stated' if agent else 'named'}")
    if worded is AgentWord.EXAMINATION:
        return Classification(None, "T1 of an examination with and without contrast agent, not said which", EITHER_T1)
    if worded is AgentWord.UNCLEAR:
        return Classification(None, "T1 whose name holds an unclear sign of contrast agent", EITHER_T1)
    return Classification(Contrast.T1, f"t1n by {evidence}, no contrast agent stated")

"""The facts of a series that its contrast is told from, read from one classic or Enhanced MR image."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue


@dataclass(frozen=True, slots=True)
class SeriesHeader:
    """What one image of a series says about its acquisition; empty or None where it says nothing.

    `words` is the lower-case text of Series Description, Protocol Name and the names of the sequence (see
    `normalise_words`). Times are milliseconds, lengths millimetres. `acquired` is a date and time as DICOM writes
    them, comparable as text. `orientation` is Image Orientation (Patient): six cosines, LPS, or empty.
    """

    series_uid: str
    modality: str = "MR"
    sop_class_uid: str = "1.2.840.10008.5.1.4.1.1.4"
    words: str = ""
    series_number: str = ""
    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    acquisition_type: str = ""
    acquisition_contrast: str = ""
    contrast_agent: str = ""
    diffusion_weighted: bool = False
    angiography: bool = False
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    slice_thickness_mm: float | None = None
    pixel_spacing_mm: float | None = None
    acquired: str = ""
    orientation: tuple[float, ...] = ()


def header_of(dataset: Dataset) -> SeriesHeader:
    """Read the header of one image of a series; pixel data is not needed.

    Args:
        dataset: a classic or Enhanced MR image. Attributes that are absent, empty or malformed count as not stated.
    """
    groups = _functional_groups(dataset)
    return SeriesHeader(
        series_uid=str(dataset.get("SeriesInstanceUID", "")),
        modality=str(dataset.get("Modality", "")),
        sop_class_uid=str(dataset.get("SOPClassUID", "")),
        words=normalise_words(_names(dataset)),
        series_number=_text(dataset, "SeriesNumber"),
        image_type=_strings(dataset, "ImageType"),
        scanning_sequence=_scanning_sequence(dataset),
        sequence_variant=_strings(dataset, "SequenceVariant"),
        acquisition_type=_text(dataset, "MRAcquisitionType"),
        acquisition_contrast=_acquisition_contrast(groups),
        contrast_agent=_contrast_agent(dataset),
        diffusion_weighted=_diffusion_weighted(dataset),
        angiography=_text(dataset, "AngioFlag") == "Y" or _text(dataset, "TimeOfFlightContrast") == "YES",
        echo_time_ms=_first_number(groups, "EchoTime", "EffectiveEchoTime"),
        repetition_time_ms=_first_number(groups, "RepetitionTime"),
        inversion_time_ms=_first_number(groups, "InversionTime", "InversionTimes"),
        slice_thickness_mm=_first_number(groups, "SliceThickness", "SpacingBetweenSlices"),
        pixel_spacing_mm=_first_number(groups, "PixelSpacing"),
        acquired=_acquired(dataset),
        orientation=_orientation(groups),
    )


def normalise_words(texts: Iterable[Any]) -> str:
    """Join free text into lower-case words parted by single blanks: accents are dropped, every character but letters,
    digits, `+` and `*` becomes a blank, and a minus that denies a contrast agent ("T1 C-", "-GD") the word `minusc`."""
    joined = " ".join(str(t) for t in texts if t).lower().replace("ß", "ss")
    plain = "".join(c for c in unicodedata.normalize("NFKD", joined) if not unicodedata.combining(c))
    plain = re.sub(rf"(?<![a-z0-9])(?:{_AGENT_SIGNS})-(?=[\s_.,;)\]/]|$)", " minusc ", plain)
    plain = re.sub(rf"(?:^|(?<=[\s_(]))-(?:{_AGENT_SIGNS})(?![a-z0-9])", " minusc ", plain)
    return re.sub(r"[^a-z0-9+*]+", " ", plain).strip()


_AGENT_SIGNS = "c|gd|gad|gado|km|mdc|civ|iv|inj|k"
_GE_ACQUISITION = "GEMS_ACQU_01"
_GE_PULSE_SEQUENCE = 0x9C
"""Element of the private block in which GE names the pulse sequence ("BRAVO", "FSE-XL", "T1FLAIR")."""


def _names(dataset: Dataset) -> list[Any]:
    named = [dataset.get(k) for k in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")]
    return [*named, _ge_pulse_sequence(dataset)]


def _ge_pulse_sequence(dataset: Dataset) -> str:
    try:
        value = dataset.private_block(0x0019, _GE_ACQUISITION)[_GE_PULSE_SEQUENCE].value
    except (KeyError, ValueError, TypeError, AttributeError):
        return ""
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value)


def _orientation(groups: list[Dataset]) -> tuple[float, ...]:
    for group in groups:
        value = group.get("ImageOrientationPatient")
        numbers = [_number(v) for v in value] if isinstance(value, (MultiValue, list, tuple)) else []
        if len(numbers) == 6 and None not in numbers:
            return tuple(round(float(n or 0.0), 6) for n in numbers)
    return ()


def _functional_groups(dataset: Dataset) -> list[Dataset]:
    """The dataset itself and the items of its shared and first per-frame functional groups (PS3.3 C.7.6.16)."""
    levels = [dataset]
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        sequence = dataset.get(keyword)
        if sequence:
            levels.extend(e.value[0] for e in sequence[0] if e.VR == "SQ" and e.value)
    return levels


def _scanning_sequence(dataset: Dataset) -> tuple[str, ...]:
    """Scanning Sequence, or what an Enhanced MR image says in its place (PS3.3 C.8.13.4)."""
    classic = _strings(dataset, "ScanningSequence")
    if classic:
        return classic
    pulse = {"GRADIENT": ("GR",), "SPIN": ("SE",), "BOTH": ("SE", "GR")}.get(_text(dataset, "EchoPulseSequence"), ())
    planar = ("EP",) if _text(dataset, "EchoPlanarPulseSequence") == "YES" else ()
    inversion = ("IR",) if any(_text(g, "InversionRecovery") == "YES" for g in _functional_groups(dataset)) else ()
    return pulse + planar + inversion


def _acquisition_contrast(groups: list[Dataset]) -> str:
    stated = [_text(g, "AcquisitionContrast") for g in groups]
    return next((s for s in stated if s and s not in ("MIXED", "UNKNOWN")), "")


def _contrast_agent(dataset: Dataset) -> str:
    """The agent as stated; "CONTRAST" where only what comes with one is (volume, dose, ingredient, agent sequence)."""
    agent = _text(dataset, "ContrastBolusAgent")
    if agent:
        return agent
    given = [_number(dataset.get(f"ContrastBolus{k}")) or 0.0 for k in ("Volume", "TotalDose")]
    ingredient = _text(dataset, "ContrastBolusIngredient")
    stated = ingredient or any(n > 0 for n in given) or dataset.get("ContrastBolusAgentSequence")
    return "CONTRAST" if stated else ""


def _diffusion_weighted(dataset: Dataset) -> bool:
    if dataset.get("MRDiffusionSequence"):
        return True
    value = _number(dataset.get("DiffusionBValue"))
    return value is not None and value > 0


def _acquired(dataset: Dataset) -> str:
    stamp = _text(dataset, "AcquisitionDateTime")
    if stamp:
        return stamp
    for prefix in ("Acquisition", "Series", "Content"):
        date, time = _text(dataset, f"{prefix}Date"), _text(dataset, f"{prefix}Time")
        if time:
            return date + time
    return ""


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None or isinstance(value, MultiValue) else str(value).strip()


def _strings(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    value = dataset.get(keyword)
    if not value:
        return ()
    items = value if isinstance(value, MultiValue) else [value]
    return tuple(str(v).strip().upper() for v in items)


def _first_number(groups: list[Dataset], *keywords: str) -> float | None:
    for keyword in keywords:
        for group in groups:
            number = _number(group.get(keyword))
            if number is not None:
                return number
    return None


def _number(value: Any) -> float | None:
    first = value[0] if isinstance(value, (MultiValue, list, tuple)) and len(value) else value
    try:
        number = float(first) if first is not None and first != "" else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None

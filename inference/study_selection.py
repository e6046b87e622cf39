"""The series of a study that are analysed: by their headers, and by their pixels where the headers leave it open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from inference.contracts import InferenceError
from inference.contrasts import SeriesHeader, classify_study, header_of, select_series
from inference.volumes import UnreadableSeries, load_volume
from longitudinal.types import Contrast


@dataclass(frozen=True)
class StudySeries:
    """The series of one study: a header for each, and its files, by Series Instance UID."""

    headers: tuple[SeriesHeader, ...]
    files: Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class PixelFinding:
    """What the pixels of a series said that its header had left open; `contrast` is None where they did not settle it
    either."""

    series_uid: str
    series_number: str
    contrast: Contrast | None
    reason: str
    probabilities: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return f"series {self.series_number or '?'}: {self.reason}"


def read_series(paths: Iterable[Path]) -> StudySeries:
    """Group the DICOM files of one study by series; what is no DICOM object of a series is passed over.

    Raises:
        InferenceError: when the files hold several studies.
    """
    series: dict[str, list[Path]] = {}
    studies: set[str] = set()
    for path in sorted(paths):
        header = _peek(path)
        if header is not None and "SeriesInstanceUID" in header:
            studies.add(str(header.get("StudyInstanceUID", "")))
            series.setdefault(str(header.SeriesInstanceUID), []).append(path)
    if len(studies) > 1:
        raise InferenceError(f"The folder holds {len(studies)} studies; give one study at a time.")
    return StudySeries(tuple(header_of(dcmread(f[0], stop_before_pixels=True)) for f in series.values()), series)


def choose_series(study: StudySeries, settled: Mapping[str, Contrast] | None = None) -> dict[Contrast, str]:
    """Series Instance UID of the series to analyse, by contrast (see `inference.contrasts.select_series`).

    Raises:
        InferenceError: when the study has no usable series.
        AmbiguousSeries: when two series are equally good for a contrast.
    """
    chosen = select_series(study.headers, settled)
    if not chosen:
        raise InferenceError(
            f"None of {len(study.headers)} series is a usable T1, contrast-enhanced T1, T2 or FLAIR series."
        )
    return chosen


def settle_by_pixels(
    headers: Sequence[SeriesHeader], files: Mapping[str, Sequence[Path]], found: Iterable[Contrast]
) -> tuple[PixelFinding, ...]:
    """Look at the pixels of every undecided series that could be a contrast which the headers have not found.

    Args:
        headers: one header for each series of the study, as the scanner wrote it.
        files: the images of each series by the UID in its header: de-identified copies in the gateway.
        found: the contrasts that the headers alone have told.
    """
    told = classify_study(headers)
    absent = set(Contrast) - set(found)
    return tuple(
        _settle(header, files[header.series_uid], told[header.series_uid].candidates)
        for header in headers
        if told[header.series_uid].undecided
        and absent.intersection(told[header.series_uid].candidates)
        and files.get(header.series_uid)
    )


def _settle(header: SeriesHeader, files: Sequence[Path], candidates: Sequence[Contrast]) -> PixelFinding:
    from inference.pixel_contrast import contrast_from_pixels  # only studies with open questions load the network

    try:
        seen = contrast_from_pixels(load_volume(files).volume, candidates)
    except UnreadableSeries as problem:
        return PixelFinding(header.series_uid, header.series_number, None, f"its images make no volume ({problem})")
    except InferenceError as problem:
        return PixelFinding(header.series_uid, header.series_number, None, str(problem))
    return PixelFinding(header.series_uid, header.series_number, seen.contrast, seen.reason, seen.probabilities)


def _peek(path: Path) -> Dataset | None:
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
    except (InvalidDicomError, OSError, EOFError, ValueError):
        return None

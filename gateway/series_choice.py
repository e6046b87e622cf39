"""Which series of a study are analysed: headers as they came, pixels only after de-identification, else a person.

The headers are those of the clinical zone, because cleaning a description can take the very word away that tells a T1
with contrast from one without; the pixels are those of the research zone. What either said is kept with the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from gateway.context import Gateway
from gateway.database import session_scope
from gateway.engine import JobHalted
from gateway.stages.deidentification import original_images
from gateway.stages.progress import require_study, set_aside
from gateway.tables import QuarantineKind
from inference.contrasts import select_series
from inference.study_selection import PixelFinding, choose_series, read_series, settle_by_pixels
from longitudinal.types import Contrast

REMEDY = (
    "Have the series sent again with its description, timing and contrast agent filled in; or complete the study as it "
    "is, without that contrast; or discard it."
)


@dataclass(frozen=True)
class ChosenSeries:
    """De-identified files of the series to analyse, by contrast, and what the pixels of others said."""

    files: Mapping[Contrast, list[Path]]
    seen: tuple[PixelFinding, ...]


def series_uid(file: Path) -> str:
    return str(pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)


def choose(gateway: Gateway, study_key: str, revision: int, source: Path) -> ChosenSeries:
    """Choose the series of a study; `source` is the folder of its de-identified images.

    Raises:
        JobHalted: when a contrast that completeness counted on is settled by neither header nor pixels; the study has
            been put aside, naming the series and what would settle it.
        InferenceError: when no series is usable, or two are equally good.
    """
    study = read_series(original_images(gateway, study_key).files)
    cleaned: dict[str, list[Path]] = {}
    for file in sorted(source.glob("*.dcm")):
        cleaned.setdefault(series_uid(file), []).append(file)
    of = {uid: [file for ring in gateway.key_rings for file in cleaned.get(ring.uid(uid), [])] for uid in study.files}
    seen = settle_by_pixels(study.headers, of, select_series(study.headers))
    counted_on = _keep_evidence(gateway, study_key, seen)
    settled = {finding.series_uid: finding.contrast for finding in seen if finding.contrast is not None}
    by_header_and_pixels = select_series(study.headers, settled)
    lacking = [contrast for contrast in counted_on if contrast not in by_header_and_pixels]
    if lacking:
        raise _unsettled(gateway, study_key, revision, lacking, seen)
    chosen = choose_series(study, settled)
    return ChosenSeries({contrast: of[uid] for contrast, uid in chosen.items() if of[uid]}, seen)


def as_json(seen: Sequence[PixelFinding]) -> list[dict[str, Any]]:
    """What the pixels said, without UIDs."""
    return [
        {
            "series_number": finding.series_number,
            "contrast": finding.contrast.value if finding.contrast else None,
            "reason": finding.reason,
            "probabilities": dict(finding.probabilities),
        }
        for finding in seen
    ]


def _keep_evidence(gateway: Gateway, study_key: str, seen: Sequence[PixelFinding]) -> list[Contrast]:
    """Write what the pixels said beside the evidence of completeness; the contrasts that this had counted on."""
    with session_scope(gateway.database) as session:
        study = require_study(session, study_key)
        if seen:
            study.evidence = {**study.evidence, "pixels": as_json(seen)}
            session.add(study)
        return [Contrast(value) for value in study.evidence.get("to_settle", [])]


def _unsettled(
    gateway: Gateway, study_key: str, revision: int, lacking: Sequence[Contrast], seen: Sequence[PixelFinding]
) -> JobHalted:
    told = "; ".join(finding.sentence for finding in seen) or "the series left open were not fit for analysis"
    missing = " and ".join(contrast.value for contrast in lacking)
    reason = f"No {missing} series: the headers leave it open and the pixels do not settle it ({told})."
    return set_aside(gateway, study_key, revision, QuarantineKind.INCOMPLETE, reason, REMEDY)

"""Case folders: four NIfTI files in, `labels.nii.gz` and `measurements.json` out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from highdicom import Volume

from inference.contracts import InferenceError, SegmentationBackend, StudyAnalysis
from inference.measurement_json import identity_to_json, measurement_to_json
from inference.nifti_files import nifti_bytes, read_nifti
from inference.preparation import BrainExtractor
from inference.study import analyse_volumes
from longitudinal.types import Compartment, Contrast, Region

SCHEMA = "timepoint-measurements/1"
_NAMES = {
    Contrast.T1C: ("t1c", "t1ce", "t1gd", "t1post"),
    Contrast.T1: ("t1n", "t1", "t1w"),
    Contrast.T2: ("t2w", "t2"),
    Contrast.FLAIR: ("t2f", "flair", "fla"),
}


def is_case_folder(folder: Path) -> bool:
    """Whether a folder holds at least one NIfTI file that is named after a contrast."""
    return bool(_case_files(folder))


def load_case(folder: Path) -> dict[Contrast, Volume]:
    """Read the NIfTI files of a case, `t1c`, `t1n`, `t2w`, `t2f` (also as the end of a longer name, as in
    `BraTS-GLI-00001-000-t1c.nii.gz`; common other names such as `flair` are understood).

    Raises:
        InferenceError: when there is none, two files name one contrast, or a file is unreadable.
    """
    files = _case_files(folder)
    if not files:
        raise InferenceError(
            "The folder holds no NIfTI file named t1c, t1n, t2w or t2f (.nii or .nii.gz), as a case folder does."
        )
    return {contrast: read_nifti(_only(contrast, found)) for contrast, found in files.items()}


def analyse_case(
    folder: Path, backend: SegmentationBackend, brain_extractor: BrainExtractor | None = None
) -> StudyAnalysis:
    """Segment and measure a case folder; `reference_series_uid` of the result is empty.

    Raises:
        InferenceError: when a file or contrast is missing or unreadable; the message says which.
    """
    return analyse_volumes(load_case(folder), backend, brain_extractor=brain_extractor)


def write_results(folder: Path, analysis: StudyAnalysis) -> None:
    """Write `labels.nii.gz` (on the grid of the reference image) and `measurements.json` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.nii.gz").write_bytes(nifti_bytes(analysis.labels))
    document = json.dumps(measurement_document(analysis), indent=1)
    (folder / "measurements.json").write_text(document + "\n", encoding="utf-8")


def measurement_document(analysis: StudyAnalysis) -> dict[str, Any]:
    """What `measurements.json` holds: totals over all lesions in ml, then each lesion; points in LPS mm."""
    lesions = analysis.measurements
    return {
        "schema": SCHEMA,
        "coordinates": "LPS mm",
        "reference_series_uid": analysis.reference_series_uid or None,
        "model": identity_to_json(analysis.backend),
        "notes": list(analysis.notes),
        "total_volumes_ml": {r.value: math.fsum(m.volumes_ml[r] for m in lesions) for r in Region},
        "total_compartments_ml": {c.value: math.fsum(m.compartments_ml[c] for m in lesions) for c in Compartment},
        "lesions": [measurement_to_json(m) for m in lesions],
    }


def _case_files(folder: Path) -> dict[Contrast, list[Path]]:
    found: dict[Contrast, list[Path]] = {}
    for path in sorted(p for pattern in ("*.nii", "*.nii.gz") for p in folder.glob(pattern)):
        stem = path.name.lower().removesuffix(".gz").removesuffix(".nii")
        for contrast, names in _NAMES.items():
            if re.split(r"[^a-z0-9]", stem)[-1] in names:
                found.setdefault(contrast, []).append(path)
    return {c: found[c] for c in Contrast if c in found}


def _only(contrast: Contrast, files: Sequence[Path]) -> Path:
    if len(files) > 1:
        raise InferenceError(f"Two files name the contrast {contrast.value}: {', '.join(f.name for f in files)}.")
    return files[0]

"""A study's analysis as a folder: `labels.nii.gz`, `lesions.nii.gz`, `anchor.nii.gz`, `analysis.json`.

The folder appears whole or not at all, the same analysis gives the same bytes, and what is read back equals what was
written: NIfTI keeps affines in single precision only, so the exact ones stand in `analysis.json`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import Volume

from inference.contracts import InferenceError, StudyAnalysis
from inference.measurement_json import (
    identity_from_json,
    identity_to_json,
    measurement_from_json,
    measurement_to_json,
)
from inference.nifti_files import nifti_bytes, read_array

SCHEMA = "timepoint-analysis/1"
_VOLUMES: dict[str, npt.DTypeLike] = {"labels": np.uint8, "lesions": np.uint8, "anchor": np.float32}


class UnreadableAnalysis(InferenceError):
    """A stored analysis is missing, incomplete or of another schema."""


def save_analysis(folder: Path, analysis: StudyAnalysis) -> None:
    """Write an analysis; an older one in the same folder is replaced as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        for name in _VOLUMES:
            _write(new / f"{name}.nii.gz", nifti_bytes(getattr(analysis, name)))
        document = json.dumps(_to_json(analysis), indent=1, sort_keys=True)
        _write(new / "analysis.json", document.encode() + b"\n")
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)


def load_analysis(folder: Path) -> StudyAnalysis:
    """Read an analysis that `save_analysis` wrote.

    Raises:
        UnreadableAnalysis: when a file is missing or damaged, or the schema is another one.
    """
    try:
        data = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise UnreadableAnalysis(f"The stored analysis has schema {data['schema']}; this version reads {SCHEMA}.")
        volumes = {
            name: _read_volume(folder / f"{name}.nii.gz", data["grids"][name], t) for name, t in _VOLUMES.items()
        }
        return StudyAnalysis(
            labels=volumes["labels"],
            lesions=volumes["lesions"],
            anchor=volumes["anchor"],
            measurements=tuple(measurement_from_json(m) for m in data["lesions"]),
            reference_series_uid=data["reference_series_uid"],
            to_baseline=np.array(data["to_baseline"], dtype=np.float64),
            backend=identity_from_json(data["backend"]),
            notes=tuple(data["notes"]),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UnreadableAnalysis("The stored analysis is incomplete or damaged; analyse the study again.") from error


def _to_json(analysis: StudyAnalysis) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "backend": identity_to_json(analysis.backend),
        "grids": {name: _grid_to_json(getattr(analysis, name)) for name in _VOLUMES},
        "lesions": [measurement_to_json(m) for m in analysis.measurements],
        "notes": list(analysis.notes),
        "reference_series_uid": analysis.reference_series_uid,
        "to_baseline": analysis.to_baseline.tolist(),
    }


def _grid_to_json(volume: Volume) -> dict[str, Any]:
    return {"affine_lps": volume.affine.tolist(), "frame_of_reference_uid": volume.frame_of_reference_uid}


def _read_volume(file: Path, grid: dict[str, Any], dtype: npt.DTypeLike) -> Volume:
    affine = np.array(grid["affine_lps"], dtype=np.float64)
    return Volume(read_array(file, dtype), affine, "PATIENT", frame_of_reference_uid=grid["frame_of_reference_uid"])


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())

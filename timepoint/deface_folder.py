"""Faces out of a folder of de-identified studies: each is segmented first, and what does not pass does not stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from deidentify.pixels import MR_IMAGES
from deidentify.writing import to_bytes
from inference.contracts import InferenceError, SegmentationBackend
from inference.deface_study import deface_study, mark
from inference.defacing import DefacingRefused
from inference.study import analyse_series, select_files

NOT_SEGMENTED = "deface-not-segmented"


@dataclass(frozen=True)
class DefacedStudy:
    """What became of a study, named by its folder under the output (pseudonym and new UID). `code` is empty where the
    faces are gone; else its images were taken out. `removed` is the smallest share of face tissue over its series."""

    study: str
    images: int
    code: str = ""
    message: str = ""
    removed: float = 0.0


def deface_folder(folder: Path, backend: SegmentationBackend) -> list[DefacedStudy]:
    """Deface every study below `folder` (`<pseudonym>/<study>/<series>/<instance>.dcm`), in place.

    MR images of a study that cannot be segmented, or of which a face cannot be removed reliably, are deleted.
    """
    return [_one(folder, study, backend) for study in sorted(p for p in folder.glob("*/*") if p.is_dir())]


def _one(folder: Path, study: Path, backend: SegmentationBackend) -> DefacedStudy:
    name = str(study.relative_to(folder))
    images = {path: ds for path in sorted(study.rglob("*.dcm")) if (ds := dcmread(path)).SOPClassUID in MR_IMAGES}
    if not images:
        return DefacedStudy(name, 0)
    series: dict[str, list[Dataset]] = {}
    for dataset in images.values():
        series.setdefault(str(dataset.SeriesInstanceUID), []).append(dataset)
    try:
        analysis = analyse_series(select_files(images), backend)
        lesions = analysis.labels if np.any(analysis.labels.array) else None
        found, _ = deface_study(series, analysis.reference_series_uid, lesions)
    except (DefacingRefused, InferenceError) as problem:
        code = problem.code.value if isinstance(problem, DefacingRefused) else NOT_SEGMENTED
        for path in images:
            path.unlink()
        return DefacedStudy(name, len(images), code, str(problem))
    for path, dataset in images.items():
        mark([dataset])
        path.write_bytes(to_bytes(dataset))
    return DefacedStudy(name, len(images), removed=min(one.removed for one in found))

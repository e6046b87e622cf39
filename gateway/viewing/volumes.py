"""The voxels that the viewers draw, as plain arrays that can be read slice by slice.

`registered` is the 1 mm grid of the patient, the same for all time points; `native` is the grid of the series itself,
for masks that of the reference series. An array is little-endian, (slices, rows, columns), slice after slice.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from highdicom import Volume

from gateway.errors import NotFound
from gateway.viewing.kept_files import KeptFile, digest, kept
from gateway.viewing.viewed_study import ViewedStudy
from inference.contracts import InferenceError
from inference.nifti_files import nifti_bytes
from inference.resampling import resample, with_geometry
from inference.volumes import load_volume

_STEPS = 32000
"""The largest value is stored as this; MR values have no unit, so 15 bits keep what a display shows."""


class Space(StrEnum):
    """The grid of an answer."""

    REGISTERED = "registered"
    NATIVE = "native"


class Encoding(StrEnum):
    """The form of an answer: voxels alone, or a NIfTI file."""

    RAW = "raw"
    NIFTI = "nifti"


class MaskKind(StrEnum):
    """`labels`: compartments as voxel values; `lesions`: the number of the lesion."""

    LABELS = "labels"
    LESIONS = "lesions"


def contrast_file(viewed: ViewedStudy, contrast: str, space: Space, encoding: Encoding) -> KeptFile:
    """One contrast of a study.

    Raises:
        NotFound: when the study was analysed without this contrast, or its images were deleted by retention.
    """
    series = viewed.series.get(contrast)
    if series is None:
        raise NotFound(f"contrast {contrast} of study {viewed.study_key}: it has {', '.join(viewed.series)}")
    if not viewed.images.is_dir():
        raise NotFound(f"images of study {viewed.study_key}: they were deleted when their time was over")
    name = f"{contrast}-{digest(space.value, series, viewed.to_root.tolist())}.{encoding.value}"
    return kept(viewed.images, name, partial(_make_contrast, viewed, series, space, encoding))


def mask_file(viewed: ViewedStudy, kind: MaskKind, space: Space, encoding: Encoding) -> KeptFile:
    """The label map of compartments or lesions."""
    name = f"{kind.value}-{digest(space.value, viewed.labels_sha256, viewed.to_root.tolist())}.{encoding.value}"
    return kept(viewed.analysis_folder, name, partial(_make_mask, viewed, kind, space, encoding))


def registered_mask(viewed: ViewedStudy, kind: MaskKind = MaskKind.LABELS) -> Volume:
    """A label map on the grid of the patient, nearest voxel."""
    grid = viewed.registered_grid
    source = viewed.analysis.labels if kind is MaskKind.LABELS else viewed.analysis.lesions
    moved = resample(source, grid, viewed.from_root, nearest=True)
    return with_geometry(moved.astype(np.uint8), grid)


def _make_contrast(viewed: ViewedStudy, series: str, space: Space, encoding: Encoding) -> tuple[bytes, dict[str, Any]]:
    volume = _loaded(viewed.images, series)
    if space is Space.REGISTERED:
        grid = viewed.registered_grid
        volume = with_geometry(resample(volume, grid, viewed.from_root), grid)
    if encoding is Encoding.NIFTI:
        return nifti_bytes(volume), {}
    values = volume.array
    slope = float(np.abs(values).max()) / _STEPS or 1.0
    low, high = np.percentile(values[values > 0], [2, 99.5]) if (values > 0).any() else (0.0, 1.0)
    stored = np.round(values / slope).astype("<i2")
    return stored.tobytes(), {**_geometry(volume), "slope": slope, "window": [float(low), float(high)]}


def _make_mask(viewed: ViewedStudy, kind: MaskKind, space: Space, encoding: Encoding) -> tuple[bytes, dict[str, Any]]:
    if space is Space.REGISTERED:
        volume = registered_mask(viewed, kind)
    else:
        volume = viewed.analysis.labels if kind is MaskKind.LABELS else viewed.analysis.lesions
    if encoding is Encoding.NIFTI:
        return nifti_bytes(volume), {}
    return np.ascontiguousarray(volume.array, dtype=np.uint8).tobytes(), _geometry(volume)


def _geometry(volume: Volume) -> dict[str, Any]:
    return {"shape": list(volume.spatial_shape), "affine_lps": volume.affine.tolist()}


def _loaded(folder: Path, series: str) -> Volume:
    files = [f for f in sorted(folder.glob("*.dcm")) if _series_of(f) == series]
    try:
        return load_volume(files).volume
    except InferenceError as error:
        raise NotFound(f"a volume of this series: {error}") from error


def _series_of(file: Path) -> str:
    return str(pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)

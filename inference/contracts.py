"""What the parts of the inference room hand to one another.

Arrays are indexed (slice, row, column). `highdicom.Volume` carries array and affine together; its affine maps
(slice, row, column) indices to LPS millimetres. The *working grid* is 1 mm isotropic and aligned with the patient:
slice index grows towards the head (S), row towards the back (P), column towards the left (L), as BraTS stores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from highdicom import Volume

from longitudinal.types import AlgorithmIdentity, Contrast, LesionMeasurement

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]
"""A 4 x 4 rigid transform in LPS millimetres."""


class InferenceError(Exception):
    """The study could not be analysed; the message says what is missing and what would help."""


@dataclass(frozen=True)
class PreparedStudy:
    """A study on the working grid, ready for any backend.

    `channels`: float32 arrays in scanner units, one shape (slices, rows, columns), all registered to T1c (or
    to the reference contrast where T1c is absent); outside `brain` they keep their values (skull on) unless the
    input came skull-stripped. `brain`: bool, same shape. `native` is the reference series on its own grid;
    `working` is the geometry of the working grid with the reference channel in it. `substituted` names a missing
    contrast and the one that stands in for it. `notes` are sentences for the reader of the result.
    """

    channels: Mapping[Contrast, FloatArray]
    brain: BoolArray
    working: Volume
    native: Volume
    reference: Contrast
    substituted: Mapping[Contrast, Contrast]
    notes: tuple[str, ...]


class SegmentationBackend(Protocol):
    """A network, or several, that labels the compartments of a prepared study."""

    @property
    def identity(self) -> AlgorithmIdentity: ...

    def segment(self, study: PreparedStudy) -> LabelArray:
        """Label the working grid: uint8 (slices, rows, columns), 0 background and `Compartment.label` values."""
        ...


@dataclass(frozen=True)
class StudyAnalysis:
    """Masks and measurements of one study on the native grid of its reference series.

    `labels`: compartments, `lesions`: lesion index per voxel (0 none, 1..n by falling whole-tumour volume); both
    uint8 Volumes on the native grid. `reference_series_uid` is the series UID in the files that were analysed.
    `to_baseline` maps LPS of this study to LPS of the patient's baseline study (identity for a baseline).
    `anchor` is the brain-masked reference image at 2 mm that later studies are registered to.
    """

    labels: Volume
    lesions: Volume
    measurements: tuple[LesionMeasurement, ...]
    reference_series_uid: str
    to_baseline: Matrix
    anchor: Volume
    backend: AlgorithmIdentity
    notes: tuple[str, ...]

"""Where the face of a head is that may leave the hospital without it, and whether that may be relied on.

Only for exported copies, and only after segmentation: brain and lesions must be known so that they can be guarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from highdicom import Volume
from scipy import ndimage

from inference.brain import extract_brain
from inference.contracts import BoolArray, FloatArray, InferenceError, Matrix
from inference.face_atlas import brain_overlap, face_atlas, in_region, match_to_atlas
from inference.mutual_information import RegistrationFailed
from inference.preparation import working_grid
from inference.resampling import IDENTITY, resample, with_geometry

GUARD_MM = 5.0
SMALLEST_BRAIN_OVERLAP = 0.85
"""Dice of the head's brain and the atlas's, where the match puts it: worse is no match that a face may be cut by."""
FACE_TISSUE = 25.0
"""Value of the atlas (0 to 255) above which there is tissue."""
LARGEST_CUT_ML = 1.0
"""Brain that the face region may cover before the guard; more means that the match is off."""


class DefacingCode(StrEnum):
    """Why a study is not exported; kept stable."""

    NO_MATCH = "deface-no-match"
    NO_BRAIN = "deface-no-brain"
    BRAIN = "deface-brain-in-face"
    LESION = "deface-lesion-in-face"
    LEFT_OVER = "deface-face-left"
    UNPLACED = "deface-no-position"


class DefacingRefused(InferenceError):
    """The face cannot be removed safely; nothing of the images may leave."""

    def __init__(self, code: DefacingCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class FacePlan:
    """What is face in the reference's space. `guard` (1 inside): brain and lesions, 5 mm wider. `brain_overlap`: Dice
    with the atlas; `brain_in_face_ml` before the guard; `coverage`: share of the face that the reference shows."""

    to_atlas: Matrix
    guard: Volume
    brain_overlap: float
    brain_in_face_ml: float
    coverage: float

    def face(self, points: FloatArray, to_reference: Matrix = IDENTITY) -> BoolArray:
        """Whether points (..., 3), LPS mm, are in the face region; `to_reference` maps them to the reference."""
        return in_region(face_atlas().face, self.to_atlas @ to_reference, points)

    def guarded(self, points: FloatArray, to_reference: Matrix = IDENTITY) -> BoolArray:
        """Whether points are too near to brain or lesion to be removed."""
        return in_region(self.guard, to_reference, points)


def plan_defacing(reference: Volume, lesions: Volume | None) -> FacePlan:
    """Find the face in the reference series of a study.

    Args:
        reference: a series (slices, rows, columns) that shows the whole head, any orientation.
        lesions: labels of the tumour (0 none) in the same LPS space, on any grid; None where there is no tumour.

    Raises:
        DefacingRefused: when head or brain do not match the atlas, or brain or lesion lie in the face region.
    """
    grid = working_grid(reference)
    brain = _brain(grid)
    try:
        to_atlas = match_to_atlas(grid)
    except RegistrationFailed as error:
        raise DefacingRefused(DefacingCode.NO_MATCH, str(error)) from None
    overlap = brain_overlap(with_geometry(brain.astype(np.float32), grid), to_atlas)
    if overlap < SMALLEST_BRAIN_OVERLAP:
        message = f"The brain lies elsewhere than the match with the mean head says (overlap {overlap:.2f})."
        raise DefacingRefused(DefacingCode.NO_MATCH, message)
    face = resample(face_atlas().face, grid, to_atlas, nearest=True) > 0.5
    tumour = np.zeros_like(brain)
    if lesions is not None:
        labels = with_geometry(lesions.array.astype(np.float32), lesions)
        tumour = resample(labels, grid, nearest=True) > 0.5
    cut_ml = float((face & brain).sum()) / 1000.0
    if cut_ml > LARGEST_CUT_ML:
        raise DefacingRefused(DefacingCode.BRAIN, f"{cut_ml:.1f} ml of brain lie in the face region.")
    if (face & tumour).any():
        raise DefacingRefused(DefacingCode.LESION, "A lesion reaches into the face region.")
    far = ndimage.distance_transform_edt(~(brain | tumour), sampling=grid.spacing)
    return FacePlan(
        to_atlas,
        with_geometry((far <= GUARD_MM).astype(np.float32), grid),
        overlap,
        cut_ml,
        _coverage(reference, to_atlas),
    )


def _coverage(reference: Volume, to_atlas: Matrix) -> float:
    """Share of the head's face, as the atlas has it, that lies within a series."""
    atlas = face_atlas()
    everywhere = with_geometry(np.ones(reference.spatial_shape, np.float32), reference)
    from_atlas: Matrix = np.linalg.inv(to_atlas).astype(np.float64)
    seen = resample(everywhere, atlas.face, from_atlas, nearest=True) > 0.5
    face = (atlas.face.array > 0.5) & (atlas.head.array > FACE_TISSUE)
    return float((face & seen).sum() / face.sum())


def _brain(grid: Volume) -> BoolArray:
    try:
        return extract_brain(grid.array)
    except InferenceError as error:
        raise DefacingRefused(DefacingCode.NO_BRAIN, str(error)) from None

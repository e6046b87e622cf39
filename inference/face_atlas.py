"""A mean head whose face is known, matched to a head in an image: rigid by our own registration, then affine."""

# SimpleITK is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import SimpleITK as sitk
from highdicom import Volume

from inference.contracts import BoolArray, FloatArray, Matrix
from inference.mutual_information import RegistrationFailed
from inference.registration import register
from inference.resampling import resample, to_image, with_geometry

ITERATIONS = 80
SAMPLES = 0.1
SMALLEST_SCALE, LARGEST_SCALE = 0.75, 1.35
"""Heads of adults and children against the mean head; beyond it the match is none."""


@dataclass(frozen=True)
class FaceAtlas:
    """`head`, `face` and `brain` (1 in the region, else 0) on one grid of 2 mm, LPS."""

    head: Volume
    face: Volume
    brain: Volume


@cache
def face_atlas() -> FaceAtlas:
    """The atlas that ships (see inference/data/face_atlas_NOTICE.md)."""
    with np.load(str(files("inference") / "data" / "face_atlas.npz")) as stored:
        head = Volume(stored["head"].astype(np.float32), stored["affine"], "PATIENT")
        shape = head.spatial_shape
        face, brain = (
            np.unpackbits(stored[name], count=int(np.prod(shape))).reshape(shape).astype(np.float32)
            for name in ("face", "brain")
        )
    return FaceAtlas(head, with_geometry(face, head), with_geometry(brain, head))


def match_to_atlas(head: Volume) -> Matrix:
    """Map of LPS of `head` to LPS of the atlas, affine.

    Raises:
        RegistrationFailed: when the head does not match, or only with an implausible size.
    """
    atlas = face_atlas()
    rigid = register(head, atlas.head).matrix
    found = _affine(head, atlas.head, rigid)
    scales = np.linalg.svd(found[:3, :3], compute_uv=False)
    if scales.min() < SMALLEST_SCALE or scales.max() > LARGEST_SCALE:
        raise RegistrationFailed(
            f"The head matches the mean head only when scaled by {scales.min():.2f} to {scales.max():.2f}."
        )
    return found


def in_region(region: Volume, to_region: Matrix, points: FloatArray) -> BoolArray:
    """Whether points (..., 3), LPS mm, lie in a region when moved by `to_region`.

    Beyond the edges of the atlas its outermost voxels go on: a chin below it is a face too.
    """
    index = np.linalg.inv(region.affine) @ to_region
    place = points.reshape(-1, 3) @ index[:3, :3].T.astype(np.float32) + index[:3, 3].astype(np.float32)
    limits = np.array(region.spatial_shape) - 1
    rounded = np.clip(np.rint(place).astype(np.int32), 0, limits)
    found: BoolArray = region.array[rounded[:, 0], rounded[:, 1], rounded[:, 2]].reshape(points.shape[:-1]) > 0.5
    return found


def brain_overlap(brain: Volume, to_atlas: Matrix) -> float:
    """Dice coefficient of a brain mask (1 in the brain) and the brain of the atlas, within the field of view."""
    expected = resample(face_atlas().brain, brain, to_atlas, nearest=True) > 0.5
    found = brain.array > 0.5
    return float(2 * (expected & found).sum() / max(int(expected.sum() + found.sum()), 1))


def _affine(head: Volume, atlas: Volume, rigid: Matrix) -> Matrix:
    fixed, moving = to_image(head), to_image(atlas)
    shrink = [max(1, round(2.0 / s)) for s in fixed.GetSpacing()]
    fixed = sitk.BinShrink(fixed, shrink)
    transform = sitk.AffineTransform(3)
    centre = fixed.TransformContinuousIndexToPhysicalPoint([n / 2 for n in fixed.GetSize()])
    transform.SetCenter(centre)
    transform.SetMatrix([float(v) for v in rigid[:3, :3].ravel()])
    moved = rigid[:3, :3] @ np.array(centre) + rigid[:3, 3]
    transform.SetTranslation([float(v) for v in moved - np.array(centre)])
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLES, 42)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, ITERATIONS, relaxationFactor=0.7)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([1])
    method.SetSmoothingSigmasPerLevel([1])
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # SimpleITK's only error class: all points left the image on the way
        raise RegistrationFailed("The head does not match the mean head.") from None
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix: Matrix = np.eye(4)
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint([float(i == axis) for i in range(3)])) - origin
    matrix[:3, 3] = origin
    return matrix

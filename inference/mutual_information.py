"""Mutual information of two images at random points, differentiable in the transform between them.

Linear Parzen windows over a joint histogram (after Mattes et al., IEEE TMI 2003), on images averaged to one scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from highdicom import Volume
from torch import Tensor
from torch.nn import functional

from inference.contracts import InferenceError, Matrix

BINS = 32
POINTS = 20_000
_SEED = 20_240_229


class RegistrationFailed(InferenceError):
    """Two images could not be brought to match; they may show different patients or body parts."""


@dataclass(frozen=True)
class Level:
    """Two images at one scale, values in 0..1.

    `points` are LPS mm (n, 3) in and just around the head of the fixed image, `values` its values there; `to_moving`
    maps LPS to the coordinates of grid_sample in `moving`. `centre` is the middle of the points.
    """

    points: Tensor
    values: Tensor
    moving: Tensor
    to_moving: Matrix
    centre: Tensor


def _sample(image: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Values at normalised coordinates (points, 3), and 1.0 where they lie within the image."""
    values = functional.grid_sample(image, grid[None, None, None], align_corners=False, padding_mode="border")
    return values.reshape(-1), (grid.detach().abs() <= 1).all(dim=1).to(values.dtype)


def _mutual_information(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    joint = torch.zeros(BINS * BINS)
    (i, a), (j, b) = _binned(first), _binned(second)
    for row, row_weight in ((i, 1 - a), (i + 1, a)):
        for column, column_weight in ((j, 1 - b), (j + 1, b)):
            joint = joint.index_add(0, row * BINS + column, row_weight * column_weight * weight)
    share = (joint / joint.sum().clamp_min(1.0)).view(BINS, BINS)
    independent = share.sum(1, keepdim=True) @ share.sum(0, keepdim=True)
    return (share * torch.log((share + 1e-9) / (independent + 1e-9))).sum()


def information_at(level: Level, placed: Tensor) -> Tensor:
    """Mutual information in nats when the points of a level lie at `placed` (n, 3), LPS mm of the moving image."""
    values, inside = _sample(level.moving, transformed(placed, level.to_moving))
    return _mutual_information(level.values, values, inside)


def _binned(values: Tensor) -> tuple[Tensor, Tensor]:
    scaled = values.clamp(0, 1) * (BINS - 1.001)
    lower = scaled.detach().floor()
    return lower.long(), scaled - lower


def level_of(fixed: Volume, moving: Volume, scale_mm: float) -> Level:
    """Two volumes averaged to one scale, with random points in the head of the fixed one.

    Raises:
        RegistrationFailed: when a volume is constant.
    """
    fixed_image, fixed_affine = pooled(fixed, scale_mm)
    moving_image, moving_affine = pooled(moving, scale_mm)
    points = _points(fixed_image, fixed_affine)
    to_fixed, to_moving = _normalising(fixed_image, fixed_affine), _normalising(moving_image, moving_affine)
    values, _ = _sample(fixed_image, transformed(points, to_fixed))
    return Level(points, values, moving_image, to_moving, points.mean(dim=0))


def pooled(volume: Volume, scale_mm: float) -> tuple[Tensor, Matrix]:
    """The image averaged to about `scale_mm` along the axes that are finer, scaled to 0..1, and its affine."""
    kernel = [max(1, min(round(scale_mm / s), n)) for s, n in zip(volume.spacing, volume.spatial_shape, strict=True)]
    image = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32))[None, None]
    image = functional.avg_pool3d(image, kernel) if max(kernel) > 1 else image
    scale = np.diag([*kernel, 1.0])
    scale[:3, 3] = [(k - 1) / 2 for k in kernel]
    head = image[image > image.mean()]
    if not len(head):
        raise RegistrationFailed("An image holds one and the same value everywhere; there is nothing to register.")
    low, high = float(image.min()), float(torch.quantile(head[:: max(1, len(head) // 100_000)], 0.995))
    return ((image - low) / max(high - low, 1e-6)).clamp(0, 1), volume.affine @ scale


def _points(image: Tensor, affine: Matrix) -> Tensor:
    """Random LPS points in and just around the head. Off the grid, since at grid points interpolation of the other
    image is sharp only at whole-voxel shifts, and mutual information would prefer those."""
    generator = torch.Generator().manual_seed(_SEED)
    near = functional.max_pool3d((image > head_threshold(image)).float(), 3, stride=1, padding=1)
    index = torch.nonzero(near[0, 0])
    index = index[torch.randint(len(index), (POINTS,), generator=generator)]
    return transformed(index.float() + torch.rand((POINTS, 3), generator=generator) - 0.5, affine)


def transformed(points: Tensor, matrix: Matrix) -> Tensor:
    """Points (n, 3) moved by a 4 x 4 affine matrix."""
    single = torch.from_numpy(matrix.astype(np.float32))
    return points @ single[:3, :3].T + single[:3, 3]


def head_threshold(image: Tensor) -> float:
    """Between air and tissue: a third of the mean of what is brighter than the mean."""
    mean = image.mean()
    return float(image[image >= mean].mean()) * 0.33


def _normalising(image: Tensor, affine: Matrix) -> Matrix:
    """LPS mm to the (column, row, slice) coordinates of grid_sample, -1..1 from edge to edge."""
    size = np.array(image.shape[2:], dtype=np.float64)
    inverse = np.linalg.inv(affine)
    scaled = np.eye(4)
    scaled[:3, :3] = inverse[:3, :3] * (2 / size)[:, None]
    scaled[:3, 3] = (2 * inverse[:3, 3] + 1) / size - 1
    return scaled[[2, 1, 0, 3]]


def head_overlap(fixed: Volume, moving: Volume, matrix: Matrix, scale_mm: float) -> float:
    """Dice coefficient of what is brighter than air in both images, within the field of view of the moving one.

    Args:
        matrix: LPS of `fixed` to LPS of `moving`.
        scale_mm: the scale to compare at.

    Returns:
        0 to 1; 0 where less than a third of the fixed head was imaged in the moving image.
    """
    fixed_image, fixed_affine = pooled(fixed, scale_mm)
    moving_image, moving_affine = pooled(moving, scale_mm)
    index = torch.nonzero(torch.ones(fixed_image.shape[2:])).float()
    placed = transformed(index, _normalising(moving_image, moving_affine) @ matrix @ fixed_affine)
    values, inside = _sample(moving_image, placed)
    fixed_head = fixed_image.reshape(-1) > head_threshold(fixed_image)
    seen = inside > 0
    moving_head = (values > head_threshold(moving_image)) & seen
    if int((fixed_head & seen).sum()) * 3 < int(fixed_head.sum()):
        return 0.0
    total = int((fixed_head & seen).sum()) + int(moving_head.sum())
    return 2 * int((fixed_head & moving_head).sum()) / max(total, 1)

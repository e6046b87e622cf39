"""Rigid registration of brain images by mutual information at random points.

The joint histogram of a fixed set of points (linear Parzen windows; Mattes et al., IEEE TMI 2003) is differentiable,
so autograd and Adam find the six parameters, coarse to fine. That costs about a twentieth of the usual SimpleITK
recipe. Every result is judged - how much sharper is the match than beside it, do the heads overlap - and where it is
poor SimpleITK tries again from the centres of mass; when both are implausible the caller is told, never guessed for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from highdicom import Volume
from scipy.spatial.transform import Rotation
from torch import Tensor

from inference.contracts import Matrix
from inference.mutual_information import (
    Level,
    RegistrationFailed,
    head_overlap,
    head_threshold,
    information_at,
    level_of,
    pooled,
    transformed,
)
from inference.registration_simpleitk import register_by_simpleitk

__all__ = ["Registration", "RegistrationFailed", "register"]

TRIAL_POINTS = 5_000
COARSE_MM, FINE_MM = 4.0, 2.0
MIN_OVERLAP = 0.5
MIN_GAIN = 1.7
DISPLACED_MM = 15.0
_TRANSLATION_SCALE_MM = 100.0
_TRIAL_ROTATION_RAD = 0.2


@dataclass(frozen=True)
class Registration:
    """A rigid match of two images.

    `matrix` maps LPS of the fixed image to LPS of the moving one. `mutual_information` is in nats. `gain` is that
    value over its mean at matches displaced by 15 mm (1 = no match at all), `overlap` the Dice coefficient of the
    two heads where both were imaged.
    """

    matrix: Matrix
    mutual_information: float
    gain: float
    overlap: float
    method: str

    @property
    def plausible(self) -> bool:
        return self.overlap >= MIN_OVERLAP and self.gain >= MIN_GAIN


def register(fixed: Volume, moving: Volume) -> Registration:
    """Find the rigid transform that matches two images of one head, of the same or of different contrast.

    Images of one frame of reference are expected to match already and are only refined; for others several starting
    positions and rotations up to 11 degrees are tried.

    Args:
        fixed, moving: (slices, rows, columns), any orientation and spacing, with or without skull (both alike).

    Returns:
        The match; its `matrix` maps LPS of `fixed` to LPS of `moving`. Same input, same output.

    Raises:
        RegistrationFailed: when neither method reaches a plausible match.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors: more threads only wait for one another
    try:
        return _register(fixed, moving)
    finally:
        torch.set_num_threads(threads)


def _register(fixed: Volume, moving: Volume) -> Registration:
    coarse, fine = level_of(fixed, moving, COARSE_MM), level_of(fixed, moving, FINE_MM)
    results = []
    for starts in _rounds(fixed, moving):
        found = _optimise(fine, _search(coarse, starts), iterations=40, rate=0.004)
        results.append(_judge(coarse, fixed, moving, _matrix(found, fine.centre), "torch"))
        if results[-1].plausible:
            return results[-1]
    rough = register_by_simpleitk(fixed, moving)
    if rough is not None:
        found = _optimise(fine, _parameters(rough, fine.centre), iterations=40, rate=0.004)
        results.append(_judge(coarse, fixed, moving, _matrix(found, fine.centre), "simpleitk"))
    best = max(results, key=lambda r: (r.plausible, r.mutual_information))
    if not best.plausible:
        raise RegistrationFailed(
            f"Two images could not be registered (overlap {best.overlap:.2f}, gain {best.gain:.2f}): they may show "
            "different patients or body parts, or one covers too little of the head."
        )
    return best


def _rounds(fixed: Volume, moving: Volume) -> Iterator[list[Tensor]]:
    """Starting positions to try: within one frame of reference identity alone, then a wider search."""
    frame = fixed.frame_of_reference_uid
    if frame is not None and frame == moving.frame_of_reference_uid:
        yield [torch.zeros(6)]
    yield _starts(fixed, moving)


def _judge(level: Level, fixed: Volume, moving: Volume, matrix: Matrix, method: str) -> Registration:
    """How good a match is: sharp in comparison with displaced ones, and the heads on top of one another."""
    with torch.no_grad():
        placed = transformed(level.points, matrix)
        information = float(information_at(level, placed))
        displacements = [sign * DISPLACED_MM * torch.eye(3)[axis] for axis in range(3) for sign in (-1, 1)]
        displaced = [float(information_at(level, placed + shift)) for shift in displacements]
        overlap = head_overlap(fixed, moving, matrix, COARSE_MM)
    gain = information / max(sum(displaced) / len(displaced), 1e-6)
    return Registration(matrix, information, gain, overlap, method)


def _search(level: Level, starts: Sequence[Tensor]) -> Tensor:
    """The best of several starts after a short optimisation of the most promising ones."""
    trial = replace(level, points=level.points[:TRIAL_POINTS], values=level.values[:TRIAL_POINTS])
    with torch.no_grad():
        ranked = sorted(starts, key=lambda p: float(_loss(trial, p)))
    tried = [_optimise(trial, p, iterations=30, rate=0.02) for p in ranked[:4]] if len(ranked) > 1 else ranked
    with torch.no_grad():
        best = min(tried, key=lambda p: float(_loss(level, p)))
    return _optimise(level, best, iterations=60, rate=0.01)


def _optimise(level: Level, start: Tensor, iterations: int, rate: float) -> Tensor:
    parameters = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([parameters], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations, eta_min=rate * 0.02)
    for _ in range(iterations):
        optimiser.zero_grad()
        loss = _loss(level, parameters)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return parameters.detach()


def _loss(level: Level, parameters: Tensor) -> Tensor:
    """Negative mutual information of the points that fall into the moving image."""
    rotation, shift = _rotation(parameters[:3]), parameters[3:] * _TRANSLATION_SCALE_MM
    placed = (level.points - level.centre) @ rotation.T + level.centre + shift
    return -information_at(level, placed)


def _starts(fixed: Volume, moving: Volume) -> list[Tensor]:
    """Identity, matching centres of mass and matching fields of view, each straight and turned about each axis."""
    shifts = [np.zeros(3), _mass_centre(moving) - _mass_centre(fixed), _middle(moving) - _middle(fixed)]
    turns = [np.zeros(3)] + [s * _TRIAL_ROTATION_RAD * np.eye(3)[a] for a in range(3) for s in (-1, 1)]
    return [
        torch.from_numpy(np.r_[turn, shift / _TRANSLATION_SCALE_MM].astype(np.float32))
        for shift in shifts
        for turn in turns
    ]


def _mass_centre(volume: Volume) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    image, affine = pooled(volume, COARSE_MM)
    index = torch.nonzero(image[0, 0] > head_threshold(image)).double().mean(dim=0).numpy()
    return np.asarray(affine[:3, :3] @ index + affine[:3, 3])


def _middle(volume: Volume) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(volume.center_position, dtype=np.float64)


def _rotation(angles: Tensor) -> Tensor:
    c, s = torch.cos(angles), torch.sin(angles)
    one, zero = torch.ones(()), torch.zeros(())
    about_x = torch.stack([one, zero, zero, zero, c[0], -s[0], zero, s[0], c[0]]).view(3, 3)
    about_y = torch.stack([c[1], zero, s[1], zero, one, zero, -s[1], zero, c[1]]).view(3, 3)
    about_z = torch.stack([c[2], -s[2], zero, s[2], c[2], zero, zero, zero, one]).view(3, 3)
    return about_z @ about_y @ about_x


def _parameters(matrix: Matrix, centre: Tensor) -> Tensor:
    """The inverse of `_matrix`."""
    angles = Rotation.from_matrix(matrix[:3, :3]).as_euler("xyz")
    middle = centre.double().numpy()
    shift = (matrix[:3, :3] @ middle + matrix[:3, 3] - middle) / _TRANSLATION_SCALE_MM
    return torch.from_numpy(np.r_[angles, shift].astype(np.float32))


def _matrix(parameters: Tensor, centre: Tensor) -> Matrix:
    rotation = _rotation(parameters[:3].double()).numpy()
    middle = centre.double().numpy()
    matrix: Matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = middle - rotation @ middle + parameters[3:].double().numpy() * _TRANSLATION_SCALE_MM
    return matrix

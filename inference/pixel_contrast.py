"""The contrast of a series told from its pixels, where its header does not settle it.

A small network sees the head at 4 mm and knows T1, T1 after contrast agent, T2, FLAIR and "other". It answers only
where it is sure; a pair of T1 series of one study is told apart by neither header nor guess. Trained on synthetic
images by `training.contrast.train`; pixels reach it after de-identification only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from highdicom import Volume
from scipy import ndimage

from inference.brain import head_box, normalise
from inference.contracts import FloatArray, InferenceError
from inference.model_folder import SHIPPED_MODELS, ModelFolderError, read_model_folder
from longitudinal.types import Contrast

if TYPE_CHECKING:
    import torch

MODEL_KIND = "series-contrast"
SHIPPED = SHIPPED_MODELS / "contrast-1"
GRID_MM = 4.0
SHAPE = (48, 56, 48)
"""Voxels along slices (to S), rows (to P) and columns (to L) that the network sees: 192 x 224 x 192 mm."""
CLASSES: tuple[Contrast | None, ...] = (Contrast.T1, Contrast.T1C, Contrast.T2, Contrast.FLAIR, None)
"""Order of the network's outputs; None is any other image."""
_AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class PixelContrast:
    """What the pixels say: `contrast` where they settle it among the candidates, else None with the `reason`."""

    contrast: Contrast | None
    probabilities: dict[str, float]
    reason: str


def contrast_from_pixels(
    volume: Volume, candidates: Collection[Contrast] = tuple(Contrast), model: Path = SHIPPED
) -> PixelContrast:
    """Tell the contrast of one series, or abstain.

    Args:
        volume: float32 (slices, rows, columns) in any geometry, in LPS.
        candidates: what the header leaves open; an answer outside of it is a contradiction, and no answer.
        model: a model folder of kind `series-contrast`.

    Raises:
        InferenceError: when the image is empty or the model is damaged.
    """
    network, thresholds = _network(model)
    probabilities = _probabilities(network, network_input(volume))
    named = {(c.value if c else "other"): round(float(p), 4) for c, p in zip(CLASSES, probabilities, strict=True)}
    best = CLASSES[int(np.argmax(probabilities))]
    likeliest = best.value if best else "other"
    share = named[likeliest]
    if best is None:
        return PixelContrast(None, named, f"the pixels look like none of the four contrasts ({share:.2f})")
    if share < thresholds[likeliest]:
        return PixelContrast(None, named, f"the pixels do not settle it (most likely {likeliest}, {share:.2f})")
    if best not in candidates:
        return PixelContrast(None, named, f"the pixels say {likeliest}, which the header contradicts")
    return PixelContrast(best, named, f"{likeliest} by its pixels ({share:.2f})")


def network_input(volume: Volume) -> FloatArray:
    """The head of an image at 4 mm as the network sees it: axes towards S, P, L, intensities 0..1, `SHAPE`.

    Raises:
        InferenceError: when the image is empty.
    """
    if not np.isfinite(volume.array).all():
        raise InferenceError("The series holds values that are not numbers")
    return framed(normalise(_at_grid(volume)))


def framed(image: FloatArray, margin: int = 1) -> FloatArray:
    """Cut a normalised image to its head and place it in `SHAPE`: the top of the head at the top, the rest centred."""
    cut = image[head_box(image, margin)]
    out = np.zeros(SHAPE, dtype=np.float32)
    sources, targets = [], []
    for axis, (have, want) in enumerate(zip(cut.shape, SHAPE, strict=True)):
        size = min(have, want)
        centred = axis != 0
        source = (have - size) // 2 if centred else have - size
        target = (want - size) // 2 if centred else want - size
        sources.append(slice(source, source + size))
        targets.append(slice(target, target + size))
    out[tuple(targets)] = cut[tuple(sources)]
    return out


def _at_grid(volume: Volume) -> FloatArray:
    """The image on a 4 mm grid along the patient's axes: fine voxels are averaged first, coarse ones interpolated."""
    array, affine = np.asarray(volume.array, dtype=np.float32), np.array(volume.affine, dtype=np.float64)
    for axis, spacing in enumerate(volume.spacing):
        factor = max(1, int(GRID_MM / spacing + 0.25))
        kept = array.shape[axis] // factor
        if factor > 1 and kept >= 2:
            turned = np.moveaxis(array, axis, -1)[..., : kept * factor]
            array = np.moveaxis(turned.reshape(*turned.shape[:-1], kept, factor).mean(axis=-1), -1, axis)
            affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
            affine[:3, axis] *= factor
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in array.shape], indexing="ij")).reshape(3, -1)
    points = affine[:3, :3] @ corners + affine[:3, 3:]
    low, high = points.min(axis=1), points.max(axis=1)
    shape = np.ceil((high - low) / GRID_MM).astype(int)[::-1] + 1
    inverse = np.linalg.inv(affine[:3, :3])
    out: FloatArray = ndimage.affine_transform(
        array, inverse @ (_AXES * GRID_MM), inverse @ (low - affine[:3, 3]), tuple(shape), order=1, output=np.float32
    )
    return out


@lru_cache(maxsize=2)
def _network(model: Path) -> tuple[torch.nn.Module, dict[str, float]]:
    from safetensors.torch import load_file

    from inference.contrast_network import ContrastNetwork

    try:
        folder = read_model_folder(model, MODEL_KIND)
        network = ContrastNetwork(**folder.card["architecture"])
        network.load_state_dict({name: value.float() for name, value in load_file(folder.weights).items()})
        thresholds = {str(name): float(value) for name, value in folder.card["thresholds"].items()}
    except (ModelFolderError, KeyError, TypeError, RuntimeError) as problem:
        raise InferenceError(f"The series contrast model cannot be used: {problem}") from problem
    return network.eval(), thresholds


def _probabilities(network: torch.nn.Module, image: FloatArray) -> FloatArray:
    """Class probabilities, averaged over the image and its mirror image."""
    import torch

    one = torch.from_numpy(image)[None, None]
    with torch.inference_mode():
        logits = network(torch.cat([one, one.flip(-1)]))
        out: FloatArray = torch.softmax(logits, dim=1).mean(0).numpy()
    return out

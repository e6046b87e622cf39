"""Brain extraction on the working grid with a small 3-D U-Net of our own.

The network sees one image of any contrast at 3 mm; its probability is brought back to 1 mm by trilinear
interpolation, which keeps the surface smooth. It was trained on synthetic contrasts only (SynthSeg-style domain
randomisation, arXiv:2107.09559, arXiv:2203.09974) by `training.brain.train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cc3d
import numpy as np

from inference.contracts import BoolArray, FloatArray, InferenceError
from inference.model_folder import SHIPPED_MODELS, ModelFolderError, read_model_folder

if TYPE_CHECKING:
    import torch

MODEL_KIND = "brain-extraction"
SHIPPED = SHIPPED_MODELS / "brain-1"
POOL = 3
"""The network works on averages of 3 x 3 x 3 voxels of the working grid."""
STRIDE = 16
"""Extents of the network's input are padded to a multiple of this, and to twice this at least."""
SMALLEST_BRAIN_ML = 50.0
THRESHOLD = 0.7
"""The network, trained with a Dice loss, is generous where it is not sure: on simulated heads that it has not seen
this probability gives the best overlap in all four contrasts."""
AIR = 0.12
"""Normalised intensity under which a voxel may be air."""
MARGIN = 1
"""Air around the head, in voxels of the network, that the network is shown."""

Box = tuple[slice, slice, slice]


def extract_brain(volume_1mm: FloatArray, device: str = "cpu", model: Path = SHIPPED) -> BoolArray:
    """Find the brain (with ventricles and sulci, without skull and meninges) in an MR image of any contrast.

    Args:
        volume_1mm: (slices, rows, columns) on the working grid, 1 mm isotropic, indices towards S, P, L.
        device: a torch device name.
        model: a model folder of kind `brain-extraction`.

    Returns:
        Mask of the same shape: one connected component without holes.

    Raises:
        InferenceError: when the volume is not three-dimensional, empty, or holds no brain, or the model is damaged.
    """
    if volume_1mm.ndim != 3 or min(volume_1mm.shape) < POOL:
        raise InferenceError(f"Brain extraction needs a 3-D volume at 1 mm; this one has shape {volume_1mm.shape}")
    probability = _probability(normalise(volume_1mm), device, model)
    coarse = _one_solid_piece(probability > THRESHOLD)
    if not coarse.any():
        raise InferenceError("No brain was found in the reference image; is this a head MR study?")
    within = np.maximum(probability, np.float32(THRESHOLD + 0.01))
    probability = np.where(coarse, within, np.minimum(probability, np.float32(THRESHOLD - 0.01)))
    mask = _one_solid_piece(_upsampled(probability, volume_1mm.shape) > THRESHOLD)
    millilitres = np.count_nonzero(mask) / 1000.0
    if millilitres < SMALLEST_BRAIN_ML:
        raise InferenceError(
            f"Only {millilitres:.0f} ml of brain lie in the reference image; the study covers too little"
        )
    return mask


def normalise(volume: FloatArray) -> FloatArray:
    """Intensities between the 1st percentile of the volume and the 99.5th of its brighter part become 0..1.

    Raises:
        InferenceError: when the volume is constant or not finite.
    """
    sample = volume[::2, ::2, ::2]
    if not np.isfinite(sample).all():
        raise InferenceError("The reference image holds values that are not numbers")
    low = float(np.percentile(sample, 1))
    bright = sample[sample > sample.mean()]
    high = float(np.percentile(bright, 99.5)) if bright.size else low
    if high <= low:
        raise InferenceError("The reference image is empty: every voxel has the same value")
    scaled: FloatArray = np.clip((volume - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return scaled


def head_box(coarse: FloatArray, margin: int = MARGIN) -> Box:
    """Bounding box of the largest bright piece of a normalised image at 3 mm, widened by `margin` voxels.

    The network normalises by the statistics of what it sees, so that the amount of air must not vary.
    """
    bright = cc3d.largest_k(coarse > AIR, k=1, connectivity=6) > 0
    first, second, third = (
        slice(max(int(axis.min()) - margin, 0), min(int(axis.max()) + margin + 1, size))
        for axis, size in zip(np.nonzero(bright), bright.shape, strict=True)
    )
    return first, second, third


@lru_cache(maxsize=2)
def _network(model: Path, device: str) -> torch.nn.Module:
    from safetensors.torch import load_file

    from inference.brain_network import BrainNetwork

    try:
        folder = read_model_folder(model, MODEL_KIND)
        network = BrainNetwork(**folder.card["architecture"])
        network.load_state_dict(load_file(folder.weights))
    except (ModelFolderError, KeyError, TypeError, RuntimeError) as problem:
        raise InferenceError(f"The brain extraction model cannot be used: {problem}") from problem
    return network.to(device).eval()


def _probability(normalised: FloatArray, device: str, model: Path) -> FloatArray:
    """Probability of brain at 3 mm (the extents rounded up), averaged over the image and its mirror image."""
    import torch
    from torch.nn import functional

    network = _network(model, device)
    padding = [(0, -size % POOL) for size in normalised.shape]
    padded = np.pad(normalised, padding, mode="edge")
    with torch.inference_mode():
        coarse = functional.avg_pool3d(torch.from_numpy(padded)[None, None], POOL)
        box = head_box(coarse[0, 0].numpy())
        image = coarse[..., *box]
        shape = image.shape[2:]
        image = functional.pad(image, padding_at_the_ends(shape)).to(device)
        mirrored = network(image.flip(-1)).flip(-1)
        inside = torch.sigmoid((network(image) + mirrored) / 2)[0, 0].cpu().numpy()
    probability = np.zeros(coarse.shape[2:], dtype=np.float32)
    probability[box] = inside[: shape[0], : shape[1], : shape[2]]
    return probability


def padding_at_the_ends(shape: Sequence[int]) -> list[int]:
    """Padding, in the order of `torch.nn.functional.pad`, that brings extents to what the network takes."""
    return [end for size in reversed(shape) for end in (0, max(-size % STRIDE, 2 * STRIDE - size))]


def _upsampled(probability: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    import torch
    from torch.nn import functional

    image = torch.from_numpy(probability)[None, None]
    fine = functional.interpolate(image, scale_factor=POOL, mode="trilinear", align_corners=False)
    result: FloatArray = fine[0, 0, : shape[0], : shape[1], : shape[2]].numpy()
    return result


def _one_solid_piece(mask: BoolArray) -> BoolArray:
    """The largest 6-connected component with its cavities filled."""
    if not mask.any():
        return mask
    largest = cc3d.largest_k(mask, k=1, connectivity=6) > 0
    outside = np.pad(~largest, 1, constant_values=True)
    background = cc3d.connected_components(outside, connectivity=6)
    filled: BoolArray = background[1:-1, 1:-1, 1:-1] != background[0, 0, 0]
    return filled

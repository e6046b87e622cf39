"""Our own segmentation network: a MONAI U-Net on the brain at its own spacing, in one window.

`model.json`, which `training.segmentation` writes, tells the architecture, spacing and channel order of the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backends.channels import stacked_channels
from inference.backends.devices import resolve_device
from inference.contracts import BoolArray, FloatArray, InferenceError, LabelArray, PreparedStudy
from inference.model_folder import ModelFolder, ModelFolderError, read_model_folder
from longitudinal.types import AlgorithmIdentity, Contrast

if TYPE_CHECKING:
    import torch
    from torch import nn

MODEL_KIND = "segmentation"
CHANNEL_ORDER = (Contrast.T1C, Contrast.T1, Contrast.T2, Contrast.FLAIR)
CLASSES = 5
"""Background and the four compartments; the class index is `Compartment.label`."""

STRIDE = 16
"""Extents of the network's input are multiples of this."""

_CLIP_QUANTILES = (0.005, 0.995)
_LIMIT_SD = 5.0


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """The network that an `architecture` entry of `model.json` describes: logits of `CLASSES` from four channels.

    Raises:
        ModelFolderError: when the architecture is not the one that this version knows.
    """
    from monai.networks.nets import UNet

    if architecture.get("name") != "monai.networks.nets.UNet":
        raise ModelFolderError(f"unknown network architecture {architecture.get('name')!r} in model.json")
    return UNet(
        spatial_dims=3,
        in_channels=len(CHANNEL_ORDER),
        out_channels=CLASSES,
        channels=architecture["channels"],
        strides=architecture["strides"],
        num_res_units=architecture["residual_units"],
        norm="instance",
    )


def normalise(channels: FloatArray, brain: BoolArray) -> FloatArray:
    """Clip each channel to its 0.5-99.5 % range in the brain, bring it to mean 0 and SD 1 there, and set 0 outside.

    Args:
        channels: (channel, slice, row, column), any units.
        brain: bool, (slice, row, column), not empty.
    """
    out = np.zeros_like(channels, dtype=np.float32)
    for source, target in zip(channels, out, strict=True):
        values = source[brain]
        low, high = np.quantile(values, _CLIP_QUANTILES)
        values = np.clip(values, low, high)
        spread = max(float(values.std()), 1e-6)
        target[brain] = np.clip((values - values.mean()) / spread, -_LIMIT_SD, _LIMIT_SD)
    return out


class OwnNetwork:
    """`SegmentationBackend` of a model folder of kind "segmentation"."""

    def __init__(self, folder: ModelFolder, network: nn.Module, device: torch.device) -> None:
        self._folder = folder
        self._network = network.to(device).eval()
        self._device = device
        self._spacing_mm = float(folder.card["spacing_mm"])

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> OwnNetwork:
        """Read, verify and build the network.

        Raises:
            ModelFolderError: when the folder is incomplete, damaged, of another kind, or its weights do not fit its
                architecture.
            InferenceError: when the device is unknown or not there.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        read = read_model_folder(folder, MODEL_KIND)
        missing = {"architecture", "spacing_mm", "channels"} - read.card.keys()
        if missing:
            raise ModelFolderError(f"{folder / 'model.json'} lacks {', '.join(sorted(missing))}")
        if tuple(read.card["channels"]) != CHANNEL_ORDER:
            raise ModelFolderError(f"{folder} wants channels {read.card['channels']}, not {list(CHANNEL_ORDER)}")
        network = build_network(read.card["architecture"])
        try:
            network.load_state_dict(load_file(read.weights))
        except (RuntimeError, SafetensorError) as problem:
            raise ModelFolderError(f"the weights in {folder} do not fit its architecture: {problem}") from problem
        return cls(read, network, resolve_device(device))

    @property
    def identity(self) -> AlgorithmIdentity:
        return self._folder.identity

    def segment(self, study: PreparedStudy) -> LabelArray:
        """Label the working grid. Probabilities are interpolated to it before the most probable class is taken, so
        that the coarser grid of the network does not show in the outline.

        Raises:
            InferenceError: when the brain mask is empty or a contrast and its stand-in are missing.
        """
        if not study.brain.any():
            raise InferenceError("The brain mask of the study is empty: nothing can be segmented")
        box, padding = self._window(study.brain, study.working.spacing)
        channels = np.pad(stacked_channels(study, CHANNEL_ORDER)[:, *box], ((0, 0), *padding))
        brain = np.pad(study.brain[box], padding)
        found = self._most_probable(normalise(channels, brain))
        inner = tuple(slice(before, n - after) for (before, after), n in zip(padding, found.shape, strict=True))
        labels = np.zeros(study.brain.shape, dtype=np.uint8)
        labels[box] = found[inner]
        labels[~study.brain] = 0
        return labels

    def _window(
        self, brain: BoolArray, spacing_mm: tuple[float, ...]
    ) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
        """The bounding box of the brain, widened to whole strides of the network: slices, and padding beyond edges."""
        slices, padding = [], []
        for axis, spacing in enumerate(spacing_mm):
            others = tuple(a for a in range(3) if a != axis)
            used = np.flatnonzero(brain.any(axis=others))
            step = STRIDE * self._spacing_mm / spacing
            extent = round(np.ceil((used[-1] - used[0] + 1) / step) * step)
            start = int(used[0] - (extent - (used[-1] - used[0] + 1)) // 2)
            inside = slice(max(start, 0), min(start + extent, brain.shape[axis]))
            slices.append(inside)
            padding.append((inside.start - start, start + extent - inside.stop))
        return tuple(slices), padding

    def _most_probable(self, channels: FloatArray) -> LabelArray:
        import torch
        from torch.nn import functional

        extents = channels.shape[1:]
        with torch.inference_mode():
            image = torch.from_numpy(channels)[None].to(self._device)
            image = functional.interpolate(image, size=self._network_extents(extents), mode="trilinear")
            probable = torch.softmax(self._network(image).float(), dim=1)
            full = functional.interpolate(probable, size=extents, mode="trilinear")
            best = full[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return np.asarray(best, dtype=np.uint8)

    def _network_extents(self, extents: tuple[int, ...]) -> list[int]:
        return [max(STRIDE, round(n / self._spacing_mm / STRIDE) * STRIDE) for n in extents]

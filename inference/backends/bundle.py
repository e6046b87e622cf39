"""Any MONAI bundle for brain tumours in the layout of `brats_mri_segmentation` as a segmentation backend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from inference.backends.bundle_config import (
    SCRIPT_FILE,
    STATE_FILE,
    BundleConfig,
    build_network,
    read_bundle_config,
)
from inference.backends.channels import stacked_channels
from inference.backends.devices import resolve_device
from inference.contracts import BoolArray, FloatArray, InferenceError, LabelArray, PreparedStudy
from inference.model_folder import sha256_of
from longitudinal.types import AlgorithmIdentity, Compartment, Contrast

if TYPE_CHECKING:
    import torch
    from torch import nn

Scalar = TypeVar("Scalar", np.float32, np.uint8)

MARGIN = 4
GRID_AXES = "SPL"
"""Direction of growing slice, row and column index of the working grid."""
OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S"}

CONTRASTS = (
    (r"flair|t2f", Contrast.FLAIR),
    (r"t1\W*(c|ce|gd|post|contrast)|gd|post|enhanced", Contrast.T1C),
    (r"t1", Contrast.T1),
    (r"t2", Contrast.T2),
)
BACKGROUND = "background"
WHOLE, CORE = "whole", "core"
OUTPUTS = (
    (r"background", BACKGROUND),
    (r"non.?enhanc|necro|\bncr|\bnet", Compartment.NECROTIC),
    (r"cavity|resect|\brc\b", Compartment.CAVITY),
    (r"edema|oedema|snfh|\bed\b", Compartment.OEDEMA),
    (r"whole|\bwt\b", WHOLE),
    (r"enhanc|\bet\b", Compartment.ENHANCING),
    (r"core|\btc\b", CORE),
)
"""Patterns of channel names, the first that matches counts ("non-enhancing tumor core" is no enhancing tumour)."""


@dataclass(frozen=True)
class OutputMap:
    """What the output channels mean.

    `exclusive`: one label per voxel (softmax with a background channel); otherwise overlapping regions (sigmoid).
    `paint`: (channel, label) in the order in which labels are written, later ones over earlier ones.
    """

    exclusive: bool
    paint: tuple[tuple[int, int], ...]

    @classmethod
    def from_names(cls, names: Sequence[str]) -> OutputMap:
        """Read channel names of `metadata.json`.

        Raises:
            InferenceError: when a name is not understood or the whole tumour cannot be told.
        """
        meanings = [_meaning(name) for name in names]
        exclusive = BACKGROUND in meanings
        labels: dict[str, int] = {str(c): c.label for c in Compartment}
        if not exclusive:
            labels |= {WHOLE: Compartment.OEDEMA.label, CORE: Compartment.NECROTIC.label}
        unknown = [name for name, meaning in zip(names, meanings, strict=True) if meaning not in {*labels, BACKGROUND}]
        if unknown:
            raise InferenceError(f"The bundle's output channel '{unknown[0]}' is not understood beside {list(names)}")
        order = [BACKGROUND, WHOLE, Compartment.OEDEMA, CORE, Compartment.NECROTIC, Compartment.ENHANCING]
        ranked = sorted(range(len(names)), key=lambda i: [*map(str, order), *labels].index(str(meanings[i])))
        return cls(exclusive, tuple((i, labels.get(str(meanings[i]), 0)) for i in ranked))

    def labels(self, logits: torch.Tensor) -> LabelArray:
        """Labels of our scheme from logits (channel, *extents)."""
        if self.exclusive:
            table = np.zeros(len(self.paint), dtype=np.uint8)
            for channel, label in self.paint:
                table[channel] = label
            best: LabelArray = table[logits.argmax(dim=0).cpu().numpy()]
            return best
        inside = (logits > 0).cpu().numpy()  # sigmoid over 0.5
        result = np.zeros(inside.shape[1:], dtype=np.uint8)
        for channel, label in self.paint:
            result[inside[channel]] = label
        return result


class MonaiBundle:
    """A network from a MONAI bundle, run on the brain's bounding box with the bundle's own normalisation."""

    def __init__(
        self, network: nn.Module, config: BundleConfig, identity: AlgorithmIdentity, device: torch.device
    ) -> None:
        self._network = network.to(device).eval()
        self._config = config
        self._identity = identity
        self._device = device
        self._order = tuple(_contrast(name) for name in config.inputs)
        self._outputs = OutputMap.from_names(config.outputs)

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> MonaiBundle:
        """Load a bundle: `models/model.pt` (a state dict) with the network of its configuration, or else
        `models/model.ts` (TorchScript).

        Raises:
            InferenceError: when something is missing, damaged or not supported; nothing of the bundle's
                configuration is run.
        """
        config = read_bundle_config(folder)
        target = resolve_device(device)
        state, script = folder / STATE_FILE, folder / SCRIPT_FILE
        if state.is_file() and config.network is not None:
            network, weights = _from_state(state, config.network), state
        elif script.is_file():
            network, weights = _from_script(script), script
        else:
            raise InferenceError(
                f"{folder} holds no network: no {STATE_FILE} with network_def in its configuration or {SCRIPT_FILE}"
            )
        identity = AlgorithmIdentity(
            name=config.name,
            version=config.version,
            weights_sha256=sha256_of(weights),
            parameters=("format=MONAI bundle", f"inputs={','.join(config.inputs)}"),
            manufacturer="MONAI bundle",
        )
        return cls(network, config, identity, target)

    @property
    def identity(self) -> AlgorithmIdentity:
        return self._identity

    def segment(self, study: PreparedStudy) -> LabelArray:
        """Label the working grid in our scheme.

        Raises:
            InferenceError: when a contrast is missing, the brain is empty, or the network does not fit its own
                description.
        """
        if not study.brain.any():
            raise InferenceError("The brain mask of the study is empty")
        box = _box(study.brain)
        volume = stacked_channels(study, self._order)[:, *box]
        turned = _turned(_normalised(volume, self._config), GRID_AXES, self._config.axes)
        found = self._outputs.labels(self._logits(turned))
        labels = np.zeros(study.brain.shape, dtype=np.uint8)
        labels[box] = _turned(found[None], self._config.axes, GRID_AXES)[0]
        labels[~study.brain] = 0
        return labels

    def _logits(self, volume: FloatArray) -> torch.Tensor:
        import torch
        from monai.inferers import sliding_window_inference

        extents = volume.shape[1:]
        window = tuple(
            min(size, extent + -extent % self._config.multiple_of)
            for size, extent in zip(self._config.window or (10_000,) * 3, extents, strict=True)
        )
        image = torch.from_numpy(np.ascontiguousarray(volume))[None].to(self._device)
        mixed = self._config.amp and self._device.type == "cuda"
        try:
            with torch.inference_mode(), torch.autocast(self._device.type, enabled=mixed):
                logits = sliding_window_inference(image, window, 1, self._forward, overlap=self._config.overlap)
        except RuntimeError as problem:
            raise InferenceError(f"The bundle's network failed on input {tuple(image.shape)}: {problem}") from problem
        if not isinstance(logits, torch.Tensor) or logits.shape[1] != len(self._config.outputs):
            raise InferenceError(
                f"The bundle's network does not give the {len(self._config.outputs)} channels it names"
            )
        return logits[0].float()

    def _forward(self, window: torch.Tensor) -> torch.Tensor:
        output = self._network(window)
        first: torch.Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return first


def _from_state(file: Path, definition: dict[str, object]) -> nn.Module:
    import pickle

    import torch

    network = build_network(definition)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as problem:
        raise InferenceError(f"{file} does not hold plain weights, so it is not opened: {problem}") from problem
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise InferenceError(f"{file} does not hold a state dict")
    try:
        network.load_state_dict(content)
    except RuntimeError as problem:
        raise InferenceError(f"{file} does not fit the network of the configuration: {problem}") from problem
    return network


def _from_script(file: Path) -> nn.Module:
    import torch

    try:
        network: nn.Module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as problem:
        raise InferenceError(f"{file} is no intact TorchScript file: {problem}") from problem
    return network


def _contrast(name: str) -> Contrast:
    for pattern, contrast in CONTRASTS:
        if re.search(pattern, name.lower()):
            return contrast
    raise InferenceError(f"The bundle's input channel '{name}' is none of T1, T1c, T2, FLAIR")


def _meaning(name: str) -> str:
    return next((str(meaning) for pattern, meaning in OUTPUTS if re.search(pattern, name.lower())), "")


def _normalised(volume: FloatArray, config: BundleConfig) -> FloatArray:
    """MONAI's NormalizeIntensity with the bundle's settings."""
    from monai.transforms import NormalizeIntensity

    normalise = NormalizeIntensity(nonzero=config.normalise_nonzero, channel_wise=config.normalise_channelwise)
    return np.asarray(normalise(volume), dtype=np.float32)


def _turned(volume: npt.NDArray[Scalar], source: str, target: str) -> npt.NDArray[Scalar]:
    """Array (channel, *extents) from one orientation of the axes to another, such as SPL to RAS."""
    if len(target) != 3 or any(axis not in OPPOSITE for axis in target):
        raise InferenceError(f"The bundle's orientation '{target}' is not understood")
    order = [next(i for i, axis in enumerate(source) if wanted in (axis, OPPOSITE[axis])) for wanted in target]
    turned = volume.transpose(0, *(i + 1 for i in order))
    flips = [i + 1 for i, wanted in enumerate(target) if source[order[i]] != wanted]
    return np.flip(turned, axis=tuple(flips)) if flips else turned


def _box(mask: BoolArray) -> tuple[slice, slice, slice]:
    first, second, third = (
        slice(max(int(axis.min()) - MARGIN, 0), min(int(axis.max()) + MARGIN + 1, size))
        for axis, size in zip(np.nonzero(mask), mask.shape, strict=True)
    )
    return first, second, third

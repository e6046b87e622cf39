"""The MSNet cascade as a segmentation backend: whole tumour, then core, then enhancing core (arXiv:1709.00382).

Three nets look along the axial, sagittal and coronal axis at each stage and their probabilities are averaged. The
weights (BSD-3, University College London) are not part of this distribution; a folder that holds
`msnet_brats17.safetensors` is named by the operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.backends.channels import stacked_channels
from inference.backends.devices import resolve_device
from inference.contracts import BoolArray, FloatArray, InferenceError, LabelArray, PreparedStudy
from inference.model_folder import sha256_of
from longitudinal.types import AlgorithmIdentity, Compartment, Contrast

if TYPE_CHECKING:
    import torch

    from inference.backends.msnet_network import MsNet

WEIGHTS_FILE = "msnet_brats17.safetensors"
ORDER = (Contrast.FLAIR, Contrast.T1, Contrast.T1C, Contrast.T2)
SEED = 1709
MARGIN = 5
SLABS_PER_BATCH = 5
IN, OUT = 19, 11
SMALLEST_TUMOUR = 2000
SECOND_CORE_FRACTION = 0.1
SMALLEST_ENHANCING = 30
TRANSPOSED = {"axial": (0, 1, 2), "sagittal": (2, 0, 1), "coronal": (1, 0, 2)}
WHOLE_FLOOR = {"axial": (180, 160), "sagittal": (160, 180), "coronal": (160, 160)}
CORE_FLOOR = dict.fromkeys(TRANSPOSED, (96, 96))

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Stage:
    """The three nets of one target and the smallest in-plane size that each is given."""

    nets: dict[str, MsNet]
    floor: dict[str, tuple[int, int]]
    device: torch.device

    def foreground(self, volume: FloatArray, random: np.random.Generator) -> BoolArray:
        """Foreground of channels (channel, slice, row, column) by the mean probability of the three planes."""
        total = np.zeros(volume.shape[1:], dtype=np.float32)
        for plane, axes in TRANSPOSED.items():
            turned = volume.transpose(0, *(axis + 1 for axis in axes))
            probability = self._along_plane(turned, plane, random)
            total += probability.transpose(np.argsort(axes))
        result: BoolArray = total / len(TRANSPOSED) > 0.5
        return result

    def _along_plane(self, volume: FloatArray, plane: str, random: np.random.Generator) -> FloatArray:
        import torch

        net = self.nets[plane]
        depth, rows, columns = volume.shape[1:]
        padded, corner = _padded(volume, self.floor[plane], random)
        probability = np.zeros((depth, rows, columns), dtype=np.float32)
        centres = [min(centre, depth - OUT // 2) for centre in range(OUT // 2, depth + OUT // 2, OUT)]
        inner = (slice(corner[0], corner[0] + rows), slice(corner[1], corner[1] + columns))
        for batch in _batches(centres):
            slabs = np.empty((SLABS_PER_BATCH, volume.shape[0], IN, *padded.shape[2:]), dtype=np.float32)
            for position in range(SLABS_PER_BATCH):
                if position < len(batch):
                    # The padding along the slices is IN // 2, so that a slab centred on c starts at c.
                    slabs[position] = padded[:, batch[position] : batch[position] + IN]
                else:
                    random.standard_normal(out=slabs[position], dtype=np.float32)
            with torch.inference_mode():
                logits = net(torch.from_numpy(slabs).to(self.device))
                tumour = torch.softmax(logits, dim=1)[: len(batch), 1].cpu().numpy()
            for centre, slab in zip(batch, tumour, strict=True):
                first = centre - OUT // 2
                target = probability[max(first, 0) : first + OUT]
                start = max(-first, 0)
                target[:] = slab[start : start + len(target), inner[0], inner[1]]
        return probability


class MsnetCascade:
    """Segments a glioma with the nine nets of the cascade; the same study gives the same labels.

    Tumours under 2 ml are not found: the published recipe drops such components.
    """

    def __init__(self, stages: dict[str, Stage], identity: AlgorithmIdentity) -> None:
        self._stages = stages
        self._identity = identity

    @classmethod
    def load(cls, folder_or_file: Path, device: str = "auto") -> MsnetCascade:
        """Load the nine nets.

        Args:
            folder_or_file: `msnet_brats17.safetensors` or the folder that holds it.
            device: auto, cpu or cuda.

        Raises:
            InferenceError: when the file is missing or does not hold these nets, or the device is not there.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = folder_or_file / WEIGHTS_FILE if folder_or_file.is_dir() else folder_or_file
        if not file.is_file():
            raise InferenceError(f"{file} does not exist; the MSNet cascade needs its weights there")
        try:
            weights = load_file(file)
        except SafetensorError as problem:
            raise InferenceError(f"{file} is no intact safetensors file: {problem}") from problem
        target = resolve_device(device)
        stages = {
            "wt": Stage(_nets(weights, "wt", file, target), WHOLE_FLOOR, target),
            "tc": Stage(_nets(weights, "tc", file, target), CORE_FLOOR, target),
            "en": Stage(_nets(weights, "en", file, target), CORE_FLOOR, target),
        }
        identity = AlgorithmIdentity(
            name="MSNet cascade (arXiv:1709.00382)",
            version="brats17",
            weights_sha256=sha256_of(file),
            parameters=(f"seed={SEED}", "threshold=0.5"),
            manufacturer="University College London",
        )
        return cls(stages, identity)

    @property
    def identity(self) -> AlgorithmIdentity:
        return self._identity

    def segment(self, study: PreparedStudy) -> LabelArray:
        """Label the working grid: 1 necrotic or non-enhancing core, 2 oedema, 3 enhancing core.

        Raises:
            InferenceError: when a contrast is missing or the FLAIR channel is empty inside the brain.
        """
        volume = stacked_channels(study, ORDER)
        brain = volume[0] > 0
        if not brain.any():
            raise InferenceError("The FLAIR channel is empty inside the brain")
        labels = np.zeros(brain.shape, dtype=np.uint8)
        box = _box(brain)
        labels[box] = self._segment_crop(volume[:, *box], brain[box])
        return labels

    def _segment_crop(self, volume: FloatArray, brain: BoolArray) -> LabelArray:
        random = np.random.default_rng(SEED)
        normalised = _normalised(volume, random)
        whole = _tumours(self._stages["wt"].foreground(normalised, random))
        core = np.zeros_like(whole)
        enhancing = np.zeros_like(whole)
        if whole.any():
            box = _box(whole)
            core[box] = _cores(self._stages["tc"].foreground(normalised[:, *box], random))
        if core.any():
            box = _box(core)
            enhancing[box] = self._stages["en"].foreground(normalised[:, *box], random)
        return _combined(whole, core, enhancing, brain)


def _nets(weights: dict[str, torch.Tensor], stage: str, file: Path, device: torch.device) -> dict[str, MsNet]:
    from inference.backends.msnet_network import MsNet

    nets = {}
    for plane in TRANSPOSED:
        net = MsNet(fine=stage == "en")
        prefix = f"{stage}.{plane}."
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        try:
            net.load_state_dict(own)
        except RuntimeError as problem:
            raise InferenceError(f"{file} does not hold the {stage} {plane} net of the cascade: {problem}") from problem
        nets[plane] = net.to(device).eval()
    return nets


def _batches(centres: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(centres), SLABS_PER_BATCH):
        yield centres[start : start + SLABS_PER_BATCH]


def _padded(
    volume: FloatArray, floor: tuple[int, int], random: np.random.Generator
) -> tuple[FloatArray, tuple[int, int]]:
    """The volume amid noise, and the row and column at which it starts."""
    channels, depth, rows, columns = volume.shape
    height, width = (max(size + -size % 4, least) for size, least in zip((rows, columns), floor, strict=True))
    corner = (height // 2 - rows // 2, width // 2 - columns // 2)
    padded = random.standard_normal((channels, depth + IN + 1, height, width), dtype=np.float32)
    padded[:, IN // 2 : IN // 2 + depth, corner[0] : corner[0] + rows, corner[1] : corner[1] + columns] = volume
    return padded, corner


def _normalised(volume: FloatArray, random: np.random.Generator) -> FloatArray:
    """Each channel to mean 0 and SD 1 over its positive voxels; noise where it is zero."""
    result = np.empty_like(volume)
    for source, target in zip(volume, result, strict=True):
        positive = source[source > 0]
        if positive.size == 0 or positive.std() == 0:
            raise InferenceError("A channel is empty or constant inside the brain")
        noise = random.standard_normal(source.shape, dtype=np.float32)
        target[:] = np.where(source == 0, noise, (source - positive.mean()) / positive.std())
    return result


def _box(mask: BoolArray) -> Box:
    """Bounding box of a mask, widened by the margin."""
    first, second, third = (
        slice(max(int(axis.min()) - MARGIN, 0), min(int(axis.max()) + MARGIN + 1, size))
        for axis, size in zip(np.nonzero(mask), mask.shape, strict=True)
    )
    return first, second, third


def _closed(mask: BoolArray) -> BoolArray:
    result: BoolArray = ndimage.binary_closing(mask, ndimage.generate_binary_structure(3, 2))
    return result


def _components(mask: BoolArray) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]:
    components = cc3d.connected_components(mask, connectivity=18, return_N=False)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components, sizes


def _tumours(mask: BoolArray) -> BoolArray:
    """The closed mask without components of 2,000 voxels and fewer."""
    components, sizes = _components(_closed(mask))
    result: BoolArray = (sizes > SMALLEST_TUMOUR)[components]
    return result


def _cores(mask: BoolArray) -> BoolArray:
    """The largest component of the closed mask, and the second where it is more than a tenth of that."""
    components, sizes = _components(_closed(mask))
    largest = np.argsort(sizes)[::-1][:2]
    keep = np.zeros(sizes.shape, dtype=bool)
    keep[largest[0]] = sizes[largest[0]] > 0
    if len(largest) > 1:
        keep[largest[1]] = sizes[largest[1]] > SECOND_CORE_FRACTION * sizes[largest[0]]
    result: BoolArray = keep[components]
    return result


def _combined(whole: BoolArray, core: BoolArray, enhancing: BoolArray, brain: BoolArray) -> LabelArray:
    inner = _closed(core | enhancing)
    tumour = _tumours((whole | inner) & brain)
    inner &= tumour
    bright = enhancing & inner
    labels = np.where(tumour, Compartment.OEDEMA.label, 0).astype(np.uint8)
    labels[inner] = Compartment.NECROTIC.label
    if np.count_nonzero(bright) >= SMALLEST_ENHANCING:
        labels[bright] = Compartment.ENHANCING.label
    return labels

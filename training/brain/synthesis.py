"""Synthetic MR images of a head by domain randomisation (after SynthSeg, arXiv:2107.09559).

A label map is moved and deformed, every tissue gets an intensity (most often near that of T1, T1c, T2 or FLAIR, else
any), a tumour may be painted into the brain, and what a scanner does is imitated: bias field, thick slices, blur,
noise, a limited field of view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.brain import POOL, STRIDE, head_box, normalise, padding_at_the_ends
from longitudinal.types import Contrast
from training.brain.heads import CSF, FIRST_EXTRACEREBRAL, LABEL_OF_TISSUE, Head
from training.simulate.anatomy import Tissue
from training.simulate.mr import TISSUE_SIGNAL

GRID_MM = 1.5
"""Spacing at which images are made; the network sees averages of 2 x 2 x 2 of these voxels."""
FACTOR = round(POOL / GRID_MM)
WHITE = (2, 7, 16, 28)
GREY = (3, 8, 17, 18, 26, 10, 11, 12, 13)
FLUID = (4, 5, 14, 15, CSF, 72)
KNOWN = {label: tissue for tissue, label in LABEL_OF_TISSUE.items()} | {
    label: tissue for group, tissue in ((WHITE, Tissue.WM), (GREY, Tissue.GM), (FLUID, Tissue.CSF)) for label in group
}
BRIGHTEST = 1.6
"""Largest entry of the table of tissue signals."""


@dataclass(frozen=True)
class TorchHead:
    """A head as tensors: tissue index and brain at 1 mm, and the centre of the brain in voxels."""

    classes: Tensor
    brain: Tensor
    tissues: tuple[int, ...]
    centre: Tensor

    @classmethod
    def from_head(cls, head: Head) -> TorchHead:
        brain = torch.from_numpy(head.brain)
        centre = torch.nonzero(brain[::4, ::4, ::4]).float().mean(0) * 4
        return cls(torch.from_numpy(head.classes), brain, head.tissues, centre)


class Synthesiser:
    """Makes (image, target) pairs; the same seed gives the same sequence. Tissues are painted at `grid_mm`, what a
    scanner does happens at `scan_mm`."""

    grid_mm = GRID_MM
    scan_mm = GRID_MM
    blur_share = 0.5
    most_noise = 0.06

    def __init__(self, heads: list[Head], seed: int) -> None:
        self._heads = [TorchHead.from_head(head) for head in heads]
        self._random = torch.Generator().manual_seed(seed)

    def sample(self) -> tuple[Tensor, Tensor]:
        """Image and brain fraction, both float32 (1, 1, slices, rows, columns) at 3 mm."""
        head = self._heads[self._integer(0, len(self._heads))]
        shape = tuple(STRIDE * self._integer(low, low + 2) for low in (3, 4, 3))
        classes, brain = self._placed(head, shape)
        image = self._tissue(classes, head.tissues)
        if self._chance(0.5):
            for _ in range(self._integer(1, 3)):
                image = self._with_lesion(image, brain)
        image, view = self._scan(image)
        target = functional.avg_pool3d((brain & view).float()[None, None], FACTOR)
        scaled = torch.from_numpy(normalise(image.numpy()))
        return self._cut(functional.avg_pool3d(scaled[None, None], FACTOR), target)

    def _placed(self, head: TorchHead, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Tissue index and brain mask of a head, moved and deformed, on a new grid."""
        grid = self._grid(head, shape)
        index = [axis.round().long().clamp(0, size - 1) for axis, size in zip(grid, head.classes.shape, strict=True)]
        inside = torch.ones(grid[0].shape, dtype=torch.bool)
        for axis, size in zip(grid, head.classes.shape, strict=True):
            inside &= (axis > -0.5) & (axis < size - 0.5)
        flat = (index[0] * head.classes.shape[1] + index[1]) * head.classes.shape[2] + index[2]
        classes = torch.where(inside, head.classes.flatten()[flat], 0)
        brain = torch.where(inside, head.brain.flatten()[flat], torch.tensor(False))
        return classes, brain

    def _cut(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Image and target cut to the head as at inference, but for a little more or less air."""
        box = head_box(image[0, 0].numpy(), self._integer(0, 4))
        cut = image[..., *box]
        ends = padding_at_the_ends(cut.shape[2:])
        return functional.pad(cut, ends), functional.pad(target[..., *box], ends)

    def _grid(self, head: TorchHead, shape: tuple[int, ...]) -> Tensor:
        """Where each voxel of the new image lies in the label map: (3, slices, rows, columns) in its voxels."""
        size = [FACTOR * extent for extent in shape]
        axes = [(torch.arange(n) - (n - 1) / 2) * self.grid_mm for n in size]
        position = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        position = position + self._uniform(-15, 15, 3).view(3, 1, 1, 1)
        matrix = self._affine()
        moved = torch.einsum("ij,j...->i...", matrix, position)
        coarse = self._smooth(5, [10, 10, 10], 3) * self._number(0, 8)
        coarse += torch.randn(coarse.shape, generator=self._random) * self._number(0, 3)
        moved += functional.interpolate(coarse[None], size=size, mode="trilinear", align_corners=True)[0]
        if self._chance(0.5):
            moved[2] = -moved[2]
        return moved + head.centre.view(3, 1, 1, 1)

    def _affine(self) -> Tensor:
        matrix = torch.diag(self._uniform(0.88, 1.12, 3)) + torch.randn(3, 3, generator=self._random) * 0.03
        for first, second, largest in ((0, 1, 18.0), (0, 2, 8.0), (1, 2, 10.0)):
            angle = math.radians(self._number(-largest, largest))
            turn = torch.eye(3)
            turn[first, first] = turn[second, second] = math.cos(angle)
            turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
            matrix = turn @ matrix
        return matrix

    def _tissue(self, classes: Tensor, tissues: tuple[int, ...]) -> Tensor:
        """Intensity 0..1 and texture for each tissue."""
        mean = self._contrast(tissues) if self._chance(0.85) else self._uniform(0.05, 1.0, len(tissues))
        spread = self._uniform(0.0, 0.1, len(tissues)) * self._number(0, 1)
        if self._chance(0.05):
            for position, tissue in enumerate(tissues):
                if tissue >= FIRST_EXTRACEREBRAL:
                    mean[position] = spread[position] = 0.0
        air = tissues.index(0)
        mean[air] = self._number(0, 0.1) if self._chance(0.2) else 0.0
        spread[air] = 0.0
        size = list(classes.shape)
        texture = 1 + self._smooth(30, size, 1)[0] * self._number(0, 0.25)
        index = classes.long()
        return mean[index] * texture + spread[index] * torch.randn(size, generator=self._random)

    def _contrast(self, tissues: tuple[int, ...]) -> Tensor:
        """Intensities near those of one of the four contrasts; what is unknown there is like any other tissue."""
        table = torch.tensor(TISSUE_SIGNAL[list(Contrast)[self._integer(0, len(Contrast))]]) / BRIGHTEST
        known = [KNOWN.get(tissue, self._integer(1, len(Tissue))) for tissue in tissues]
        within = torch.tensor([tissue < FIRST_EXTRACEREBRAL for tissue in tissues])
        group = torch.randn(len(Tissue), generator=self._random)[known] * 0.12
        own = torch.randn(len(tissues), generator=self._random) * torch.where(within, 0.05, 0.4)
        return table[known] * torch.exp(group + own)

    def _with_lesion(self, image: Tensor, brain: Tensor) -> Tensor:
        """Paint up to three nested, irregular, heterogeneous shells into the brain."""
        places = torch.nonzero(brain)
        if len(places) == 0:
            return image
        centre = places[self._integer(0, len(places))].float()
        size = list(image.shape)
        axes = [torch.arange(n, dtype=torch.float32) - c for n, c in zip(size, centre.tolist(), strict=True)]
        stretch = self._uniform(0.7, 1.4, 3)
        squares = [(axis * self.grid_mm / factor) ** 2 for axis, factor in zip(axes, stretch.tolist(), strict=True)]
        distance = (squares[0].view(-1, 1, 1) + squares[1].view(1, -1, 1) + squares[2].view(1, 1, -1)).sqrt()
        distance = distance * (1 + 0.35 * self._smooth(12, size, 1)[0])
        radius = self._number(5, 40)
        texture = 1 + self._smooth(25, size, 1)[0] * self._number(0, 0.4)
        for fraction in (1.0, 0.65, 0.4)[: self._integer(1, 4)]:
            shell = brain & (distance < radius * fraction)
            image = torch.where(shell, self._number(0.0, 1.2) * texture, image)
        return image

    def _scan(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What a scanner adds; also the field of view as a mask."""
        size = list(image.shape)
        image = image * torch.exp(self._smooth(4, size, 1)[0] * self._number(0, 0.4))
        image = image.clamp_min(0) ** math.exp(self._number(-0.3, 0.3))
        if self._chance(self.blur_share):
            for axis in range(3):
                image = _averaged(image, axis, 3)
        if self._chance(0.7):
            image = self._thick_slices(image)
        view = self._field_of_view(size)
        noise = self._number(0, self.most_noise) * torch.randn(size, generator=self._random)
        image = (image + noise).abs() if self._chance(0.7) else image
        return torch.where(view, image, 0.0), view

    def _thick_slices(self, image: Tensor) -> Tensor:
        """Average over 2 to 7 mm along one axis and interpolate back."""
        axis = 0 if self._chance(0.6) else self._integer(1, 3)
        length = image.shape[axis]
        turned = image.movedim(axis, -1).contiguous()
        slices = max(round(length * self.scan_mm / self._number(2, 7)), 4)
        thick = functional.interpolate(turned.flatten(0, 1)[None], size=slices, mode="area")
        back = functional.interpolate(thick, size=length, mode="linear", align_corners=False)
        return back.view(turned.shape).movedim(-1, axis)

    def _field_of_view(self, size: list[int]) -> Tensor:
        """A tilted box that most often holds the whole image."""
        view = torch.ones(size, dtype=torch.bool)
        if self._chance(0.6):
            return view
        tilt = self._uniform(-0.25, 0.25, 3)
        axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size]
        z, y, x = axes[0].view(-1, 1, 1), axes[1].view(1, -1, 1), axes[2].view(1, 1, -1)
        planes = (z + tilt[0] * y + tilt[1] * x, y - tilt[0] * z + tilt[2] * x, x - tilt[1] * z - tilt[2] * y)
        for plane, extent in zip(planes, size, strict=True):
            if self._chance(0.6):
                view &= plane > -extent / 2 * self._number(0.7, 1.0)
            if self._chance(0.6):
                view &= plane < extent / 2 * self._number(0.7, 1.0)
        return view

    def _smooth(self, nodes: int, size: list[int], channels: int) -> Tensor:
        """Smooth random fields of about unit spread: (channels, *size)."""
        coarse = torch.randn(1, channels, nodes, nodes, nodes, generator=self._random)
        fine = functional.interpolate(coarse, size=size, mode="trilinear", align_corners=True)
        return fine[0]

    def _uniform(self, low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=self._random)

    def _number(self, low: float, high: float) -> float:
        return float(self._uniform(low, high, 1))

    def _integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=self._random))

    def _chance(self, probability: float) -> bool:
        return self._number(0, 1) < probability


def _averaged(image: Tensor, axis: int, width: int) -> Tensor:
    turned = image.movedim(axis, -1).contiguous()
    flat = turned.flatten(0, 1)[None]
    smooth = functional.avg_pool1d(flat, width, stride=1, padding=width // 2, count_include_pad=False)
    return smooth.view(turned.shape).movedim(-1, axis)

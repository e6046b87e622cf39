"""Synthetic head images of a known contrast (domain randomisation after SynthSeg, arXiv:2107.09559).

The anatomy, deformation and scanner effects are those of `training.brain.synthesis`; here every tissue gets an
intensity in the order that makes the contrast what it is. "Other" is what a study holds besides: proton density, T2*,
diffusion, ADC, angiography, susceptibility, anisotropy, CT, arbitrary intensities, and what is no head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from inference.brain import normalise
from inference.pixel_contrast import CLASSES, GRID_MM, SHAPE, framed
from longitudinal.types import Contrast
from training.brain.heads import FIRST_EXTRACEREBRAL
from training.brain.synthesis import BRIGHTEST, FACTOR, KNOWN, Synthesiser
from training.simulate.anatomy import Tissue
from training.simulate.mr import TISSUE_SIGNAL

TISSUE_SD = 0.14
"""SD of the logarithm of a tissue's level between protocols."""

OTHER_SIGNAL: Mapping[str, Sequence[float]] = {
    # air, CSF, GM, WM, vessel, bone, marrow, muscle, fat, skin, eye
    "proton density": (0.01, 0.90, 0.95, 0.78, 0.30, 0.08, 0.70, 0.60, 0.95, 0.60, 0.90),
    "T2*": (0.01, 0.95, 0.82, 0.72, 0.15, 0.03, 0.15, 0.45, 0.40, 0.40, 0.90),
    "diffusion": (0.01, 0.12, 0.85, 0.72, 0.10, 0.03, 0.08, 0.12, 0.06, 0.08, 0.10),
    "ADC": (0.02, 1.50, 0.46, 0.42, 0.50, 0.10, 0.20, 0.40, 0.15, 0.25, 1.30),
    "angiography": (0.02, 0.20, 0.42, 0.38, 1.60, 0.04, 0.10, 0.35, 0.30, 0.45, 0.30),
    "susceptibility": (0.02, 0.85, 0.76, 0.68, 0.05, 0.03, 0.10, 0.50, 0.30, 0.30, 0.80),
    "anisotropy": (0.02, 0.06, 0.20, 0.90, 0.10, 0.08, 0.10, 0.20, 0.10, 0.10, 0.05),
    "CT": (0.00, 0.42, 0.46, 0.44, 0.50, 1.60, 0.80, 0.48, 0.20, 0.42, 0.45),
}

# Levels of the shells of a painted lesion, outside in: (low, high) of oedema, rim and core, in units of TISSUE_SIGNAL.
_LESION: Mapping[Contrast, Sequence[tuple[float, float]]] = {
    Contrast.T1: ((0.40, 0.65), (0.35, 0.62), (0.22, 0.45)),
    Contrast.T1C: ((0.45, 0.68), (1.05, 1.55), (0.25, 0.50)),
    Contrast.T2: ((0.95, 1.45), (0.85, 1.30), (1.00, 1.60)),
    Contrast.FLAIR: ((0.95, 1.45), (0.85, 1.30), (0.30, 1.10)),
}
_SHELLS = (1.0, 0.65, 0.45)


def has_order_of(contrast: Contrast, level: Mapping[Tissue, float]) -> bool:
    """Whether CSF, grey and white matter stand in the order that makes an image this contrast."""
    csf, grey, white = level[Tissue.CSF], level[Tissue.GM], level[Tissue.WM]
    if contrast in (Contrast.T1, Contrast.T1C):
        return white > 1.06 * grey and grey > 1.4 * csf
    if contrast is Contrast.T2:
        return csf > 1.3 * grey and grey > 1.08 * white
    return grey > 1.04 * white and csf < 0.7 * white


class ContrastSynthesiser(Synthesiser):
    """Makes (image, class) pairs for the network; the same seed gives the same sequence."""

    grid_mm = GRID_MM / FACTOR
    scan_mm = GRID_MM
    blur_share = 0.15
    most_noise = 0.03

    def labelled(self, count: int) -> list[tuple[Tensor, int]]:
        """Images of one head, float32 `SHAPE`, each with its index in `CLASSES`, all classes alike often."""
        head = self._heads[self._integer(0, len(self._heads))]
        classes, within = self._placed(head, SHAPE)
        brain = functional.avg_pool3d(within.float()[None, None], FACTOR)[0, 0] > 0.5
        labels = [self._integer(0, len(CLASSES)) for _ in range(count)]
        return [(self._image(classes, head.tissues, brain, CLASSES[label]), label) for label in labels]

    def _image(self, classes: Tensor, tissues: tuple[int, ...], brain: Tensor, contrast: Contrast | None) -> Tensor:
        """The head in this contrast, as `inference.pixel_contrast.network_input` would show it."""
        while True:
            image, _ = self._scan(self._signal(classes, tissues, brain, contrast))
            coarse = image.numpy()
            if (coarse > 0.12 * coarse.max()).sum() > 500:
                return torch.from_numpy(framed(normalise(coarse), self._integer(0, 3)))

    def _signal(self, classes: Tensor, tissues: tuple[int, ...], brain: Tensor, contrast: Contrast | None) -> Tensor:
        if contrast is None and self._chance(0.1):
            return self._no_head(list(SHAPE))
        image = self._painted(classes, tissues, self._levels(contrast))
        if contrast is Contrast.T1C:
            image = self._enhanced(image, brain)
        if self._chance(0.8 if contrast is Contrast.T1C else 0.6):
            image = self._lesion(image, brain, contrast)
        if self._chance(0.12):
            image = torch.where(brain, image, 0.0)
        return image

    def _levels(self, contrast: Contrast | None) -> Tensor:
        """A level for each tissue that keeps the order of the contrast; for "other" one that has none of theirs."""
        while True:
            base = torch.tensor(self._other() if contrast is None else TISSUE_SIGNAL[contrast])
            table = base * torch.exp(torch.randn(len(Tissue), generator=self._random) * TISSUE_SD)
            if self._chance(0.3):
                fatty = [int(Tissue.FAT), int(Tissue.MARROW), int(Tissue.SKIN)]
                table[fatty] *= self._number(0.15, 0.5)
            levels = {tissue: float(table[tissue]) for tissue in (Tissue.CSF, Tissue.GM, Tissue.WM)}
            if contrast is None or has_order_of(contrast, levels):
                return table / BRIGHTEST

    def _other(self) -> list[float]:
        if self._chance(0.75):
            return list(list(OTHER_SIGNAL.values())[self._integer(0, len(OTHER_SIGNAL))])
        while True:
            table = self._uniform(0.05, 1.6, len(Tissue))
            levels = {tissue: float(table[tissue]) for tissue in (Tissue.CSF, Tissue.GM, Tissue.WM)}
            if not any(has_order_of(contrast, levels) for contrast in Contrast):
                return [float(v) for v in table]

    def _painted(self, classes: Tensor, tissues: tuple[int, ...], table: Tensor) -> Tensor:
        known = [KNOWN.get(tissue, self._integer(1, len(Tissue))) for tissue in tissues]
        within = torch.tensor([tissue < FIRST_EXTRACEREBRAL for tissue in tissues])
        own = torch.randn(len(tissues), generator=self._random) * torch.where(within, 0.04, 0.3)
        mean = table[known] * torch.exp(own)
        mean[tissues.index(0)] = self._number(0, 0.06) if self._chance(0.2) else 0.0
        image = functional.avg_pool3d(mean[classes.long()][None, None], FACTOR)[0, 0]
        size = list(image.shape)
        texture = 1 + self._smooth(24, size, 1)[0] * self._number(0, 0.12)
        grain = 1 + torch.randn(size, generator=self._random) * self._number(0, 0.05)
        return image * texture * grain

    def _enhanced(self, image: Tensor, brain: Tensor) -> Tensor:
        """Contrast agent outside a tumour: sinuses in the midline, dura in places, mucosa, vessels between gyri."""
        reach = self._integer(1, 3)
        grown = functional.max_pool3d(brain.float()[None, None], 2 * reach + 1, 1, reach)[0, 0] > 0
        rim = grown & ~brain
        size = list(image.shape)
        column = torch.arange(size[2], dtype=torch.float32)
        middle = column[brain.any(0).any(0)].mean() if brain.any() else torch.tensor(size[2] / 2)
        sinus = rim & ((column - middle).abs() * self.scan_mm < self._number(3, 7)).view(1, 1, -1)
        field = self._smooth(14, size, 1)[0]
        bright = (sinus & (field > -1.0)) | (rim & (field > self._number(0.8, 2.0)))
        fine = self._smooth(40, size, 1)[0]
        bright |= (brain | rim) & (fine > self._number(1.9, 2.6))
        outside = ~grown & (image > 0.1)
        bright |= outside & (self._smooth(18, size, 1)[0] > self._number(1.3, 2.2))
        share = self._number(0.5, 1.0)  # most of it is thinner than a voxel
        return torch.where(bright, share * self._number(0.95, 1.6) / BRIGHTEST + (1 - share) * image, image)

    def _lesion(self, image: Tensor, brain: Tensor, contrast: Contrast | None) -> Tensor:
        """An irregular lesion of up to three shells with the levels that it has in this contrast."""
        places = torch.nonzero(brain)
        if len(places) == 0:
            return image
        centre = places[self._integer(0, len(places))].tolist()
        size = list(image.shape)
        z, y, x = ((torch.arange(n, dtype=torch.float32) - c) * self.scan_mm for n, c in zip(size, centre, strict=True))
        distance = (z.view(-1, 1, 1) ** 2 + y.view(1, -1, 1) ** 2 + x.view(1, 1, -1) ** 2).sqrt()
        distance = distance * (1 + 0.35 * self._smooth(12, size, 1)[0])
        radius = self._number(6, 36)
        texture = 1 + self._smooth(25, size, 1)[0] * self._number(0, 0.25)
        haemorrhage = contrast is Contrast.T1 and self._chance(0.05)
        levels = _LESION[Contrast.T1C if haemorrhage else contrast] if contrast else ((0.2, 1.5),) * 3
        for fraction, (low, high) in zip(_SHELLS, levels, strict=True):
            if self._chance(0.8):
                shell = brain & (distance < radius * fraction)
                image = torch.where(shell, self._number(low, high) / BRIGHTEST * texture, image)
        return image

    def _no_head(self, size: list[int]) -> Tensor:
        """Smooth blobs of arbitrary brightness: another body part, a phantom, an error."""
        body = self._smooth(self._integer(3, 7), size, 1)[0] > self._number(-0.5, 0.5)
        inner = 0.5 + 0.25 * self._smooth(self._integer(8, 30), size, 1)[0]
        return torch.where(body, inner.clamp_min(0.05), 0.0)

"""The network that tells the contrast of an image: five convolutions on blocks of 2 x 2 x 2 voxels, and what is largest
and average in the last of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.utils import pixelunshuffle
from torch import Tensor, nn

BLOCK = 2


class ContrastNetwork(nn.Module):
    """Logits of the classes for each image: (batch, 1, slices, rows, columns) in, (batch, classes) out.

    `channels` are those of the convolutions; every second one halves the extents, which must be multiples of 8.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = BLOCK**3
        for position, width in enumerate(channels):
            layers += [
                nn.Conv3d(before, width, kernel_size=3, stride=1 + position % 2, padding=1, bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            ]
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * before, classes)

    def forward(self, image: Tensor) -> Tensor:
        found = self.features(pixelunshuffle(image, spatial_dims=3, scale_factor=BLOCK)).flatten(2)
        out: Tensor = self.head(torch.cat([found.mean(2), found.amax(2)], dim=1))
        return out

"""The network that finds the brain: a U-Net on blocks of 2 x 2 x 2 voxels.

The eight voxels of a block are channels (sub-pixel convolution, arXiv:1609.05158): a quarter of the work of a U-Net on
single voxels, with the edges kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import UNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

BLOCK = 2


class BrainNetwork(nn.Module):
    """Logit of brain for each voxel of one image: (batch, 1, slices, rows, columns) in and out.

    `channels` are those of the U-Net's levels, each of half the resolution of the one before; extents must be
    multiples of 2 to the power of the number of levels less one.
    """

    def __init__(self, channels: Sequence[int], residual_units: int) -> None:
        super().__init__()
        self.unet = UNet(
            spatial_dims=3,
            in_channels=BLOCK**3,
            out_channels=channels[0],
            channels=tuple(channels),
            strides=(1, *[2] * (len(channels) - 2)),
            num_res_units=residual_units,
            norm=("instance", {"affine": True}),
        )
        self.head = nn.Conv3d(channels[0], BLOCK**3, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        blocks = pixelunshuffle(image, spatial_dims=3, scale_factor=BLOCK)
        return pixelshuffle(self.head(self.unet(blocks)), spatial_dims=3, scale_factor=BLOCK)

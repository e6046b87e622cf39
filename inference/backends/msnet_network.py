"""The anisotropic network of the MSNet cascade (Wang et al., arXiv:1709.00382).

Slabs of 19 slices go in, 11 slices come out. Parameter names are those of the published weights, so that
`load_state_dict(strict=True)` proves the fit. All convolutions but `fuse` act within slices: slices are kept in the
batch dimension and in channels-last memory, where 2-D convolutions are fastest. Batch normalisation always uses the
statistics of the present batch, because the published moving averages are empty. The nets are for inference only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLICES_IN = 19
SLICES_OUT = 11
CHANNELS = 4
WIDTH = 32
EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Batch normalisation with the statistics of the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.beta = nn.Parameter(torch.zeros(channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, None, None, self.gamma, self.beta, training=True, eps=EPSILON)


class PRelu(nn.Module):
    """Rectifier with one slope per channel below zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.alpha)


class SliceConv(nn.Module):
    """1 x 3 x 3 convolution that keeps the extents, or halves even ones with stride 2 (padded after the end)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(outputs, inputs, 1, 3, 3), requires_grad=False)
        self._stride, self._dilation = stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        weight = self.w.squeeze(2)
        if self._stride == 1:
            return functional.conv2d(x, weight, padding=self._dilation, dilation=self._dilation)
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), weight, stride=self._stride)


class DepthConv(nn.Module):
    """3 x 1 x 1 valid convolution across slices: D slices in, D - 2 out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(channels, channels, 3, 1, 1), requires_grad=False)

    def forward(self, x: Tensor, slabs: int) -> Tensor:
        taps = self.w[:, :, :, 0, 0].permute(2, 1, 0)
        depth = x.shape[0] // slabs
        rows = x.permute(0, 2, 3, 1)
        rows = rows.view(slabs, depth, *rows.shape[1:])
        mixed = rows.new_empty((slabs, depth - 2, *rows.shape[2:]))
        for source, target in zip(rows, mixed, strict=True):
            flat = target.view(-1, target.shape[-1])
            torch.mm(source[:-2].reshape(flat.shape), taps[0], out=flat)
            flat.addmm_(source[1:-1].reshape(flat.shape), taps[1])
            flat.addmm_(source[2:].reshape(flat.shape), taps[2])
        return mixed.view(-1, *mixed.shape[2:]).permute(0, 3, 1, 2)


class SliceDeconv(nn.Module):
    """Transposed 1 x 3 x 3 convolution of stride 2 that doubles the extents."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(inputs, outputs, 1, 3, 3), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = 2 * x.shape[-2], 2 * x.shape[-1]
        doubled = functional.conv_transpose2d(x, self.w.squeeze(2), stride=2)
        return doubled[..., :rows, :columns]


class Residual(nn.Module):
    """Twice (batch norm, PReLU, convolution), plus the input padded with empty channels where it is narrower."""

    def __init__(self, inputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.bn_0, self.prelu_acti_0 = BatchNorm(inputs), PRelu(inputs)
        self.conv_0 = SliceConv(inputs, WIDTH, dilation=dilation)
        self.bn_1, self.prelu_acti_1 = BatchNorm(WIDTH), PRelu(WIDTH)
        self.conv_1 = SliceConv(WIDTH, WIDTH, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_0(self.prelu_acti_0(self.bn_0(x)))
        y = self.conv_1(self.prelu_acti_1(self.bn_1(y)))
        before = (WIDTH - x.shape[1]) // 2
        y[:, before : before + x.shape[1]] += x
        return y


class Fuse(nn.Module):
    """Mix neighbouring slices, then batch norm and PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_, self.bn_, self.prelu_acti_ = DepthConv(WIDTH), BatchNorm(WIDTH), PRelu(WIDTH)

    def forward(self, x: Tensor, slabs: int) -> Tensor:
        result: Tensor = self.prelu_acti_(self.bn_(self.conv_(x, slabs)))
        return result


class Downsample(nn.Module):
    """Halve rows and columns, then batch norm and PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_, self.bn_, self.prelu_acti_ = SliceConv(WIDTH, WIDTH, stride=2), BatchNorm(WIDTH), PRelu(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.prelu_acti_(self.bn_(self.conv_(x)))
        return result


class Upsample(nn.Module):
    """Double rows and columns, then batch norm and PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.deconv_, self.bn_, self.prelu_acti_ = SliceDeconv(inputs, outputs), BatchNorm(outputs), PRelu(outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.prelu_acti_(self.bn_(self.deconv_(x)))
        return result


class MsNet(nn.Module):
    """One net of the cascade. `fine` nets (enhancing core) skip the first halving of the in-plane resolution."""

    def __init__(self, fine: bool) -> None:
        super().__init__()
        self._fine = fine
        self.block1_1, self.block1_2, self.fuse1_bn_prelu = Residual(CHANNELS), Residual(WIDTH), Fuse()
        self.block2_1, self.block2_2, self.fuse2_bn_prelu = Residual(WIDTH), Residual(WIDTH), Fuse()
        self.downsample2_bn_prelu = Downsample()
        self.block3_1, self.block3_2, self.block3_3 = (Residual(WIDTH, dilation) for dilation in (1, 2, 3))
        self.block4_1, self.block4_2, self.block4_3 = (Residual(WIDTH, dilation) for dilation in (3, 2, 1))
        self.fuse3_bn_prelu, self.fuse4_bn_prelu = Fuse(), Fuse()
        self.pred_up2_1_bn_prelu, self.pred_up3_1_bn_prelu = Upsample(WIDTH, 4), Upsample(WIDTH, 8)
        if fine:
            self.pred1 = SliceConv(WIDTH, 2)
        else:
            self.downsample1_bn_prelu = Downsample()
            self.pred_up1_bn_prelu = Upsample(WIDTH, 2)
            self.pred_up2_2_bn_prelu, self.pred_up3_2_bn_prelu = Upsample(4, 4), Upsample(8, 8)
        self.final_pred = SliceConv(14, 2)

    @property
    def multiple_of(self) -> int:
        """What rows and columns must be a multiple of."""
        return 2 if self._fine else 4

    def forward(self, x: Tensor) -> Tensor:
        """Logits (slabs, 2, 11, rows, columns) of slabs (slabs, 4, 19, rows, columns)."""
        slabs, channels, depth, rows, columns = x.shape
        if channels != CHANNELS or depth != SLICES_IN or rows % self.multiple_of or columns % self.multiple_of:
            raise ValueError(f"a slab of {tuple(x.shape[1:])} does not fit this network")
        y = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        first, second, third = self._features(y, slabs)
        heads = self._heads(_inner(first, slabs, 2), _inner(second, slabs, 1), third)
        logits: Tensor = self.final_pred(torch.cat(heads, dim=1))
        return logits.view(slabs, SLICES_OUT, *logits.shape[1:]).transpose(1, 2)

    def _features(self, y: Tensor, slabs: int) -> tuple[Tensor, Tensor, Tensor]:
        y = self.fuse1_bn_prelu(self.block1_2(self.block1_1(y)), slabs)
        if not self._fine:
            y = self.downsample1_bn_prelu(y)
        first: Tensor = self.fuse2_bn_prelu(self.block2_2(self.block2_1(y)), slabs)
        y = self.block3_3(self.block3_2(self.block3_1(self.downsample2_bn_prelu(first))))
        second: Tensor = self.fuse3_bn_prelu(y, slabs)
        third: Tensor = self.fuse4_bn_prelu(self.block4_3(self.block4_2(self.block4_1(second))), slabs)
        return first, second, third

    def _heads(self, first: Tensor, second: Tensor, third: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        second, third = self.pred_up2_1_bn_prelu(second), self.pred_up3_1_bn_prelu(third)
        if self._fine:
            return self.pred1(first), second, third
        return self.pred_up1_bn_prelu(first), self.pred_up2_2_bn_prelu(second), self.pred_up3_2_bn_prelu(third)


def _inner(x: Tensor, slabs: int, trim: int) -> Tensor:
    """The slabs without `trim` slices at each end."""
    return x.view(slabs, -1, *x.shape[1:])[:, trim:-trim].flatten(0, 1)

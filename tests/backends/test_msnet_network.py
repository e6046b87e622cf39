"""The layers of the MSNet cascade against plain 3-D convolutions, and the shapes of whole nets."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.backends.msnet_network import DepthConv, MsNet, Residual, SliceConv, SliceDeconv

SLABS, DEPTH = 2, 5

Layer = TypeVar("Layer", bound=nn.Module)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(3)


def as_slices(volume: Tensor) -> Tensor:
    """(slab, channel, slice, row, column) -> (slab x slice, channel, row, column) as the network keeps it."""
    return volume.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def as_volume(slices: Tensor) -> Tensor:
    return slices.view(SLABS, -1, *slices.shape[1:]).transpose(1, 2)


def with_random_weights(module: Layer) -> Layer:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module


def test_depth_convolution_is_a_valid_3x1x1_convolution() -> None:
    layer = with_random_weights(DepthConv(6))
    volume = torch.randn(SLABS, 6, DEPTH, 8, 10)
    torch.testing.assert_close(as_volume(layer(as_slices(volume), SLABS)), functional.conv3d(volume, layer.w))


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_slice_convolution_keeps_the_extents(dilation: int) -> None:
    layer = with_random_weights(SliceConv(4, 6, dilation=dilation))
    volume = torch.randn(SLABS, 4, DEPTH, 8, 10)
    expected = functional.conv3d(volume, layer.w, padding=(0, dilation, dilation), dilation=(1, dilation, dilation))
    torch.testing.assert_close(as_volume(layer(as_slices(volume))), expected)


def test_downsampling_pads_after_the_end() -> None:
    layer = with_random_weights(SliceConv(4, 6, stride=2))
    volume = torch.randn(SLABS, 4, DEPTH, 8, 10)
    expected = functional.conv3d(functional.pad(volume, (0, 1, 0, 1)), layer.w, stride=(1, 2, 2))
    torch.testing.assert_close(as_volume(layer(as_slices(volume))), expected)


def test_upsampling_doubles_the_extents_and_drops_the_last_row_and_column() -> None:
    layer = with_random_weights(SliceDeconv(4, 6))
    volume = torch.randn(SLABS, 4, DEPTH, 8, 10)
    expected = functional.conv_transpose3d(volume, layer.w, stride=(1, 2, 2))[..., :16, :20]
    torch.testing.assert_close(as_volume(layer(as_slices(volume))), expected)


def test_a_widening_block_adds_its_input_amid_the_new_channels() -> None:
    block = Residual(4)  # all weights are zero, so that only the input comes through
    x = torch.randn(3, 4, 8, 8)
    y = block(x)
    torch.testing.assert_close(y[:, 14:18], x)
    assert not y[:, :14].any()
    assert not y[:, 18:].any()


@pytest.mark.parametrize(("fine", "parameters", "extent"), [(False, 214_470, (8, 12)), (True, 204_396, (6, 10))])
def test_nets_have_the_published_size_and_give_eleven_slices(
    fine: bool, parameters: int, extent: tuple[int, int]
) -> None:
    net = with_random_weights(MsNet(fine))
    assert sum(p.numel() for p in net.parameters()) == parameters
    with torch.inference_mode():
        logits = net(torch.randn(2, 4, 19, *extent))
    assert logits.shape == (2, 2, 11, *extent)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("shape", [(4, 18, 8, 8), (3, 19, 8, 8), (4, 19, 8, 10)])
def test_a_slab_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        MsNet(fine=False)(torch.zeros(1, *shape))

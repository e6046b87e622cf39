"""The training loss: cross-entropy, and soft Dice of the regions whose volumes are reported."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from longitudinal.types import Compartment, Region

_SMOOTH_VOXELS = 30.0
_CAVITY = (Compartment.CAVITY.label,)


def region_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of cross-entropy plus one minus soft Dice of whole tumour, core, enhancing tumour, oedema and
    cavity.

    Args:
        logits: (batch, class, slices, rows, columns).
        labels: int64 (batch, slices, rows, columns).
    """
    probable = logits.softmax(dim=1)
    dice = logits.new_zeros(())
    regions = [*(region.labels for region in Region), _CAVITY]
    for members in regions:
        expected = probable[:, list(members)].sum(dim=1).flatten(1)
        truth = torch.isin(labels, labels.new_tensor(members)).float().flatten(1)
        overlap = 2 * (expected * truth).sum(dim=1) + _SMOOTH_VOXELS
        dice = dice + (1 - overlap / (expected.sum(dim=1) + truth.sum(dim=1) + _SMOOTH_VOXELS)).mean()
    return functional.cross_entropy(logits, labels) + dice / len(regions)

"""The channels of a prepared study in the order that a network was trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.contracts import FloatArray, InferenceError, PreparedStudy
from longitudinal.types import Contrast


def stacked_channels(study: PreparedStudy, order: Sequence[Contrast]) -> FloatArray:
    """Channels (channel, slice, row, column) in `order`, zero outside the brain.

    A contrast that is missing is replaced by its stand-in from `study.substituted`.

    Raises:
        InferenceError: when neither the contrast nor a stand-in is there.
    """
    return np.stack([np.where(study.brain, _channel(study, contrast), np.float32(0)) for contrast in order])


def _channel(study: PreparedStudy, contrast: Contrast) -> FloatArray:
    channel = study.channels.get(contrast)
    if channel is None and contrast in study.substituted:
        channel = study.channels.get(study.substituted[contrast])
    if channel is None:
        present = ", ".join(sorted(study.channels))
        raise InferenceError(f"The study has no {contrast} series and none to stand in for it (it has: {present})")
    return channel

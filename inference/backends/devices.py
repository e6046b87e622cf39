"""Which device a network runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.contracts import InferenceError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(device: str) -> torch.device:
    """The device for a setting: `auto` takes the first GPU where there is one, `cuda:1` names the second.

    Raises:
        InferenceError: when the name is unknown or the GPU is not there.
    """
    if device.split(":")[0] not in DEVICES:
        raise InferenceError(f"Unknown device '{device}': use {', '.join(DEVICES)} or cuda:N")
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InferenceError(f"Device '{device}' was asked for, but no usable NVIDIA GPU is here; use auto or cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as problem:
        raise InferenceError(f"'{device}' is no device name: {problem}") from problem
    count = torch.cuda.device_count()
    if (chosen.index or 0) >= count:
        raise InferenceError(f"Device '{device}' was asked for, but there are {count} GPUs (counted from 0)")
    return chosen

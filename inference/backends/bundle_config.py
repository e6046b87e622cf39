"""What a MONAI bundle says about its network, read without running anything that the bundle says.

A bundle's configuration can name any Python callable and hold expressions (`$...`). Here only plain values and
references to plain values (`@name`) are read, and the one thing that is built is the network, from a class of
`monai.networks.nets` or `torch.nn`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.contracts import InferenceError

if TYPE_CHECKING:
    from torch import nn

INFERENCE_FILE = "configs/inference.json"
METADATA_FILE = "configs/metadata.json"
STATE_FILE = "models/model.pt"
SCRIPT_FILE = "models/model.ts"
GEOMETRIC = {"LoadImage", "EnsureChannelFirst", "EnsureType", "ToTensor", "CropForeground", "ConcatItems", "CastToType"}
"""Preprocessing that the gateway has done already or that leaves intensities alone."""
CALLING_KEYS = {"_mode_", "_requires_", "_disabled_", "_wrapper_", "_args_"}


@dataclass(frozen=True)
class BundleConfig:
    """The parts of `inference.json` and `metadata.json` that matter for running the network.

    `axes` is the orientation of the network's input, for example LPS. `window` is empty where the bundle has no
    sliding window.
    """

    name: str
    version: str
    network: dict[str, Any] | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: str
    normalise_nonzero: bool
    normalise_channelwise: bool
    window: tuple[int, ...]
    overlap: float
    amp: bool
    multiple_of: int


def is_bundle(folder: Path) -> bool:
    """Whether a folder is laid out as a MONAI bundle."""
    return (folder / METADATA_FILE).is_file() and (folder / INFERENCE_FILE).is_file()


def read_bundle_config(folder: Path) -> BundleConfig:
    """Read the configuration of a bundle.

    Raises:
        InferenceError: when a file is missing or unreadable, or the bundle needs what is not supported here.
    """
    if not is_bundle(folder):
        raise InferenceError(f"{folder} is no MONAI bundle: it must hold {INFERENCE_FILE} and {METADATA_FILE}")
    metadata = _read(folder / METADATA_FILE)
    config = _read(folder / INFERENCE_FILE)
    formats = metadata.get("network_data_format", {})
    image: dict[str, Any] = next(iter(formats.get("inputs", {}).values()), {})
    normaliser, axes = _preprocessing(config, folder)
    inferer = _plain(config, config.get("inferer", {}), folder, "inferer", known_only=True) or {}
    return BundleConfig(
        name=str(metadata.get("name") or folder.resolve().name),
        version=str(metadata.get("version", "unknown")),
        network=_network_definition(config, folder),
        inputs=_channels(image, folder, "input"),
        outputs=_channels(next(iter(formats.get("outputs", {}).values()), {}), folder, "output"),
        axes=axes,
        normalise_nonzero=bool(normaliser.get("nonzero", False)),
        normalise_channelwise=bool(normaliser.get("channel_wise", False)),
        window=_window(inferer.get("roi_size"), folder),
        overlap=float(inferer.get("overlap") or 0.25),
        amp=config.get("amp") is True,
        multiple_of=_multiple(image.get("spatial_shape", ())),
    )


def build_network(definition: dict[str, Any]) -> nn.Module:
    """Build the network of a vetted definition with MONAI's own parser.

    Raises:
        InferenceError: when the class refuses its arguments.
    """
    from monai.bundle import ConfigParser
    from torch import nn

    try:
        network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    except (RuntimeError, TypeError, ValueError) as problem:
        raise InferenceError(f"The bundle's network {definition['_target_']} cannot be built: {problem}") from problem
    if not isinstance(network, nn.Module):
        raise InferenceError(f"{definition['_target_']} of the bundle is no network")
    return network


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InferenceError(f"{file} cannot be read: {problem}") from problem
    if not isinstance(content, dict):
        raise InferenceError(f"{file} must hold one object of named settings")
    return content


def _network_definition(config: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    raw = config.get("network_def", config.get("network"))
    if not isinstance(raw, dict) or "_target_" not in raw:
        return None
    definition: dict[str, Any] = _plain(config, raw, folder, "network_def")
    definition["_target_"] = _allowed_class(str(definition["_target_"]), folder)
    return definition


def _plain(
    config: dict[str, Any], value: Any, folder: Path, where: str, known_only: bool = False, depth: int = 0
) -> Any:
    """A value with its references replaced; refuses expressions, macros and nested objects.

    With `known_only`, what cannot be read as a plain value is left out instead.
    """
    if depth > 20:
        raise InferenceError(f"{folder}: {where} refers to itself")
    if isinstance(value, str) and value.startswith("@") and value[1:] in config:
        return _plain(config, config[value[1:]], folder, where, known_only, depth + 1)
    if isinstance(value, str) and value[:1] in ("$", "%", "@"):
        if known_only:
            return None
        raise InferenceError(f"{folder}: {where} holds '{value}'. Expressions are not run; write plain values there")
    if isinstance(value, list):
        return [_plain(config, item, folder, where, known_only, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    nested = depth > 0 and "_target_" in value
    if not known_only and (nested or CALLING_KEYS & value.keys()):
        raise InferenceError(f"{folder}: {where} builds objects inside the network definition, which is not allowed")
    return {key: _plain(config, item, folder, f"{where}.{key}", known_only, depth + 1) for key, item in value.items()}


def _allowed_class(target: str, folder: Path) -> str:
    """The full name of a network class in `monai.networks.nets` or `torch.nn`."""
    import monai.networks.nets
    from torch import nn

    module, _, name = target.rpartition(".")
    for package, source in (("monai.networks.nets", monai.networks.nets), ("torch.nn", nn)):
        found = getattr(source, name, None)
        inside = module == "" or module == package or module.startswith(f"{package}.")
        if inside and isinstance(found, type) and issubclass(found, nn.Module):
            return f"{package}.{name}"
    raise InferenceError(
        f"{folder}: the network definition names '{target}'. Only network classes of monai.networks.nets and torch.nn "
        f"are built from a bundle; export the network as {SCRIPT_FILE} (TorchScript) instead"
    )


def _preprocessing(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """Arguments of the intensity normalisation and the orientation of the input."""
    transforms = config.get("preprocessing", {})
    listed = transforms.get("transforms", []) if isinstance(transforms, dict) else transforms
    normaliser: dict[str, Any] = {}
    axes = "LPS"
    for entry in listed if isinstance(listed, list) else []:
        transform = _plain(config, entry, folder, "preprocessing", known_only=True)
        if not isinstance(transform, dict):
            raise InferenceError(f"{folder}: preprocessing by {entry!r} is not supported")
        name = str(transform.get("_target_", "")).rpartition(".")[2].removesuffix("d")
        if name == "NormalizeIntensity":
            normaliser = transform
        elif name == "Orientation":
            axes = str(transform.get("axcodes", axes))
        elif name == "Spacing":
            _check_spacing(transform.get("pixdim"), folder)
        elif name not in GEOMETRIC:
            raise InferenceError(f"{folder}: preprocessing by {name} is not supported")
    if not normaliser:
        raise InferenceError(f"{folder}: no NormalizeIntensity in the preprocessing; other scaling is not supported")
    return normaliser, axes


def _check_spacing(spacing: Any, folder: Path) -> None:
    if not isinstance(spacing, list) or any(abs(float(mm) - 1.0) > 1e-3 for mm in spacing):
        raise InferenceError(f"{folder}: the network wants spacing {spacing}; only 1 mm isotropic is supported")


def _channels(image: dict[str, Any], folder: Path, side: str) -> tuple[str, ...]:
    named = image.get("channel_def", {})
    if not isinstance(named, dict) or not named:
        raise InferenceError(f"{folder / METADATA_FILE} does not name the {side} channels (channel_def)")
    try:
        order = sorted(named, key=int)
    except ValueError as problem:
        raise InferenceError(
            f"{folder / METADATA_FILE}: channel_def of the {side} must be numbered from 0"
        ) from problem
    return tuple(str(named[key]) for key in order)


def _window(size: Any, folder: Path) -> tuple[int, ...]:
    if size is None:
        return ()
    if not isinstance(size, list) or len(size) != 3 or not all(isinstance(n, int) and n > 0 for n in size):
        raise InferenceError(f"{folder}: roi_size {size} is not three whole numbers")
    return tuple(size)


def _multiple(shape: Any) -> int:
    """The n of '8*n' in `spatial_shape`; 16 where it is not stated."""
    texts = [str(item).partition("*")[0] for item in shape] if isinstance(shape, list) else []
    numbers = [int(text) for text in texts if text.isdigit()]
    return max((n for n in numbers if n <= 64), default=16)

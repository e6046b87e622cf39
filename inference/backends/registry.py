"""From the name or folder of a model to a segmentation backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inference.backends.devices import resolve_device
from inference.contracts import InferenceError, SegmentationBackend
from inference.model_folder import CARD_NAME, SHIPPED_MODELS, ModelFolderError

__all__ = ["MODEL_KIND", "installed_models", "load_backend", "resolve_device"]

MODEL_KIND = "segmentation"


def load_backend(model: str, device: str = "auto", extra_models: Path | None = None) -> SegmentationBackend:
    """Load the segmentation backend that `model` names.

    Args:
        model: the name of an installed model (a folder under `inference/models` or `extra_models`), or the path of a
            model folder, of a MONAI bundle folder, or of a folder that holds `msnet_brats17.safetensors`.
        device: auto, cpu, cuda or cuda:N.
        extra_models: another folder of installed models; it takes precedence over the shipped ones.

    Raises:
        InferenceError: when nothing of the kind is found there (the message lists what was looked for), the model is
            damaged, or the device is not there.
    """
    places = [folder for folder in (extra_models, SHIPPED_MODELS) if folder is not None]
    for folder in _candidates(model, places):
        backend = _load_folder(folder, device)
        if backend is not None:
            return backend
    raise InferenceError(_not_found(model, places))


def installed_models(extra_models: Path | None = None) -> tuple[str, ...]:
    """Names of the installed segmentation models."""
    places = [folder for folder in (extra_models, SHIPPED_MODELS) if folder is not None]
    return _installed(places)


def _candidates(model: str, places: Sequence[Path]) -> list[Path]:
    if not model.strip():
        return []
    named = [] if Path(model).name != model else [place / model for place in places]
    return [folder for folder in (*named, Path(model).expanduser()) if folder.exists()]


def _load_folder(path: Path, device: str) -> SegmentationBackend | None:
    """The backend for a folder or weights file, None where it is nothing that we know."""
    from inference.backends.bundle import MonaiBundle
    from inference.backends.bundle_config import is_bundle
    from inference.backends.msnet import WEIGHTS_FILE, MsnetCascade

    if (path / CARD_NAME).is_file():
        from inference.backends.own import OwnNetwork

        try:
            return OwnNetwork.load(path, device)
        except ModelFolderError as problem:
            raise InferenceError(str(problem)) from problem
    if path.name == WEIGHTS_FILE or (path / WEIGHTS_FILE).is_file():
        return MsnetCascade.load(path, device)
    if is_bundle(path):
        return MonaiBundle.load(path, device)
    return None


def _installed(places: Sequence[Path]) -> tuple[str, ...]:
    from inference.model_folder import read_model_folder

    names = set()
    for card in (card for place in places if place.is_dir() for card in place.glob(f"*/{CARD_NAME}")):
        try:
            read_model_folder(card.parent, MODEL_KIND)
        except ModelFolderError:
            continue
        names.add(card.parent.name)
    return tuple(sorted(names))


def _not_found(model: str, places: Sequence[Path]) -> str:
    installed = ", ".join(_installed(places)) or "none"
    looked = ", ".join(str(place) for place in places)
    return (
        f"No segmentation model '{model}'. Looked for: an installed model of that name in {looked} (installed: "
        f"{installed}); a model folder ({CARD_NAME}, model.safetensors); a MONAI bundle (configs/inference.json, "
        f"configs/metadata.json, models/model.pt or models/model.ts); a folder with msnet_brats17.safetensors"
    )

"""A model on disk is a folder: `model.safetensors`, `model.json`, `README.md` (the model card).

`model.json` holds at least `name`, `version`, `kind` and `weights_sha256`; what else is in it belongs to the kind.
Weights are never pickled, and a folder whose weights do not match their recorded hash is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longitudinal.types import AlgorithmIdentity

SHIPPED_MODELS = Path(__file__).parent / "models"
"""Folder of the models that come with the distribution."""

WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "model.json"


class ModelFolderError(Exception):
    """A model folder is incomplete, of another kind, or its weights do not match the recorded hash."""


@dataclass(frozen=True)
class ModelFolder:
    """A verified model folder; `card` is the parsed `model.json`."""

    path: Path
    card: dict[str, Any]

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS_NAME

    @property
    def identity(self) -> AlgorithmIdentity:
        return AlgorithmIdentity(self.card["name"], self.card["version"], self.card["weights_sha256"])


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_model_folder(path: Path, kind: str) -> ModelFolder:
    """Read and verify a model folder.

    Raises:
        ModelFolderError: when a file or key is missing, the kind differs, or the hash of the weights differs.
    """
    card_file = path / CARD_NAME
    if not card_file.is_file() or not (path / WEIGHTS_NAME).is_file():
        raise ModelFolderError(f"{path} is no model folder: it must hold {CARD_NAME} and {WEIGHTS_NAME}")
    card = json.loads(card_file.read_text(encoding="utf-8"))
    missing = {"name", "version", "kind", "weights_sha256"} - card.keys()
    if missing:
        raise ModelFolderError(f"{card_file} lacks {', '.join(sorted(missing))}")
    if card["kind"] != kind:
        raise ModelFolderError(f"{path} holds a {card['kind']} model where a {kind} model is needed")
    if sha256_of(path / WEIGHTS_NAME) != card["weights_sha256"]:
        raise ModelFolderError(f"{path / WEIGHTS_NAME} does not match the hash in {CARD_NAME}: the file is damaged")
    return ModelFolder(path, card)


def write_model_folder(path: Path, card: dict[str, Any], readme: str) -> ModelFolder:
    """Record the hash of the weights already saved at `path`, write `model.json` and the model card."""
    full = {**card, "weights_sha256": sha256_of(path / WEIGHTS_NAME)}
    (path / CARD_NAME).write_text(json.dumps(full, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (path / "README.md").write_text(readme, encoding="utf-8")
    return read_model_folder(path, card["kind"])

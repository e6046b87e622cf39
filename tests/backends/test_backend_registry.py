"""From the name or folder of a model to the backend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from backends.small_bundle import write_bundle

from inference.backends.bundle import MonaiBundle
from inference.backends.msnet import MsnetCascade
from inference.backends.registry import load_backend, resolve_device
from inference.contracts import InferenceError


def test_a_bundle_folder_is_found_by_path_and_as_an_installed_name(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "models" / "hospital-net")
    assert isinstance(load_backend(str(folder), "cpu"), MonaiBundle)
    assert isinstance(load_backend("hospital-net", "cpu", extra_models=tmp_path / "models"), MonaiBundle)


def test_the_cascade_is_found_by_folder_and_by_file(real_data: Path) -> None:
    weights = real_data / "weights"
    assert isinstance(load_backend(str(weights), "cpu"), MsnetCascade)
    assert isinstance(load_backend(str(weights / "msnet_brats17.safetensors"), "cpu"), MsnetCascade)


@pytest.mark.parametrize("model", ["no-such-model", "/no/such/folder", "", "."])
def test_the_message_lists_what_was_looked_for(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InferenceError) as raised:
        load_backend(model, "cpu")
    message = str(raised.value)
    assert f"No segmentation model '{model}'" in message
    for looked_for in ("inference/models", "model.json", "configs/inference.json", "msnet_brats17.safetensors"):
        assert looked_for in message


def test_a_model_of_another_kind_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    from inference.model_folder import SHIPPED_MODELS

    with pytest.raises(InferenceError, match="holds a brain-extraction model where a segmentation model is needed"):
        load_backend(str(SHIPPED_MODELS / "brain-1"), "cpu")
    folder = tmp_path / "damaged"
    shutil.copytree(SHIPPED_MODELS / "brain-1", folder)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "kind": "segmentation", "weights_sha256": "0" * 64}))
    with pytest.raises(InferenceError, match="does not match the hash"):
        load_backend(str(folder), "cpu")


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InferenceError, match="Unknown device 'tpu'"):
        resolve_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the answer for a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_said(device: str) -> None:
    with pytest.raises(InferenceError, match="no usable NVIDIA GPU"):
        resolve_device(device)

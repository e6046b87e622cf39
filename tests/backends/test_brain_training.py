"""Training of the brain network: what counts as brain, synthetic images, and going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import safe_open

from inference.brain import extract_brain
from inference.contracts import InferenceError
from inference.model_folder import read_model_folder
from training.brain.heads import brain_of, head_from_labels
from training.brain.synthesis import Synthesiser
from training.brain.train import main

GREY, WHITE, RIGHT_GREY, CSF, SKULL, SKIN = 3, 2, 42, 24, 515, 511


def labels_of_a_ball(extent: int = 72) -> npt.NDArray[np.int16]:
    """Layers of a head around its middle, with a 4 mm fissure and an outer rim of CSF."""
    axes = np.ogrid[tuple(slice(-extent // 2, extent // 2) for _ in range(3))]
    distance = np.sqrt(sum(axis.astype(float) ** 2 for axis in axes))
    labels = np.zeros((extent,) * 3, dtype=np.int16)
    for radius, label in ((34, SKIN), (31, SKULL), (28, CSF), (24, GREY), (18, WHITE)):
        labels[distance < radius] = label
    labels[:, :, extent // 2 :][labels[:, :, extent // 2 :] == GREY] = RIGHT_GREY
    labels[extent // 2 :, :, extent // 2 - 2 : extent // 2 + 2][
        labels[extent // 2 :, :, extent // 2 - 2 : extent // 2 + 2] < 500
    ] = CSF
    return labels


def test_fissures_belong_to_the_brain_and_outer_csf_does_not() -> None:
    labels = labels_of_a_ball()
    brain = brain_of(labels)
    middle = labels.shape[0] // 2
    assert brain[middle + 15, middle, middle]  # CSF of the fissure
    assert labels[middle, middle + 26, middle] == CSF
    assert not brain[middle, middle + 26, middle]
    assert not brain[labels >= 500].any()


def test_hemispheres_share_tissue_classes() -> None:
    head = head_from_labels(labels_of_a_ball())
    assert RIGHT_GREY not in head.tissues
    assert head.tissues[int(head.classes[36, 36 + 21, 45])] == GREY


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    head = head_from_labels(labels_of_a_ball())
    first, again, other = (Synthesiser([head], seed).sample() for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert first[0].shape != other[0].shape or not torch.equal(first[0], other[0])


def test_images_and_targets_are_fit_for_the_network() -> None:
    images = Synthesiser([head_from_labels(labels_of_a_ball())], seed=3)
    held_brain = 0
    for _ in range(6):
        image, target = images.sample()
        assert image.shape == target.shape
        assert all(extent % 16 == 0 for extent in image.shape[2:])
        assert torch.isfinite(image).all()
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        assert 0 <= float(target.min()) <= float(target.max()) <= 1
        held_brain += bool((target > 0.5).any())
    assert held_brain >= 4


def test_training_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    maps.mkdir()
    nib.save(nib.Nifti1Image(labels_of_a_ball(), np.diag([-1.0, -1, 1, 1])), maps / "head.nii.gz")
    arguments = ["--maps", str(maps), "--out", str(out), "--simulated", "0"]
    assert main([*arguments, "--minutes", "0.02"]) == 0
    first = steps_of(out)
    assert main([*arguments, "--minutes", "0.06"]) == 0
    assert steps_of(out) > first > 0

    card = read_model_folder(out, "brain-extraction").card
    assert card["training"]["steps"] == steps_of(out)
    assert list(card["training"]["maps"]) == ["head.nii.gz"]
    assert "brain extraction" in (out / "README.md").read_text()
    with pytest.raises(InferenceError):  # two steps teach nothing; the folder is read and run all the same
        extract_brain(np.random.default_rng(0).random((24, 24, 24), dtype=np.float32), model=out)


def steps_of(out: Path) -> int:
    with safe_open(out / "checkpoint.safetensors", "pt") as opened:
        return int(json.loads(opened.metadata()["progress"])["step"])


def test_a_folder_without_maps_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--maps", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no label map" in capsys.readouterr().err

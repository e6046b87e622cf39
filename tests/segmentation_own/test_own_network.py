"""The shipped segmentation network: it finds simulated tumours, and the backend around it keeps grids and rules."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume

from inference.backends.own import CHANNEL_ORDER, STRIDE, OwnNetwork, normalise
from inference.backends.registry import load_backend
from inference.contracts import InferenceError, PreparedStudy, SegmentationBackend
from inference.model_folder import SHIPPED_MODELS, ModelFolderError
from longitudinal.types import Contrast, Region
from training.segmentation.evaluate import compare_labels
from training.simulate.anatomy import Head, simulate_head
from training.simulate.mr import render
from training.simulate.tumour import Growth, LesionPlan, seed_lesion

MODEL = SHIPPED_MODELS / "segmentation-1"


@pytest.fixture(scope="module")
def network() -> OwnNetwork:
    return OwnNetwork.load(MODEL, "cpu")


@pytest.fixture(scope="module")
def head() -> Head:
    return simulate_head(900_001, spacing_mm=1.5)


def study_of(head: Head, growth: Growth | None, seed: int, core_ml: float = 20.0) -> tuple[PreparedStudy, np.ndarray]:
    """A noisy study on the head's own grid as working grid, and its true labels."""
    rng = np.random.default_rng(seed)
    labelled = []
    truth = np.zeros(head.shape, dtype=np.uint8)
    if growth is not None:
        lesion = seed_lesion(rng, head, LesionPlan(growth, 4.0, 0.0, 0.0))
        labels = lesion.compartments(core_ml, core_ml * 3)
        truth[lesion.box] = labels
        labelled = [(lesion, labels)]
    channels = {}
    for contrast in Contrast:
        image = render(rng, head, labelled, contrast)
        channels[contrast] = (np.abs(image + rng.normal(0, 0.02, image.shape)) * 700).astype(np.float32)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [head.spacing_mm] * 3 + [1]
    affine[:3, 3] = head.origin_mm
    working = Volume(channels[Contrast.T1C], affine, "PATIENT")
    return PreparedStudy(channels, head.brain, working, working, Contrast.T1C, {}, ()), truth


@pytest.mark.parametrize(("growth", "seed"), [(Growth.RING, 1), (Growth.DIFFUSE, 2)])
def test_a_tumour_in_an_unseen_head_is_found(network: OwnNetwork, head: Head, growth: Growth, seed: int) -> None:
    study, truth = study_of(head, growth, seed)
    found = compare_labels("", network.segment(study), truth, head.voxel_ml)
    assert (found.dice[Region.WHOLE] or 0) >= 0.8
    assert found.found_ml[Region.WHOLE] == pytest.approx(found.truth_ml[Region.WHOLE], rel=0.25)
    if growth is Growth.RING:
        assert (found.dice[Region.CORE] or 0) >= 0.75


def test_a_healthy_head_has_next_to_no_tumour(network: OwnNetwork, head: Head) -> None:
    study, _ = study_of(head, None, 5)
    assert (network.segment(study) > 0).sum() * head.voxel_ml < 1.0


def test_the_same_study_gives_the_same_labels_and_units_do_not_matter(network: OwnNetwork, head: Head) -> None:
    study, _ = study_of(head, Growth.RING, 1)
    first = network.segment(study)
    assert np.array_equal(network.segment(study), first)
    scaled = {c: channel * np.float32(3.7) for c, channel in study.channels.items()}
    again = network.segment(replace(study, channels=scaled))
    assert (again != first).mean() < 1e-4
    assert first.dtype == np.uint8
    assert first.shape == study.brain.shape
    assert not first[~study.brain].any()


def test_moving_the_head_in_the_working_grid_moves_the_labels(network: OwnNetwork, head: Head) -> None:
    study, _ = study_of(head, Growth.RING, 1)
    first = network.segment(study)
    padding = ((7, 0), (3, 12), (11, 2))
    channels = {c: np.pad(channel, padding) for c, channel in study.channels.items()}
    moved = replace(
        study,
        channels=channels,
        brain=np.pad(study.brain, padding),
        working=Volume(channels[Contrast.T1C], study.working.affine, "PATIENT"),
    )
    assert np.array_equal(network.segment(moved), np.pad(first, padding))


def test_a_brain_that_fills_the_grid_is_segmented(network: OwnNetwork, head: Head) -> None:
    study, truth = study_of(head, Growth.RING, 1)
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(study.brain))
    channels = {c: channel[box] for c, channel in study.channels.items()}
    assert any(n % STRIDE for n in channels[Contrast.T1C].shape)
    working = Volume(channels[Contrast.T1C], study.working.affine, "PATIENT")
    labels = network.segment(replace(study, channels=channels, brain=study.brain[box], working=working))
    assert (compare_labels("", labels, truth[box], head.voxel_ml).dice[Region.WHOLE] or 0) >= 0.8


def test_a_missing_t2_is_replaced_by_its_stand_in(network: OwnNetwork, head: Head) -> None:
    study, truth = study_of(head, Growth.RING, 1)
    channels = {c: channel for c, channel in study.channels.items() if c is not Contrast.T2}
    labels = network.segment(replace(study, channels=channels, substituted={Contrast.T2: Contrast.FLAIR}))
    assert (compare_labels("", labels, truth, head.voxel_ml).dice[Region.WHOLE] or 0) >= 0.7


def test_an_empty_brain_mask_is_an_answer_not_a_crash(network: OwnNetwork, head: Head) -> None:
    study, _ = study_of(head, None, 5)
    with pytest.raises(InferenceError, match="brain mask"):
        network.segment(replace(study, brain=np.zeros_like(study.brain)))


def test_normalising_centres_the_brain_and_clears_the_rest() -> None:
    rng = np.random.default_rng(1)
    channels = rng.gamma(3.0, 40.0, (4, 12, 12, 12)).astype(np.float32)
    channels[0, 6, 6, 6] = 1e6
    brain = np.zeros((12, 12, 12), dtype=np.bool_)
    brain[2:10, 2:10, 2:10] = True
    out = normalise(channels, brain)
    assert (out[:, ~brain] == 0).all()
    assert np.allclose(out[:, brain].mean(axis=1), 0, atol=0.02)
    assert np.allclose(out[:, brain].std(axis=1), 1, atol=0.02)
    assert out.max() <= 5


def test_the_registry_loads_it_by_name_and_it_tells_who_it_is(network: OwnNetwork) -> None:
    backend: SegmentationBackend = load_backend("segmentation-1", "cpu")
    card = json.loads((MODEL / "model.json").read_text(encoding="utf-8"))
    assert backend.identity == network.identity
    assert backend.identity.weights_sha256 == card["weights_sha256"]
    assert tuple(card["channels"]) == CHANNEL_ORDER


def damaged_copy(folder: Path, **changes: object) -> Path:
    shutil.copytree(MODEL, folder)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(card | changes), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": ["t1n", "t1c", "t2w", "t2f"]}, "channels"),
        ({"architecture": {"name": "resnet"}}, "unknown network architecture"),
        (
            {
                "architecture": {
                    "name": "monai.networks.nets.UNet",
                    "channels": [8, 16, 32],
                    "strides": [2, 2],
                    "residual_units": 1,
                }
            },
            "do not fit",
        ),
        ({"weights_sha256": "0" * 64}, "does not match the hash"),
        ({"kind": "forecast"}, "forecast model where a segmentation model"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelFolderError, match=words):
        OwnNetwork.load(damaged_copy(tmp_path / "model", **changes), "cpu")


def test_the_weights_are_small_enough_to_ship() -> None:
    assert (MODEL / "model.safetensors").stat().st_size < 20_000_000

"""Training material and training itself: random looks keep the truth in place, a run can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.backends.own import CLASSES, OwnNetwork
from longitudinal.types import Compartment, Region
from training.segmentation.appearance import crop, draw_sample, slice_matrix
from training.segmentation.cases import Case, cached_cases, generate_cases
from training.segmentation.evaluate import compare_labels, summarise
from training.segmentation.loss import region_loss
from training.segmentation.train import SPACING_MM, TRAINING_SEEDS, main

SEED = 31


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return generate_cases(SEED, 3.0, per_head=2)


def test_cases_are_kept_and_read_back_unchanged(tmp_path: Path, cases: list[Case]) -> None:
    made = list(cached_cases(tmp_path, range(SEED, SEED + 1), 3.0))
    read = list(cached_cases(tmp_path, range(SEED, SEED + 1), 3.0))
    for expected, first, second in zip(cases, made, read, strict=True):
        for name in Case.__dataclass_fields__:
            assert np.array_equal(getattr(expected, name), getattr(first, name))
            assert np.array_equal(getattr(first, name), getattr(second, name))


def test_slicing_an_axis_keeps_a_constant_and_blurs_an_edge() -> None:
    for slice_mm, phase, shift in ((1.0, 0.3, 0.0), (5.0, 0.7, 0.4), (6.5, 0.0, -1.0)):
        matrix = slice_matrix(60, 1.5, slice_mm, phase, shift)
        assert np.allclose((matrix @ np.ones(60))[3:-3], 1, atol=1e-4)
    edge = (np.arange(60) >= 30).astype(np.float32)
    sharp, blurred = (slice_matrix(60, 1.5, mm, 0.5, 0.0) @ edge for mm in (1.0, 6.0))
    assert np.array_equal(sharp, edge)
    assert 3 <= ((blurred > 0.02) & (blurred < 0.98)).sum() <= 10
    moved = slice_matrix(60, 1.5, 1.0, 0.0, 3.0) @ edge
    assert int(np.argmax(moved > 0.5)) == 28


def test_a_crop_has_the_asked_extents_whatever_the_case(cases: list[Case]) -> None:
    rng = np.random.default_rng(1)
    for extents in ((32, 32, 32), (96, 96, 96)):
        part = crop(rng, cases[0], extents)
        assert {getattr(part, name).shape for name in Case.__dataclass_fields__} == {extents}
    assert (part.labels > 0).sum() == (cases[0].labels > 0).sum()


def test_looks_differ_but_show_the_tumour_where_it_is(cases: list[Case]) -> None:
    case = next(c for c in cases if (c.labels == Compartment.OEDEMA.label).sum() > 200)
    rng = np.random.default_rng(3)
    contrast = []
    for _ in range(12):
        sample = draw_sample(rng, case, 3.0)
        assert sample.image.shape == (4, *case.labels.shape)
        assert sample.image.dtype == np.float32
        oedema = sample.labels == Compartment.OEDEMA.label
        assert abs(int(oedema.sum()) - int((case.labels == Compartment.OEDEMA.label).sum())) < 0.1 * oedema.sum()
        healthy = (sample.labels == 0) & (sample.image[3] != 0)
        contrast.append(float(np.median(sample.image[3][oedema]) - np.median(sample.image[3][healthy])))
    assert min(contrast) > 0.2, "oedema is brighter than brain in FLAIR (or T2 in its place)"
    assert np.median(contrast) > 1.0
    assert max(contrast) - min(contrast) > 0.5


def test_the_loss_prefers_the_truth() -> None:
    labels = torch.zeros((1, 16, 16, 16), dtype=torch.int64)
    labels[0, 4:12, 4:12, 4:12] = 2
    labels[0, 6:10, 6:10, 6:10] = 3
    right = torch.nn.functional.one_hot(labels, CLASSES).permute(0, 4, 1, 2, 3).float() * 12
    nothing = torch.zeros_like(right)
    nothing[:, 0] = 12
    wrong_core = right.clone()
    wrong_core[:, [1, 3]] = wrong_core[:, [3, 1]]
    assert float(region_loss(right, labels)) < 0.01
    assert (
        float(region_loss(right, labels)) < float(region_loss(wrong_core, labels)) < float(region_loss(nothing, labels))
    )


def test_comparison_counts_regions_and_signs_the_bias() -> None:
    truth = np.zeros((10, 10, 10), dtype=np.uint8)
    truth[:4] = Compartment.OEDEMA.label
    found = truth.copy()
    found[4] = Compartment.OEDEMA.label
    row = compare_labels("a", found, truth, 0.01)
    assert row.dice[Region.WHOLE] == pytest.approx(2 * 400 / 900)
    assert row.dice[Region.ENHANCING] is None
    table = summarise([row])
    assert table["whole"]["bias_ml"] == pytest.approx(1.0)
    assert table["whole"]["bias_percent"] == pytest.approx(25.0)
    assert table["enhancing"]["cases"] == 0


def test_training_goes_on_from_its_checkpoint_and_writes_a_model_that_loads(tmp_path: Path) -> None:
    common = ["--out", str(tmp_path / "m"), "--cache", str(tmp_path / "c"), "--heads", "1", "--device", "cpu"]
    main([*common, "--minutes", "0.02", "--batch", "1"])
    first = json.loads((tmp_path / "m" / "progress.json").read_text(encoding="utf-8"))
    assert first["step"] >= 1
    longer = first["seconds"] / 60 + 0.02
    main([*common, "--minutes", f"{longer:.4f}", "--batch", "1", "--resume"])
    second = json.loads((tmp_path / "m" / "progress.json").read_text(encoding="utf-8"))
    assert second["step"] > first["step"]
    assert second["seconds"] > first["seconds"]
    assert len(list((tmp_path / "c").glob(f"{TRAINING_SEEDS}-*-{SPACING_MM:g}mm.npz"))) == 2
    network = OwnNetwork.load(tmp_path / "m", "cpu")
    assert network.identity.name == "timepoint-segmentation"

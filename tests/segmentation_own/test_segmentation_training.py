"""Training material and training itself: random looks keep the truth in place, a run can be interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.backends.own import CLASSES, OwnNetwork
from longitudinal.types import Compartment, Contrast, Region
from training.brain.heads import head_from_labels
from training.segmentation.appearance import crop, draw_sample, slice_matrix
from training.segmentation.cases import Case, cached_cases, generate_cases
from training.segmentation.evaluate import compare_labels, summarise
from training.segmentation.lesion_look import draw_look, paint
from training.segmentation.loss import region_loss
from training.segmentation.mapped_heads import head_of_map
from training.segmentation.train import SPACING_MM, TRAINING_SEEDS, main
from training.simulate.anatomy import Tissue, simulate_head

SEED = 31


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return generate_cases(simulate_head(SEED, 3.0), SEED, per_head=2)


def test_cases_are_kept_and_read_back_unchanged(tmp_path: Path, cases: list[Case]) -> None:
    made = list(cached_cases(tmp_path, lambda seed: simulate_head(seed, 3.0), "3mm", range(SEED, SEED + 1)))
    read = list(cached_cases(tmp_path, lambda seed: simulate_head(seed, 3.0), "3mm", range(SEED, SEED + 1)))
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
    assert min(contrast) > 0, "oedema is brighter than brain in FLAIR (or T2 in its place)"
    assert np.median(contrast) > 1.0
    assert max(contrast) - min(contrast) > 0.5


def test_lesions_fade_and_may_be_as_bright_as_brain_in_t1(cases: list[Case]) -> None:
    case = next(c for c in cases if (c.labels == Compartment.ENHANCING.label).sum() > 50)
    rng = np.random.default_rng(8)
    white, lesion = case.wm > 200, case.labels == Compartment.ENHANCING.label
    base = (case.wm / 255).astype(np.float32)
    gains = []
    for _ in range(40):
        look = draw_look(rng)
        before, after = (paint(rng, base, case, look, c, 3.0)[lesion].mean() for c in (Contrast.T1, Contrast.T1C))
        assert after > before, "contrast agent adds to what T1 shows"
        gains.append(before / base[white].mean())
    assert min(gains) < 0.7 < 0.95 < max(gains)
    nothing = replace(case, labels=np.zeros_like(case.labels))
    assert np.array_equal(paint(rng, base, nothing, look, Contrast.T2, 3.0), base)


def test_a_head_of_a_label_map_keeps_its_tissues_and_differs_by_seed() -> None:
    """A ball of white matter in a shell of cortex with a ventricle, in CSF, bone and skin; both halves labelled."""
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 for n in (110, 130, 110)), indexing="ij")
    radius = np.sqrt(z**2 + (y / 1.2) ** 2 + x**2)
    labels = np.zeros(radius.shape, dtype=np.int16)
    for limit, (left, right) in ((50, (508, 508)), (47, (515, 515)), (42, (24, 24)), (40, (3, 42)), (34, (2, 41))):
        inside = radius < limit
        labels[inside & (x >= 0)], labels[inside & (x < 0)] = left, right
    labels[np.sqrt(z**2 + y**2 + x**2) < 9] = 4
    source = head_from_labels(labels)
    first, again, other = (head_of_map(source, seed, 2.0) for seed in (1, 1, 2))
    assert np.array_equal(first.gm, again.gm)
    assert first.gm.shape != other.gm.shape or not np.array_equal(first.gm, other.gm)
    for head in (first, other):
        assert head.brain.sum() * head.voxel_ml == pytest.approx(source.brain.sum() / 1000, rel=0.3)
        total = head.gm + head.wm + head.csf
        assert np.allclose(total[head.brain], 1, atol=1e-4)
        middle = tuple(n // 2 for n in head.shape)
        assert head.tissue[middle] == Tissue.CSF, "the ventricle"
        for tissue in (Tissue.GM, Tissue.WM, Tissue.BONE, Tissue.SKIN, Tissue.AIR):
            assert (head.tissue == tissue).any()
        assert not np.isin(head.tissue[head.brain], [Tissue.BONE, Tissue.SKIN, Tissue.AIR]).any()
        at = head.index_of(np.array([[0.0], [18.0], [12.0]]))[:, 0]
        assert np.allclose(at, np.argwhere(head.brain).mean(axis=0), atol=0.5), (
            "the brain lies where lesions are seeded"
        )


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

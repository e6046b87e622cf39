"""Contrast from pixels: right or silent, on real series, on simulated ones, and on what is no head at all."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from highdicom import Volume

from inference.contracts import InferenceError
from inference.model_folder import sha256_of
from inference.pixel_contrast import SHAPE, SHIPPED, contrast_from_pixels, network_input
from inference.volumes import UnreadableSeries, load_volume
from longitudinal.types import Contrast
from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies

T1, T1C, T2, FLAIR = Contrast.T1, Contrast.T1C, Contrast.T2, Contrast.FLAIR


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def nifti(file: Path) -> Volume:
    image = nib.load(file)
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)  # type: ignore[attr-defined]
    affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine)[:, [2, 1, 0, 3]]  # type: ignore[attr-defined]
    return Volume(np.ascontiguousarray(array), affine, "PATIENT")


def real_series(real_data: Path, folder: Path) -> Iterator[tuple[str, Contrast | None, Volume]]:
    """Every real series there is with what it is; None is none of the four contrasts."""
    prepared = {"t1n": T1, "t1c": T1C, "t2w": T2, "t2f": FLAIR}
    raw = {"t1": T1, "t1c": T1C, "t2": T2, "fla": FLAIR}
    segmentation = real_data / "segmentation"
    for case in ("brats-gli-00001-000", "tcga-fg-6692"):
        for name, contrast in prepared.items():
            yield f"{case} {name}", contrast, nifti(segmentation / case / f"{name}.nii.gz")
    for name, contrast in raw.items():
        yield f"tcga-fg-6692 raw {name}", contrast, nifti(segmentation / "tcga-fg-6692" / "raw" / f"{name}.nii.gz")
    with zipfile.ZipFile(real_data / "dicom" / "t1_oblique_384.zip") as archive:
        archive.extractall(folder)
    oblique = [f for f in folder.rglob("*") if f.is_file()]
    yield "oblique", T1, load_volume(oblique).volume
    for file in sorted((real_data / "dicom" / "enhanced").glob("6_*.dcm")):
        yield f"functional {file.name}", None, load_volume([file]).volume


def test_real_series_are_told_rightly_or_not_at_all_and_quickly(real_data: Path, tmp_path: Path) -> None:
    answered, seconds, asked = [], [], 0
    for name, truth, volume in real_series(real_data, tmp_path):
        started = time.process_time()
        seen = contrast_from_pixels(volume)
        seconds.append(time.process_time() - started)
        asked += 1
        if seen.contrast is not None:
            assert seen.contrast is truth, (name, seen)
            answered.append(name)
    assert asked == 17
    assert len(answered) >= 2, answered
    assert max(seconds[1:]) < 2.0  # the first one loads the network


def test_simulated_series_are_told_rightly_or_not_at_all(tmp_path: Path) -> None:
    truths = simulate_studies(3, 1, 11, tmp_path, size=StudySize.SMALL)
    outcomes = []
    for truth in truths:
        for contrast in Contrast:
            files = sorted((tmp_path / truth.folder / contrast.value).glob("*.dcm"))
            outcomes.append((contrast, contrast_from_pixels(load_volume(files).volume).contrast))
    assert [o for o in outcomes if o[1] not in (None, o[0])] == []
    assert sum(1 for _, said in outcomes if said) >= 3


def head(seed: int = 0) -> Volume:
    """A ball with a bright shell: something head-like without any contrast of a brain."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, 60)] * 3, indexing="ij")
    ball = (z**2 + y**2 + x**2 < 0.8).astype(np.float32)
    noise = np.random.default_rng(seed).random(ball.shape, dtype=np.float32)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])[:, [2, 1, 0, 3]]
    return Volume(ball * (300 + 40 * noise), affine, "PATIENT")


def test_what_is_no_brain_is_not_named() -> None:
    noise = np.random.default_rng(1).random((40, 64, 64), dtype=np.float32) * 900
    affine = np.diag([4.0, 4.0, 4.0, 1.0])[:, [2, 1, 0, 3]]
    assert contrast_from_pixels(Volume(noise, affine, "PATIENT")).contrast is None
    assert contrast_from_pixels(head()).contrast is None


def test_the_answer_does_not_depend_on_how_the_slices_lie(tmp_path: Path) -> None:
    truth = simulate_studies(1, 1, 11, tmp_path, size=StudySize.SMALL)[0]
    volume = load_volume(sorted((tmp_path / truth.folder / "t2w").glob("*.dcm"))).volume
    turned = Volume(
        np.ascontiguousarray(volume.array.transpose(2, 0, 1)[::-1]),
        volume.affine[:, [2, 0, 1, 3]] @ _flipped(volume.array.shape[2]),
        "PATIENT",
    )
    one, other = contrast_from_pixels(volume).probabilities, contrast_from_pixels(turned).probabilities
    assert one == pytest.approx(other, abs=0.02)


def _flipped(extent: int) -> np.ndarray:
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, extent - 1
    return flip


def test_an_answer_that_the_header_excludes_is_no_answer(real_data: Path) -> None:
    volume = nifti(real_data / "segmentation" / "tcga-fg-6692" / "raw" / "t2.nii.gz")
    assert contrast_from_pixels(volume).contrast is T2
    contradicted = contrast_from_pixels(volume, (T1, T1C))
    assert contradicted.contrast is None
    assert "contradicts" in contradicted.reason


def test_empty_and_broken_images_are_refused(tmp_path: Path) -> None:
    flat = Volume(np.zeros((8, 8, 8), dtype=np.float32), np.eye(4)[:, [2, 1, 0, 3]], "PATIENT")
    with pytest.raises(InferenceError):
        contrast_from_pixels(flat)
    with pytest.raises((InferenceError, UnreadableSeries)):
        contrast_from_pixels(head(), model=tmp_path)
    assert network_input(head()).shape == SHAPE


def test_the_weights_are_small_and_as_recorded() -> None:
    weights = SHIPPED / "model.safetensors"
    assert weights.stat().st_size <= 2**20
    assert sha256_of(weights) in (SHIPPED / "model.json").read_text(encoding="utf-8")

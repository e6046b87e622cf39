"""Registration against transforms that are known, on drawn heads and on a real patient."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from highdicom import Volume
from imaging.mr_series import ORIENTATIONS, Matrix, grid, head, moved, rigid, with_array

from inference import registration
from inference.nifti_files import read_nifti
from inference.registration import RegistrationFailed, register

POSES = [
    ((0, 0, 0), (0, 0, 0)),
    ((3, -4, 5), (6, -8, 4)),
    ((10, 5, -12), (20, 10, -15)),
    ((-15, 12, 20), (-30, 25, 30)),
]


def error_mm(found: Matrix, true: Matrix, around: Volume) -> float:
    """Mean distance over a 120 x 120 x 80 mm box in the middle of an image."""
    box = np.array(np.meshgrid([-60, 0, 60], [-60, 0, 60], [-40, 0, 40])).reshape(3, -1)
    points = np.vstack([box + np.array(around.center_position)[:, None], np.ones(27)])
    return float(np.linalg.norm(((found - true) @ points)[:3], axis=0).mean())


@pytest.fixture(scope="module")
def t1() -> Volume:
    return head(grid((95, 128, 128), (2.0, 1.9, 1.9)))


@pytest.mark.parametrize(("angles", "shift"), POSES)
@pytest.mark.parametrize("orientation", ["axial", "sagittal reversed"])
def test_inverted_contrast_other_grid_other_place(
    t1: Volume, orientation: str, angles: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    pose = rigid(angles, shift)
    flair = head(grid((40, 110, 110), (5.0, 2.0, 2.0), ORIENTATIONS[orientation], shift), True, seed=2, pose=pose)
    found = register(t1, flair)
    assert found.plausible
    assert found.method == "torch"
    assert error_mm(found.matrix, pose, t1) < 0.5


def test_within_one_frame_of_reference_the_start_is_identity_but_movement_is_still_found() -> None:
    fixed = head(grid((60, 90, 90), (3.0, 2.5, 2.5)))
    fixed = with_array(fixed, fixed.array, frame="1.2.3")
    pose = rigid((2, -1, 3), (3, -2, 4))
    moving = head(grid((60, 90, 90), (3.0, 2.5, 2.5)), True, seed=5, pose=pose)
    found = register(fixed, with_array(moving, moving.array, frame="1.2.3"))
    assert error_mm(found.matrix, pose, fixed) < 0.3


def test_same_input_same_output(t1: Volume) -> None:
    moving = head(grid((40, 110, 110), (5.0, 2.0, 2.0)), True, seed=2, pose=rigid((4, 2, -3), (5, 3, 2)))
    np.testing.assert_array_equal(register(t1, moving).matrix, register(t1, moving).matrix)


def test_fallback_finds_the_place_where_the_fast_search_is_lost(t1: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    pose = rigid((4, 2, -3), (12, -9, 7))
    moving = head(grid((95, 128, 128), (2.0, 1.9, 1.9)), True, seed=2, pose=pose)
    lost = torch.tensor([0.0, 0.0, 1.5, 0.5, 0.0, 0.0])
    monkeypatch.setattr(registration, "_search", lambda level, starts: lost)
    found = register(t1, moving)
    assert found.method == "simpleitk"
    assert error_mm(found.matrix, pose, t1) < 0.5


@pytest.mark.parametrize("what", ["noise", "a box"])
def test_what_does_not_match_is_refused(t1: Volume, what: str) -> None:
    if what == "noise":
        other = with_array(t1, np.random.default_rng(1).normal(100, 10, t1.spatial_shape).astype(np.float32))
    else:
        box = np.zeros(t1.spatial_shape, np.float32)
        box[20:50, 30:60, 30:60] = 1000
        other = with_array(t1, box)
    with pytest.raises(RegistrationFailed, match="different patients or body parts"):
        register(t1, other)


def test_an_empty_image_is_refused(t1: Volume) -> None:
    with pytest.raises(RegistrationFailed, match="one and the same value"):
        register(t1, with_array(t1, np.zeros(t1.spatial_shape, np.float32)))


@pytest.fixture(scope="module")
def raw(real_data: Path) -> dict[str, Volume]:
    folder = real_data / "segmentation/tcga-fg-6692/raw"
    return {name: read_nifti(folder / f"{name}.nii.gz") for name in ("t1c", "t1", "t2", "fla")}


@pytest.mark.parametrize(("angles", "shift"), POSES[1:])
@pytest.mark.parametrize("name", ["t1", "fla"])
def test_real_thick_slices_moved_by_a_known_amount(
    raw: dict[str, Volume], name: str, angles: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    """The patient's own offset between the series is unknown, the added one is not: both must add up."""
    pose = rigid(angles, shift)
    before = register(raw["t1c"], raw[name])
    begun = time.process_time()
    after = register(raw["t1c"], moved(raw[name], pose))
    seconds = time.process_time() - begun
    assert error_mm(after.matrix, pose @ before.matrix, raw["t1c"]) < 0.5
    assert seconds < 10


def test_real_series_match_as_another_toolkit_matched_them(raw: dict[str, Volume], real_data: Path) -> None:
    """BraTS Toolkit brought the same four series into one space. Going there with each series and comparing with our
    direct match closes a loop in which every link is independent of the one that is tested."""
    folder = real_data / "segmentation/tcga-fg-6692"
    pairs = {"t1c": "t1c", "t1": "t1n", "t2": "t2w", "fla": "t2f"}
    to_raw = {raw_name: register(read_nifti(folder / f"{name}.nii.gz"), raw[raw_name]).matrix
              for raw_name, name in pairs.items()}  # fmt: skip
    for name in ("t1", "t2", "fla"):
        through = to_raw[name] @ np.linalg.inv(to_raw["t1c"])
        assert error_mm(register(raw["t1c"], raw[name]).matrix, through, raw["t1c"]) < 1.5


def test_real_brain_without_skull_moved_by_a_known_amount(real_data: Path) -> None:
    folder = real_data / "segmentation/brats-gli-00001-000"
    t1c, flair = read_nifti(folder / "t1c.nii.gz"), read_nifti(folder / "t2f.nii.gz")
    for angles, shift in POSES:
        pose = rigid(angles, shift)
        assert error_mm(register(t1c, moved(flair, pose)).matrix, pose, t1c) < 0.6

"""From series on four grids to channels on one."""

from __future__ import annotations

import numpy as np
import pytest
from highdicom import Volume
from imaging.mr_series import ORIENTATIONS, grid, head, rigid, voxel_places, with_array

from inference.preparation import MissingContrast, prepare_series, working_grid
from longitudinal.types import Contrast

T1C, T1, T2, FLAIR = Contrast.T1C, Contrast.T1, Contrast.T2, Contrast.FLAIR


def everything_bright(image: np.ndarray) -> np.ndarray:
    """A brain extractor good enough for a drawn head."""
    return np.asarray(image > 100)


def small(onto: Volume, inverted: bool = False, seed: int = 0, pose: np.ndarray | None = None) -> Volume:
    return head(onto, inverted, seed, pose, scale=0.6)


@pytest.fixture(scope="module")
def volumes() -> dict[Contrast, Volume]:
    """Four series on four grids; the head moved before T2 and FLAIR."""
    later = rigid((3, -2, 4), (5, -3, 2))
    return {
        T1C: small(grid((57, 66, 66), (2.0, 2.0, 2.0)), seed=1),
        T1: small(grid((45, 77, 60), (2.5, 1.6, 2.0), ORIENTATIONS["sagittal"]), seed=2),
        T2: small(grid((24, 66, 66), (5.0, 2.0, 2.0), turned=rigid((12, 0, 0), (0, 0, 0))), True, seed=3, pose=later),
        FLAIR: small(grid((26, 54, 54), (5.5, 2.2, 2.2), ORIENTATIONS["coronal"]), True, seed=4, pose=later),
    }


def test_every_contrast_lands_on_one_grid_in_register(volumes: dict[Contrast, Volume]) -> None:
    study = prepare_series(volumes, everything_bright)
    shape = study.working.spatial_shape
    assert study.reference is T1C
    assert study.native is volumes[T1C]
    assert not study.substituted
    assert study.notes == ()
    assert all(c.shape == shape and c.dtype == np.float32 for c in study.channels.values())
    assert study.brain.shape == shape
    assert study.brain.dtype == bool
    truth = {c: small(study.working, c in (T2, FLAIR), seed=9).array for c in Contrast}
    inside = np.linalg.norm(voxel_places(study.working), axis=0) < 36
    for contrast, channel in study.channels.items():
        # a 1 mm shift of this texture drops the correlation below 0.98 on its own
        assert np.corrcoef(channel[inside], truth[contrast][inside])[0, 1] > 0.93, contrast


def test_working_grid_is_lps_aligned_1_mm_and_cut_to_the_head() -> None:
    wide = head(
        grid((80, 200, 200), (3.0, 1.6, 1.6), ORIENTATIONS["sagittal reversed"], turned=rigid((4, 7, 9), (0,) * 3))
    )
    working = working_grid(wide)
    np.testing.assert_array_equal(working.affine[:3, :3], [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    extents = np.array(working.spatial_shape)[[2, 1, 0]]
    assert (extents >= [140, 176, 144]).all()
    assert (extents <= [164, 200, 168]).all()
    bright = np.argwhere(working.array > 300)
    middle = working.affine[:3, :3] @ ((bright.min(0) + bright.max(0)) / 2) + working.affine[:3, 3]
    np.testing.assert_allclose(middle, 0, atol=2.0)


@pytest.mark.parametrize(
    ("missing", "stand_in", "reference"), [(T1, T1C, T1C), (T2, FLAIR, T1C), (FLAIR, T2, T1C), (T1C, T1, FLAIR)]
)
def test_a_missing_contrast_is_replaced_and_said_so(
    volumes: dict[Contrast, Volume], missing: Contrast, stand_in: Contrast, reference: Contrast
) -> None:
    study = prepare_series({c: v for c, v in volumes.items() if c is not missing}, everything_bright)
    assert study.substituted == {missing: stand_in}
    assert study.reference is reference
    np.testing.assert_array_equal(study.channels[missing], study.channels[stand_in])
    assert len(study.notes) == 1
    assert ("enhancing tumour cannot be told" in study.notes[0]) == (missing is T1C)


@pytest.mark.parametrize(
    ("present", "words"),
    [
        ((), "neither contrast-enhanced T1 nor T1"),
        ((FLAIR, T2), "neither contrast-enhanced T1 nor T1"),
        ((T1C, T1), "neither T2 nor FLAIR"),
    ],
)
def test_what_nothing_can_replace_is_demanded(
    volumes: dict[Contrast, Volume], present: tuple[Contrast, ...], words: str
) -> None:
    with pytest.raises(MissingContrast, match=words):
        prepare_series({c: volumes[c] for c in present}, everything_bright)


def test_a_series_that_does_not_match_is_left_out_with_a_note(volumes: dict[Contrast, Volume]) -> None:
    noise = np.random.default_rng(1).normal(100, 10, volumes[T2].spatial_shape).astype(np.float32)
    study = prepare_series({**volumes, T2: with_array(volumes[T2], noise)}, everything_bright)
    assert study.substituted == {T2: FLAIR}
    assert "could not be registered" in study.notes[0]
    np.testing.assert_array_equal(study.channels[T2], study.channels[FLAIR])


def stripped(orientation: str) -> dict[Contrast, Volume]:
    empty = grid((80, 96, 90), (1.0, 1.0, 1.0), ORIENTATIONS[orientation])
    if orientation.startswith("sagittal"):
        empty = grid((90, 80, 96), (1.0, 1.0, 1.0), ORIENTATIONS[orientation])
    return {c: head(empty, c in (T2, FLAIR), seed=i, skull=False, scale=0.5) for i, c in enumerate(Contrast)}


@pytest.mark.parametrize("orientation", ["axial", "axial flipped", "sagittal reversed"])
def test_a_prepared_case_is_taken_as_it_is(orientation: str) -> None:
    case = stripped(orientation)

    def no_extractor(image: np.ndarray) -> np.ndarray:
        raise AssertionError("a skull-stripped case needs no brain extraction")

    study = prepare_series(case, no_extractor)
    np.testing.assert_allclose(study.working.affine[:3, :3], [[0, 0, 1], [0, 1, 0], [1, 0, 0]], atol=1e-12)
    for contrast, volume in case.items():
        turned = volume.to_patient_orientation("HPL")
        np.testing.assert_array_equal(study.channels[contrast], turned.array)
    assert study.native is case[T1C]
    np.testing.assert_array_equal(study.brain, study.channels[T1C] != 0)


def test_a_case_with_skull_or_on_two_grids_is_prepared_in_full() -> None:
    case = stripped("axial")
    flair = case[FLAIR]
    elsewhere = Volume(flair.array, rigid((0, 0, 0), (5, 0, 0)) @ flair.affine, "PATIENT")
    calls = []

    def extractor(image: np.ndarray) -> np.ndarray:
        calls.append(image.shape)
        return everything_bright(image)

    prepare_series({**case, FLAIR: elsewhere}, extractor)
    assert len(calls) == 1

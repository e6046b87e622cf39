"""A marked head goes through the whole analysis and its marks come back where they were, whatever the orientation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume
from imaging.mr_series import ORIENTATIONS, classic, enhanced, grid, head, rigid, save, voxel_places, with_array
from scipy import ndimage

from inference.contracts import InferenceError, LabelArray, PreparedStudy
from inference.registration import RegistrationFailed
from inference.study import analyse_series, analyse_volumes, select_files
from longitudinal.types import AlgorithmIdentity, Contrast, Region

T1C, FLAIR = Contrast.T1C, Contrast.FLAIR
MARK = 4000.0
IDENTITY = AlgorithmIdentity("marks", "1", "0" * 64)
SCALE = 0.6


class KnowsTheMark:
    """Labels every working voxel whose centre lies in a marked native voxel, and looks whether it is bright there."""

    identity = IDENTITY

    def __init__(self, native: Volume, mask: np.ndarray) -> None:
        self.native, self.mask = native, mask
        self.brightness = (0.0, 0.0)

    def segment(self, study: PreparedStudy) -> LabelArray:
        matrix = self.native.inverse_affine
        places = voxel_places(study.working)
        index = np.floor(np.einsum("ij,j...->i...", matrix[:3, :3], places) + matrix[:3, 3].reshape(3, 1, 1, 1) + 0.5)
        size = np.array(self.native.spatial_shape).reshape(3, 1, 1, 1)
        inside = ((index >= 0) & (index < size)).all(axis=0)
        found = inside & self.mask[tuple(np.clip(index, 0, size - 1).astype(int))]
        image = study.channels[T1C]
        around = ndimage.binary_dilation(found, iterations=8) & ~ndimage.binary_dilation(found, iterations=4)
        self.brightness = float(image[found].mean()), float(image[around].mean())
        return np.where(found, 3, 0).astype(np.uint8)


class FindsNothing:
    identity = IDENTITY

    def segment(self, study: PreparedStudy) -> LabelArray:
        return np.zeros(study.brain.shape, np.uint8)


def bright(image: np.ndarray) -> np.ndarray:
    return np.asarray(image > 100)


def small_head(onto: Volume, inverted: bool = False, seed: int = 0, pose: np.ndarray | None = None) -> Volume:
    return head(onto, inverted, seed, pose, scale=SCALE)


@pytest.fixture(scope="module")
def flair() -> Volume:
    return small_head(grid((30, 40, 40), (4.0, 3.2, 3.2)), True, seed=2)


def marked(t1c: Volume) -> tuple[Volume, np.ndarray]:
    """Three bars along the native axes, so that no turn or flip maps the mark onto itself."""
    mask = np.zeros(t1c.spatial_shape, bool)
    k, r, c = (n // 2 for n in t1c.spatial_shape)
    dk, dr, dc = (max(2, round(8 / s)) for s in t1c.spacing)
    mask[k : k + 3 * dk, r : r + dr, c : c + dc] = True
    mask[k : k + dk, r : r + 2 * dr, c : c + dc] = True
    mask[k : k + dk, r : r + dr, c : c + 4 * dc] = True
    return with_array(t1c, np.where(mask, MARK, t1c.array).astype(np.float32)), mask


def centroid(volume: Volume, mask: np.ndarray) -> np.ndarray:
    return np.asarray(volume.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + volume.affine[:3, 3])


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


SPACINGS = {
    **dict.fromkeys(ORIENTATIONS, (2.0, 2.0, 2.0)),
    "thick axial": (5.0, 1.0, 1.0),
    "thick sagittal": (4.0, 2.0, 1.0),
    "thick coronal reversed": (6.0, 1.0, 2.0),
}


def t1c_grid(
    spacing: tuple[float, float, float], axes: tuple[list[float], ...], turned: np.ndarray | None = None
) -> Volume:
    a, b, c = (round(120 / s) for s in spacing)
    return grid((a, b, c), spacing, axes, (0.4, 0.3, 0.2), turned)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "form"), [*((n, "classic") for n in SPACINGS), ("sagittal", "enhanced"), ("thick axial", "enhanced")]
)
def test_marks_come_back_voxel_for_voxel(name: str, form: str, flair: Volume, tmp_path: Path) -> None:
    """Dice 1.0 and the same centroid on every grid along the patient's axes with whole-millimetre voxels."""
    t1c, mask = marked(small_head(t1c_grid(SPACINGS[name], ORIENTATIONS[name.removeprefix("thick ")])))
    make = (lambda v, **a: [enhanced(v, **a)]) if form == "enhanced" else classic
    images = make(t1c, SeriesInstanceUID="1.2.3.5")
    files = {
        T1C: save(tmp_path / "t1c", images),
        FLAIR: save(tmp_path / "flair", classic(flair, SeriesInstanceUID="1.2.3.6")),
    }
    backend = KnowsTheMark(t1c, mask)
    analysis = analyse_series(files, backend, brain_extractor=bright)
    assert backend.brightness[0] > 0.7 * MARK
    assert backend.brightness[1] < 0.3 * MARK
    truth = with_array(t1c, mask.astype(np.uint8)).match_geometry(analysis.labels)
    assert dice(analysis.labels.array > 0, truth.array > 0) == 1.0
    (lesion,) = analysis.measurements
    assert lesion.volumes_ml[Region.ENHANCING] == pytest.approx(mask.sum() * np.prod(t1c.spacing) / 1000)
    np.testing.assert_allclose(lesion.centroid, centroid(t1c, mask), atol=1e-6)
    assert analysis.reference_series_uid == "1.2.3.5"
    assert lesion.diameter_sop_instance_uid in {str(d.SOPInstanceUID) for d in images}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.5, 0.9, 0.9), (1.2, 0.94, 0.94)])
@pytest.mark.parametrize("angles", [(14, -9, 21), (-31, 4, 8)])
def test_marks_on_oblique_and_odd_grids_keep_place_and_volume(
    spacing: tuple[float, float, float], angles: tuple[float, float, float], flair: Volume
) -> None:
    """No 1 mm grid holds an oblique box exactly; place and volume must hold nevertheless."""
    t1c, mask = marked(small_head(t1c_grid(spacing, ORIENTATIONS["axial"], rigid(angles, (0, 0, 0)))))
    backend = KnowsTheMark(t1c, mask)
    analysis = analyse_volumes({T1C: t1c, FLAIR: flair}, backend, brain_extractor=bright)
    found = analysis.labels.array > 0
    np.testing.assert_allclose(centroid(analysis.labels, found), centroid(t1c, mask), atol=0.05)
    assert found.sum() == pytest.approx(mask.sum(), rel=0.01)
    assert dice(found, mask) > 0.97
    assert backend.brightness[0] > 0.7 * MARK


def test_a_follow_up_is_placed_in_the_frame_of_the_baseline(flair: Volume) -> None:
    before = small_head(t1c_grid((2.0, 2.0, 2.0), ORIENTATIONS["axial"]))
    baseline = analyse_volumes({T1C: before, FLAIR: flair}, FindsNothing(), brain_extractor=bright)
    np.testing.assert_array_equal(baseline.to_baseline, np.eye(4))
    pose = rigid((4, -6, 9), (12, -7, 9))
    later = grid((26, 70, 70), (5.0, 1.8, 1.8), ORIENTATIONS["axial reversed"], (9, -5, 8))
    series = {T1C: small_head(later, seed=7, pose=pose), FLAIR: small_head(later, True, seed=8, pose=pose)}
    follow_up = analyse_volumes(series, FindsNothing(), baseline.anchor, bright)
    box = np.array(np.meshgrid([-40, 0, 40], [-40, 0, 40], [-40, 0, 40])).reshape(3, -1)
    places = np.vstack([box, np.ones(27)])
    there_and_back = follow_up.to_baseline @ pose @ places
    assert np.linalg.norm((there_and_back - places)[:3], axis=0).mean() < 0.6


def test_a_follow_up_of_something_else_is_refused(flair: Volume) -> None:
    volume = small_head(t1c_grid((3.0, 3.0, 3.0), ORIENTATIONS["axial"]))
    noise = np.random.default_rng(0).normal(100, 20, (60, 60, 60)).astype(np.float32)
    anchor = with_array(grid((60, 60, 60), (2.0, 2.0, 2.0)), noise)
    with pytest.raises(RegistrationFailed):
        analyse_volumes({T1C: volume, FLAIR: flair}, FindsNothing(), anchor, bright)


def test_analysis_is_repeatable_and_says_when_there_is_no_tumour(flair: Volume) -> None:
    volume = small_head(t1c_grid((3.0, 3.0, 3.0), ORIENTATIONS["axial"]))
    first, second = (analyse_volumes({T1C: volume, FLAIR: flair}, FindsNothing(), brain_extractor=bright) for _ in "ab")
    assert first.measurements == ()
    assert "No tumour was found." in first.notes
    np.testing.assert_array_equal(first.anchor.array, second.anchor.array)
    assert first.anchor.spacing == (2.0, 2.0, 2.0)


class Misbehaves(FindsNothing):
    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def segment(self, study: PreparedStudy) -> LabelArray:
        return self.labels


@pytest.mark.parametrize("labels", [np.zeros((3, 3, 3), np.uint8), np.zeros((1,), np.int64)])
def test_labels_of_another_shape_or_type_are_refused(labels: np.ndarray) -> None:
    volume = small_head(t1c_grid((4.0, 4.0, 4.0), ORIENTATIONS["axial"]))
    with pytest.raises(InferenceError, match="uint8 labels 0 to 4"):
        analyse_volumes({T1C: volume, FLAIR: volume}, Misbehaves(labels), brain_extractor=bright)


def series_files(folder: Path, names: Mapping[str, str], study: str = "1.2.3") -> list[Path]:
    files: list[Path] = []
    for i, (name, description) in enumerate(names.items()):
        volume = grid((4, 8, 8), (5.0, 2.0, 2.0))
        images = classic(
            volume,
            SeriesInstanceUID=f"{study}.{i}",
            StudyInstanceUID=study,
            SeriesDescription=description,
            SeriesNumber=i,
        )
        files += save(folder / name, images)
    return files


def test_files_of_a_folder_are_sorted_into_contrasts(tmp_path: Path) -> None:
    names = {"a": "3-plane loc", "b": "AX T1 POST", "c": "AX FLAIR", "d": "AX T2", "e": "AX T1", "f": "DWI b1000"}
    files = series_files(tmp_path, names)
    (tmp_path / "DICOMDIR.txt").write_text("no image")
    chosen = select_files([*files, tmp_path / "DICOMDIR.txt"])
    assert {c: {f.parent.name for f in found} for c, found in chosen.items()} == {
        T1C: {"b"}, Contrast.T1: {"e"}, Contrast.T2: {"d"}, FLAIR: {"c"},
    }  # fmt: skip
    assert all(len(found) == 4 for found in chosen.values())


def test_two_studies_or_none_usable_are_refused(tmp_path: Path) -> None:
    first = series_files(tmp_path / "one", {"a": "AX T1"}, "1.2.3")
    second = series_files(tmp_path / "two", {"a": "AX T1"}, "1.2.4")
    with pytest.raises(InferenceError, match="2 studies"):
        select_files([*first, *second])
    with pytest.raises(InferenceError, match="None of 1 series"):
        select_files(series_files(tmp_path / "three", {"a": "DWI"}))
    with pytest.raises(InferenceError, match="None of 0 series"):
        select_files([])


def test_an_unreadable_optional_series_is_left_out_with_a_note_a_t1c_is_not(flair: Volume, tmp_path: Path) -> None:
    t1c = small_head(t1c_grid((3.0, 3.0, 3.0), ORIENTATIONS["axial"]))
    gap = classic(flair, SeriesInstanceUID="1.2.3.7", SeriesNumber=7)
    del gap[10:12]
    files = {
        T1C: save(tmp_path / "t1c", classic(t1c, SeriesInstanceUID="1.2.3.5")),
        FLAIR: save(tmp_path / "flair", classic(flair, SeriesInstanceUID="1.2.3.6")),
        Contrast.T2: save(tmp_path / "t2", gap),
    }
    analysis = analyse_series(files, FindsNothing(), brain_extractor=bright)
    assert "The t2w series was left out. Series 7: 2 slice(s) are missing" in analysis.notes[0]
    with pytest.raises(InferenceError, match="slice"):
        analyse_series({**files, T1C: files[Contrast.T2]}, FindsNothing(), brain_extractor=bright)

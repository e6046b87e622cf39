"""An analysis written and read back is the same, byte for byte and number for number; cases go through files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from highdicom import Volume
from imaging.mr_series import ORIENTATIONS, grid, head, rigid, voxel_places

from inference.analysis_files import UnreadableAnalysis, load_analysis, save_analysis
from inference.case_files import analyse_case, is_case_folder, load_case, write_results
from inference.contracts import InferenceError, LabelArray, PreparedStudy, StudyAnalysis
from inference.lesions import find_lesions
from inference.measurement import measure_lesions
from inference.nifti_files import UnreadableNifti, nifti_bytes, read_nifti
from longitudinal.types import AlgorithmIdentity, Contrast, Region

IDENTITY = AlgorithmIdentity("marks", "1", "0" * 64, ("overlap=0.5",))


@pytest.fixture
def analysis() -> StudyAnalysis:
    native = grid((14, 40, 44), (5.5, 0.9, 0.9), ORIENTATIONS["sagittal"], (3.3, -4.4, 5.5), rigid((7, 8, 9), (0,) * 3))
    far = np.linalg.norm(voxel_places(native) - np.array([3, -4, 5]).reshape(3, 1, 1, 1), axis=0)
    labels = np.where(far < 6, 3, np.where(far < 11, 2, 0)).astype(np.uint8)
    native = Volume(labels, native.affine, "PATIENT", frame_of_reference_uid="1.2.840.99")
    found = find_lesions(native)
    anchor = head(grid((40, 50, 45), (2.0, 2.0, 2.0), turned=rigid((1 / 3, 0.1, 0), (0,) * 3)))
    return StudyAnalysis(
        labels=found.labels,
        lesions=found.lesions,
        measurements=measure_lesions(found.labels, found.lesions, [f"1.2.{k}" for k in range(14)]),
        reference_series_uid="1.2.3",
        to_baseline=rigid((1.1, 2.2, 3.3), (0.1, 0.2, 1 / 3)),
        anchor=anchor,
        backend=IDENTITY,
        notes=("Ventrikel müssen geprüft werden.",),
    )


def test_round_trip_is_exact(analysis: StudyAnalysis, tmp_path: Path) -> None:
    save_analysis(tmp_path / "study", analysis)
    back = load_analysis(tmp_path / "study")
    for name in ("labels", "lesions", "anchor"):
        written, read = getattr(analysis, name), getattr(back, name)
        np.testing.assert_array_equal(read.array, written.array)
        assert read.array.dtype == written.array.dtype
        np.testing.assert_array_equal(read.affine, written.affine)
        assert read.frame_of_reference_uid == written.frame_of_reference_uid
    np.testing.assert_array_equal(back.to_baseline, analysis.to_baseline)
    for field in ("measurements", "reference_series_uid", "backend", "notes"):
        assert getattr(back, field) == getattr(analysis, field)


def test_same_analysis_same_bytes_and_an_older_one_is_replaced_whole(analysis: StudyAnalysis, tmp_path: Path) -> None:
    save_analysis(tmp_path / "one", analysis)
    save_analysis(tmp_path / "two", dataclasses.replace(analysis, notes=("older",)))
    (tmp_path / "two" / "stray").write_text("left over")
    save_analysis(tmp_path / "two", analysis)
    first, second = ({f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert first == second
    assert sorted(first) == ["analysis.json", "anchor.nii.gz", "labels.nii.gz", "lesions.nii.gz"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


def test_other_software_reads_the_labels_at_the_same_place(analysis: StudyAnalysis, tmp_path: Path) -> None:
    save_analysis(tmp_path / "study", analysis)
    image = nibabel.load(tmp_path / "study" / "labels.nii.gz")
    assert image.header.get_xyzt_units()[0] == "mm"
    index = np.argwhere(np.asarray(image.dataobj) > 0).mean(axis=0)
    ras = nibabel.affines.apply_affine(image.affine, index)
    np.testing.assert_allclose(ras * [-1, -1, 1], analysis.measurements[0].centroid, atol=1e-3)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)


def test_damaged_or_foreign_analyses_are_refused(analysis: StudyAnalysis, tmp_path: Path) -> None:
    with pytest.raises(UnreadableAnalysis):
        load_analysis(tmp_path / "nowhere")
    folder = tmp_path / "study"
    save_analysis(folder, analysis)
    document = json.loads((folder / "analysis.json").read_text())
    (folder / "analysis.json").write_text(json.dumps({**document, "schema": "timepoint-analysis/99"}))
    with pytest.raises(UnreadableAnalysis, match="99"):
        load_analysis(folder)
    save_analysis(folder, analysis)
    (folder / "labels.nii.gz").write_bytes((folder / "labels.nii.gz").read_bytes()[:200])
    with pytest.raises(UnreadableAnalysis, match="analyse the study again"):
        load_analysis(folder)


class FindsMarks:
    identity = IDENTITY

    def segment(self, study: PreparedStudy) -> LabelArray:
        return np.where(study.channels[Contrast.T1C] > 3000, 3, 0).astype(np.uint8)


def case(folder: Path, names: tuple[str, ...]) -> Volume:
    """A skull-stripped case with a bright box; the reference volume is returned."""
    empty = grid((80, 96, 90), (1.0, 1.0, 1.0))
    t1c = head(empty, seed=1, skull=False, scale=0.5)
    t1c.array[35:45, 40:60, 30:45] = 5000
    folder.mkdir()
    for name in names:
        inverted = "t2" in name or "fl" in name
        (folder / name).write_bytes(
            nifti_bytes(head(empty, inverted, seed=2, skull=False, scale=0.5) if inverted else t1c)
        )
    return t1c


def test_a_case_folder_gives_labels_on_its_own_grid_and_measurements(tmp_path: Path) -> None:
    names = ("BraTS-X-00001-000-t1c.nii.gz", "BraTS-X-00001-000-t1n.nii.gz", "X-t2w.nii.gz", "X-t2f.nii.gz")
    t1c = case(tmp_path / "case", names)
    assert is_case_folder(tmp_path / "case")
    analysis = analyse_case(tmp_path / "case", FindsMarks())
    write_results(tmp_path / "out", analysis)
    labels = read_nifti(tmp_path / "out" / "labels.nii.gz")
    assert labels.geometry_equal(read_nifti(tmp_path / "case" / names[0]))
    np.testing.assert_array_equal(labels.array == 3, t1c.array == 5000)
    document = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert document["schema"] == "timepoint-measurements/1"
    assert document["total_volumes_ml"]["enhancing"] == pytest.approx(3.0)
    assert document["lesions"][0]["volumes_ml"].keys() == {r.value for r in Region}
    assert document["lesions"][0]["longest_diameter"]["length_mm"] > 20
    assert document["model"]["name"] == "marks"


def test_common_other_names_are_understood(tmp_path: Path) -> None:
    case(tmp_path / "case", ("t1ce.nii.gz", "flair.nii", "T1.nii.gz", "t2.nii.gz", "seg.nii.gz"))
    (tmp_path / "case" / "flair.nii").unlink()
    assert set(load_case(tmp_path / "case")) == {Contrast.T1C, Contrast.T1, Contrast.T2}


@pytest.mark.parametrize(
    ("names", "words"),
    [(("scan.nii.gz",), "no NIfTI file named"), (("a-t1c.nii.gz", "b-t1c.nii.gz"), "Two files name the contrast t1c")],
)
def test_unclear_case_folders_are_refused(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    case(tmp_path / "case", names)
    with pytest.raises(InferenceError, match=words):
        load_case(tmp_path / "case")


def test_nifti_files_that_cannot_be_placed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t1c.nii.gz"
    file.write_bytes(b"no nifti at all")
    with pytest.raises(UnreadableNifti, match="damaged"):
        read_nifti(file)
    data = np.ones((8, 9, 10), np.float32)

    def save(image: nibabel.Nifti1Image) -> None:
        nibabel.save(image, file)

    save(nibabel.Nifti1Image(data, None))
    with pytest.raises(UnreadableNifti, match="orientation"):
        read_nifti(file)
    save(nibabel.Nifti1Image(np.ones((8, 9, 10, 3), np.float32), np.eye(4)))
    with pytest.raises(UnreadableNifti, match="one 3-D image"):
        read_nifti(file)
    save(nibabel.Nifti1Image(np.where(data > 0, np.nan, 0), np.eye(4)))
    with pytest.raises(UnreadableNifti, match="not numbers"):
        read_nifti(file)
    sheared = np.eye(4)
    sheared[0, 1] = 0.4
    save(nibabel.Nifti1Image(data, sheared))
    with pytest.raises(UnreadableNifti, match="sheared"):
        read_nifti(file)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_nifti_round_trip_keeps_every_voxel_at_its_place(orientation: str, tmp_path: Path) -> None:
    volume = head(grid((12, 20, 16), (5.0, 6.0, 7.0), ORIENTATIONS[orientation], turned=rigid((3, 5, 8), (0,) * 3)))
    (tmp_path / "v.nii.gz").write_bytes(nifti_bytes(volume))
    back = read_nifti(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-4)

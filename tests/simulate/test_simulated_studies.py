"""`simulate_studies`: valid DICOM, the truth beside it and in its place, the same again for the same seed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from longitudinal.types import Compartment, Contrast, Region
from training.simulate.protocol import StudySize
from training.simulate.studies import StudyTruth, simulate_studies

PATIENTS, TIMEPOINTS = 6, 2


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StudyTruth]]:
    out = tmp_path_factory.mktemp("simulated")
    calls: list[tuple[int, int]] = []
    truths = simulate_studies(PATIENTS, TIMEPOINTS, 7, out, lambda *done: calls.append(done), StudySize.SMALL)
    assert calls == [(n + 1, PATIENTS * TIMEPOINTS) for n in range(PATIENTS * TIMEPOINTS)]
    return out, truths


def headers(folder: Path) -> list[Dataset]:
    return [dcmread(file) for file in sorted(folder.glob("*.dcm"))]


def test_layout_is_patient_study_series(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    assert len(truths) == PATIENTS * TIMEPOINTS
    for truth in truths:
        series = sorted(p.name for p in (out / truth.folder).iterdir())
        assert series == sorted(c.value for c in Contrast)
        assert (out / truth.folder).parent.name == truth.patient_id


def test_every_instance_passes_dciodvfy(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, _ = simulated
    program = Path(sys.executable).with_name("dciodvfy")
    files = [series / name for series in sorted(out.glob("SIM*/*/*")) for name in ("001.dcm", "020.dcm")]
    assert len(files) == PATIENTS * TIMEPOINTS * 4 * 2
    for file in files:
        said = subprocess.run([program, file], capture_output=True, text=True, check=False)
        complaints = [line for line in said.stderr.splitlines() if line.startswith(("Error", "Warning"))]
        assert not complaints, f"{file}: {complaints}"


def test_studies_of_a_patient_lie_about_three_months_apart(simulated: tuple[Path, list[StudyTruth]]) -> None:
    _, truths = simulated
    for first, second in zip(truths[::2], truths[1::2], strict=True):
        assert first.patient_id == second.patient_id
        assert 50 <= (second.acquired - first.acquired).days <= 130


def test_one_frame_of_reference_and_unique_uids(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    seen: set[str] = set()
    for truth in truths:
        datasets = [ds for series in sorted((out / truth.folder).iterdir()) for ds in headers(series)]
        assert {ds.StudyInstanceUID for ds in datasets} == {truth.study_instance_uid}
        assert len({ds.FrameOfReferenceUID for ds in datasets}) == 1
        assert len({ds.SeriesInstanceUID for ds in datasets}) == 4
        assert {ds.StudyDate for ds in datasets} == {truth.acquired.strftime("%Y%m%d")}
        uids = {ds.SOPInstanceUID for ds in datasets}
        assert len(uids) == len(datasets)
        assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
        assert not uids & seen
        seen |= uids


def test_headers_tell_the_contrasts_apart(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    for truth in truths:
        ds = {c: headers(out / truth.folder / c.value)[0] for c in Contrast}
        assert ds[Contrast.T1C].ContrastBolusAgent
        assert all("ContrastBolusAgent" not in ds[c] for c in Contrast if c is not Contrast.T1C)
        assert ds[Contrast.FLAIR].InversionTime > 2000 > 1000 > ds[Contrast.T1].RepetitionTime
        assert ds[Contrast.T2].EchoTime > 80 > 30 > ds[Contrast.T1C].EchoTime
        assert len({ds[c].SeriesDescription for c in Contrast}) == 4


def test_names_in_many_scripts_and_the_issuer_survive(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    firsts = [headers(out / truth.folder / "t1c")[0] for truth in truths[::2]]
    names = {str(ds.PatientName) for ds in firsts}
    assert {"Nowak^Zofia Łucja", "Testmann^Jörg", "Иванова^Анна", "Yamada^Tarou=山田^太郎=やまだ^たろう"} <= names
    assert {ds.IssuerOfPatientID for ds in firsts} == {"SIMULATION"}
    assert len({ds.PatientID for ds in firsts}) == PATIENTS


def lps_affine(file: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    image = nib.Nifti1Image.from_filename(file)
    return np.asarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def test_truth_masks_lie_on_the_t1c_grid(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    for truth in truths:
        labels, affine = lps_affine(out / truth.labels)
        series = headers(out / truth.folder / "t1c")
        first, last = series[0], series[-1]
        assert labels.shape == (first.Columns, first.Rows, len(series))
        for index, ds in ((0, first), (len(series) - 1, last)):
            assert (affine @ [0, 0, index, 1])[:3] == pytest.approx(ds.ImagePositionPatient, abs=1e-3)
        row = np.array(first.ImageOrientationPatient[:3]) * first.PixelSpacing[1]
        assert affine[:3, 0] == pytest.approx(row, abs=1e-4)


def test_truth_volumes_match_the_masks_and_the_image(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    for truth in truths:
        labels, affine = lps_affine(out / truth.labels)
        voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
        whole = sum(lesion.volumes_ml[Region.WHOLE] for lesion in truth.lesions)
        assert np.isin(labels, (1, 2, 3)).sum() * voxel_ml == pytest.approx(whole, rel=0.15, abs=0.5)
        if (labels == Compartment.ENHANCING.label).sum() < 40:
            continue
        pixels = np.stack([ds.pixel_array for ds in headers(out / truth.folder / "t1c")]).transpose(2, 1, 0)
        enhancing = np.median(pixels[labels == Compartment.ENHANCING.label])
        oedema = np.median(pixels[labels == Compartment.OEDEMA.label])
        assert enhancing > 1.3 * oedema


def test_truth_json_is_what_was_returned(simulated: tuple[Path, list[StudyTruth]]) -> None:
    out, truths = simulated
    document = json.loads((out / "truth.json").read_text(encoding="utf-8"))
    assert document == [truth.as_json() for truth in truths]
    assert {entry["course"] for entry in document} == {"progressive", "regressive", "stable"}
    for first, second in zip(document[::2], document[1::2], strict=True):
        change = sum(x["volumes_ml"]["whole"] for x in second["lesions"]) / sum(
            x["volumes_ml"]["whole"] for x in first["lesions"]
        )
        expected = {"progressive": change > 1.03, "regressive": change < 0.95, "stable": 0.85 < change < 1.15}
        assert expected[first["course"]], (first["course"], change)


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    def digest(folder: Path, seed: int) -> dict[str, str]:
        simulate_studies(1, 1, seed, folder, size=StudySize.SMALL)
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".gz")
        return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    first = digest(tmp_path / "a", 3)
    assert digest(tmp_path / "b", 3) == first
    other = digest(tmp_path / "c", 4)
    assert not set(other.values()) & set(first.values())


@pytest.mark.parametrize(("patients", "timepoints"), [(0, 1), (1, 0)])
def test_nothing_to_simulate_is_refused(tmp_path: Path, patients: int, timepoints: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        simulate_studies(patients, timepoints, 1, tmp_path)

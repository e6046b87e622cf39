"""A patient as scanned - four grids, 5.5 mm slices, skull on - prepared and measured; against another toolkit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume
from imaging.mr_series import Matrix, classic, save
from scipy import ndimage

from inference.contracts import LabelArray, PreparedStudy
from inference.nifti_files import read_nifti
from inference.preparation import prepare_series
from inference.registration import register
from inference.resampling import resample
from inference.study import analyse_series, select_files
from longitudinal.types import AlgorithmIdentity, Contrast, Region

RAW = {Contrast.T1C: "t1c", Contrast.T1: "t1", Contrast.T2: "t2", Contrast.FLAIR: "fla"}
PREPARED = {Contrast.T1C: "t1c", Contrast.T1: "t1n", Contrast.T2: "t2w", Contrast.FLAIR: "t2f"}
NAMES = {Contrast.T1C: "AX T1 POST", Contrast.T1: "AX T1", Contrast.T2: "AX T2", Contrast.FLAIR: "AX FLAIR"}


@pytest.fixture(scope="module")
def raw(real_data: Path) -> dict[Contrast, Volume]:
    return {c: read_nifti(real_data / f"segmentation/tcga-fg-6692/raw/{n}.nii.gz") for c, n in RAW.items()}


@pytest.fixture(scope="module")
def theirs(real_data: Path) -> dict[Contrast, Volume]:
    return {c: read_nifti(real_data / f"segmentation/tcga-fg-6692/{n}.nii.gz") for c, n in PREPARED.items()}


@pytest.fixture(scope="module")
def study(raw: dict[Contrast, Volume]) -> PreparedStudy:
    begun = time.process_time()
    prepared = prepare_series(raw)
    assert time.process_time() - begun < 30, "preparing four series must stay cheap (CPU seconds)"
    return prepared


@pytest.fixture(scope="module")
def to_theirs(study: PreparedStudy, theirs: dict[Contrast, Volume]) -> Matrix:
    """Our working space to the space of the prepared images, by T1c alone."""
    brain = np.where(study.brain, study.channels[Contrast.T1C], 0).astype(np.float32)
    return register(Volume(brain, study.working.affine, "PATIENT"), theirs[Contrast.T1C]).matrix


def test_all_four_contrasts_agree_with_the_images_another_toolkit_prepared(
    study: PreparedStudy, theirs: dict[Contrast, Volume], to_theirs: Matrix
) -> None:
    """The way to their space is found on T1c alone, so each other contrast tests our registration between series."""
    inside = ndimage.binary_erosion(study.brain, iterations=3)
    for contrast, volume in theirs.items():
        expected = resample(volume, study.working, to_theirs)
        both = inside & (expected != 0)
        channel = study.channels[contrast]
        found = np.corrcoef(channel[both], expected[both])[0, 1]
        displaced = [
            np.corrcoef(np.roll(channel, shift, axis)[both], expected[both])[0, 1]
            for axis in range(3)
            for shift in (-3, 3)
        ]
        assert found > 0.75, contrast
        assert found > max(displaced) + 0.02, contrast


class TheirSegmentation:
    """Brings a segmentation made in the other space onto our working grid."""

    identity = AlgorithmIdentity("transferred", "1", "0" * 64)

    def __init__(self, labels: Volume, to_theirs: Matrix) -> None:
        self.labels, self.to_theirs = labels, to_theirs
        self.volumes_ml = np.zeros(5)

    def segment(self, study: PreparedStudy) -> LabelArray:
        onto = resample(self.labels, study.working, self.to_theirs, nearest=True).astype(np.uint8)
        onto[onto == 4] = 3  # the enhancing label of the years before 2023
        self.volumes_ml = np.bincount(onto.ravel(), minlength=5) / 1000
        return onto


def test_from_dicom_files_to_volumes_on_thick_slices(
    raw: dict[Contrast, Volume], real_data: Path, to_theirs: Matrix, tmp_path: Path
) -> None:
    files = []
    for i, (contrast, volume) in enumerate(raw.items()):
        facts = {"SeriesInstanceUID": f"1.2.{i}", "SeriesNumber": i, "SeriesDescription": NAMES[contrast]}
        files += save(tmp_path / contrast.value, classic(volume, FrameOfReferenceUID=f"1.9.{i}", **facts))
    seg = read_nifti(real_data / "segmentation/tcga-fg-6692/seg-simple.nii.gz")
    backend = TheirSegmentation(seg, to_theirs)
    analysis = analyse_series(select_files(files), backend)
    assert analysis.reference_series_uid == "1.2.0"
    assert analysis.labels.geometry_equal(raw[Contrast.T1C].match_geometry(analysis.labels), tol=1e-3)
    main = analysis.measurements[0]
    enhancing, whole = backend.volumes_ml[3], backend.volumes_ml[1:4].sum()
    assert main.volumes_ml[Region.ENHANCING] == pytest.approx(enhancing, rel=0.005)
    assert sum(m.volumes_ml[Region.WHOLE] for m in analysis.measurements) == pytest.approx(whole, rel=0.01)
    # rigid transfer keeps volume up to the scale between their space and the patient's
    assert whole == pytest.approx(30.18, rel=0.05)
    assert main.longest is not None
    assert 25 < main.longest.length_mm < 45

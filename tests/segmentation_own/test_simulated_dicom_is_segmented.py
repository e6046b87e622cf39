"""Simulated DICOM studies through series selection, preparation, brain extraction and our network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.backends.own import OwnNetwork
from inference.model_folder import SHIPPED_MODELS
from inference.nifti_files import read_nifti
from inference.resampling import resample
from inference.study import analyse_series, select_files
from longitudinal.types import Region
from training.segmentation.evaluate import compare_labels, evaluate_scan, held_out_scans, summarise
from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies


@pytest.fixture(scope="module")
def network() -> OwnNetwork:
    return OwnNetwork.load(SHIPPED_MODELS / "segmentation-1", "cpu")


def test_dicom_files_in_true_volumes_out(network: OwnNetwork, tmp_path: Path) -> None:
    for truth in simulate_studies(2, 1, 77, tmp_path, size=StudySize.SMALL):
        analysis = analyse_series(select_files((tmp_path / truth.folder).rglob("*.dcm")), network)
        labels = resample(read_nifti(tmp_path / truth.labels), analysis.labels, nearest=True).astype(np.uint8)
        voxel_ml = analysis.labels.voxel_volume / 1000
        found = compare_labels(truth.patient_id, analysis.labels.array.astype(np.uint8), labels, voxel_ml)
        assert (found.dice[Region.WHOLE] or 0) >= 0.75, found
        assert len(analysis.measurements) == len(truth.lesions)


@pytest.mark.slow
def test_whole_tumour_dice_on_held_out_patients(network: OwnNetwork) -> None:
    scans = held_out_scans(6, 31_000)
    table = summarise([evaluate_scan(name, scan, network) for name, scan in scans])
    assert table["whole"]["dice_mean"] >= 0.8
    assert table["core"]["dice_mean"] >= 0.75
    assert abs(table["whole"]["bias_percent"]) < 15

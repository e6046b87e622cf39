"""A real patient as a PACS sends it - four grids, 5.5 mm slices, skull on - through the whole service.

TCGA-FG-6692 (TCIA) goes in by DCMTK's storescu, is segmented by the MSNet cascade, and its SEG comes back to the PACS.
The patient was probably among that network's training cases: a regression case, no evidence of generalisation.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from imaging.mr_series import classic, save
from peers.site import Site, prepare_site
from peers.validators import dicom_errors
from pydicom.uid import generate_uid

from inference.nifti_files import read_nifti
from inference.registration import register
from inference.resampling import resample
from inference.study import load_analysis
from inference.volumes import load_volume
from longitudinal.types import Contrast
from timepoint.small_pacs import running_small_pacs

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(3600)]

RAW = {Contrast.T1C: "t1c", Contrast.T1: "t1", Contrast.T2: "t2", Contrast.FLAIR: "fla"}
NAMES = {Contrast.T1C: "AX T1 POST GD", Contrast.T1: "AX T1", Contrast.T2: "AX T2", Contrast.FLAIR: "AX FLAIR"}
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


@dataclass(frozen=True)
class Returned:
    """What came back for the real study."""

    site: Site
    sent: dict[Contrast, list[Path]]
    seg: Path
    theirs: Path


@pytest.fixture(scope="module")
def returned(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Returned]:
    folder = tmp_path_factory.mktemp("real-study")
    case = real_data / "segmentation" / "tcga-fg-6692"
    sent = _as_dicom(case / "raw", folder / "dicom")
    with running_small_pacs(folder / "pacs") as pacs:
        model = f'[inference]\nmodel = "{real_data / "weights"}"'
        site = prepare_site(folder / "site", destination=(pacs.ae_title, pacs.port), more=model)
        site.start()
        try:
            _storescu(site, folder / "dicom")
            uid = str(pydicom.dcmread(sent[Contrast.T1C][0]).StudyInstanceUID)
            site.await_settled([uid], timeout_s=3000)
            assert {s.state.value for s in site.studies()} == {"published"}, site.describe()
            files = list(pacs.folder.glob("*.dcm"))
            (seg,) = [f for f in files if pydicom.dcmread(f, stop_before_pixels=True).Modality == "SEG"]
            assert [e for f in files for e in dicom_errors(f)] == []
            yield Returned(site, sent, seg, case)
        finally:
            site.kill()


def _as_dicom(raw: Path, folder: Path) -> dict[Contrast, list[Path]]:
    sent = {}
    study = generate_uid(entropy_srcs=["tcga-fg-6692"])
    for number, (contrast, name) in enumerate(RAW.items(), 1):
        facts = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": generate_uid(entropy_srcs=["tcga-fg-6692", name])[:48],
            "FrameOfReferenceUID": generate_uid(entropy_srcs=["tcga-fg-6692", name, "frame"]),
            "SeriesNumber": number,
            "SeriesDescription": NAMES[contrast],
            "PatientID": "TCGA-FG-6692",
            "PatientName": "Tcga^Fg",
            "PatientBirthDate": "",
            "PatientSex": "O",
            "StudyDate": "20030101",
            "StudyTime": "101010",
            "StudyID": "1",
            "AccessionNumber": "",
            "ReferringPhysicianName": "",
            "Manufacturer": "UNKNOWN",
            "BodyPartExamined": "BRAIN",
        }
        datasets = classic(read_nifti(raw / f"{name}.nii.gz"), **facts)
        for k, ds in enumerate(datasets):
            ds.SOPInstanceUID = generate_uid(entropy_srcs=["tcga-fg-6692", name, str(k)])
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        sent[contrast] = save(folder / name, datasets)
    return sent


def _storescu(site: Site, folder: Path) -> None:
    target = ["-aec", "TIMEPOINT", "127.0.0.1", str(site.dicom_port)]
    command = ["/usr/bin/storescu", "-R", "+sd", "+r", *target, str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"}, timeout=300)


def test_the_segmentation_agrees_with_the_fusion_of_five_algorithms(returned: Returned) -> None:
    found, ours = _labels_of(returned.seg, returned.sent[Contrast.T1C])
    analysis = load_analysis(next((returned.site.folder / "data" / "research" / "analyses").iterdir()))
    reference = read_nifti(returned.theirs / "t1c.nii.gz")
    to_theirs = register(analysis.anchor, reference).matrix
    labels = resample(read_nifti(returned.theirs / "seg-simple.nii.gz"), ours, to_theirs, nearest=True)
    labels = np.where(labels == 4, 3, labels)  # the enhancing label of the years before 2023
    dice = {name: _dice(np.isin(found, values), np.isin(labels, values)) for name, values in REGIONS.items()}
    volumes_ml = {n: np.isin(found, v).sum() * ours.voxel_volume / 1000 for n, v in REGIONS.items()}
    print(f"TCGA-FG-6692 raw, on the T1c grid: Dice {dice}, volumes ml {volumes_ml}")
    assert dice["WT"] >= 0.80 and dice["TC"] >= 0.75 and dice["ET"] >= 0.75


def test_the_seg_lies_on_the_t1c_grid_voxel_for_voxel(returned: Returned) -> None:
    found, _ = _labels_of(returned.seg, returned.sent[Contrast.T1C])
    analysis = load_analysis(next((returned.site.folder / "data" / "research" / "analyses").iterdir()))
    source = load_volume(returned.sent[Contrast.T1C]).volume
    expected = analysis.labels.match_geometry(source).array
    assert np.array_equal(found, expected)


def _labels_of(seg: Path, t1c: list[Path]) -> tuple[np.ndarray, hd.Volume]:
    """The compartments in a SEG as a label map on the grid of the original T1c series."""
    source = load_volume(t1c).volume
    segmentation = hd.seg.segread(seg)
    labels = np.zeros(source.spatial_shape, dtype=np.uint8)
    for segment in segmentation.SegmentSequence:
        value = next(
            (v for name, v in (("necrotic", 1), ("edema", 2), ("enhancing", 3)) if name in segment.SegmentLabel), 0
        )
        if value and "core" not in segment.SegmentLabel.replace("necrotic core", ""):
            volume = segmentation.get_volume(segment_numbers=[segment.SegmentNumber], combine_segments=True)
            labels[volume.match_geometry(source).array > 0] = value
    return labels, source


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))

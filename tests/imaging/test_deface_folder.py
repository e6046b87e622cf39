"""Folder of de-identified studies: faces go out of the copies after segmentation, what fails does not stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from imaging.heads_with_faces import bent_head, images_of, stacked
from pydicom import Dataset

from inference.contracts import InferenceError, LabelArray, PreparedStudy
from longitudinal.types import AlgorithmIdentity
from timepoint.deface_folder import NOT_SEGMENTED, deface_folder


class NoTumour:
    """A backend that finds none."""

    identity = AlgorithmIdentity(name="none", version="1", weights_sha256="0" * 64)

    def segment(self, study: PreparedStudy) -> LabelArray:
        return np.zeros(study.brain.shape, np.uint8)


class Broken(NoTumour):
    def segment(self, study: PreparedStudy) -> LabelArray:
        raise InferenceError("No.")


def write(folder: Path) -> list[Dataset]:
    """A study with a T1 and a FLAIR of one head, as `timepoint deidentify` lays it out."""
    head = bent_head(1)
    written = []
    for series, words in (("1", "T1 MPRAGE POST GD"), ("2", "FLAIR")):
        for ds in images_of(head.image, series):
            ds.StudyInstanceUID, ds.SeriesDescription, ds.Modality = "2.25.7", words, "MR"
            ds.SeriesNumber, ds.InstanceNumber = int(series), int(str(ds.SOPInstanceUID).rpartition(".")[2])
            ds.ImageType, ds.PatientID = ["ORIGINAL", "PRIMARY", "M"], "AAAABBBBCCCCDDDD"
            ds.ContrastBolusAgent = "yes" if series == "1" else ""
            ds.EchoTime, ds.RepetitionTime, ds.InversionTime = (3, 2000, 900) if series == "1" else (120, 9000, 2500)
            path = folder / "AAAABBBBCCCCDDDD" / "2.25.7" / str(ds.SeriesInstanceUID) / f"{ds.SOPInstanceUID}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            pydicom.dcmwrite(path, ds, enforce_file_format=True)
            written.append(ds)
    return written


def test_faces_leave_every_image_and_the_images_say_so(tmp_path: Path) -> None:
    before = write(tmp_path)
    (study,) = deface_folder(tmp_path, NoTumour())
    assert study.code == "", study.message
    after = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, tmp_path.rglob("*.dcm"))}
    assert len(after) == study.images == len(before)
    assert all(ds.RecognizableVisualFeatures == "NO" for ds in after.values())
    assert study.removed >= 0.97
    changed = [not np.array_equal(ds.pixel_array, after[str(ds.SOPInstanceUID)].pixel_array) for ds in before]
    assert sum(changed) > len(before) // 3
    head = bent_head(1)
    first = [after[str(ds.SOPInstanceUID)] for ds in before if ds.SeriesNumber == 1]
    original = [ds for ds in before if ds.SeriesNumber == 1]
    assert not (head.brain & (stacked(first) != stacked(original))).any()


def test_what_cannot_be_segmented_does_not_stay(tmp_path: Path) -> None:
    write(tmp_path)
    (study,) = deface_folder(tmp_path, Broken())
    assert study.code == NOT_SEGMENTED
    assert list(tmp_path.rglob("*.dcm")) == []

"""Prepared studies for tests of the backends."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from highdicom import Volume

from inference.contracts import BoolArray, FloatArray, PreparedStudy
from longitudinal.types import Contrast


def prepared_study(channels: dict[Contrast, FloatArray], brain: BoolArray) -> PreparedStudy:
    """A study whose working and native grid are the same 1 mm grid."""
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    reference = Volume(channels[Contrast.T1C], affine, "PATIENT")
    return PreparedStudy(channels, brain, reference, reference, Contrast.T1C, {}, ())


def read_working_grid(file: Path) -> npt.NDArray[np.float32]:
    """An LPS NIfTI file at 1 mm as (slice, row, column)."""
    image = nib.load(file)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    return np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0))


def brats_case(folder: Path) -> PreparedStudy:
    """A skull-stripped, co-registered case in BraTS form (`t1c`, `t1n`, `t2w`, `t2f`)."""
    channels = {contrast: read_working_grid(folder / f"{contrast}.nii.gz") for contrast in Contrast}
    return prepared_study(channels, np.any([channel > 0 for channel in channels.values()], axis=0))


def dice(first: BoolArray, second: BoolArray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))

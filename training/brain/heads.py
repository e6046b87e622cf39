"""Whole heads as material for synthetic MR images: label maps (FreeSurfer labels plus tissue outside the brain) and
heads of our own simulator (the MNI152 brain in a made skull, face and neck)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.simulate.anatomy import Tissue, simulate_head

CSF = 24
SULCUS_RADIUS_MM = 6.0
"""Sulci and fissures narrower than twice this belong to the brain mask, as in BraTS; the outer CSF does not."""

OPPOSITE = dict(
    zip(
        (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 57, 58, 60, 62, 137, 164),
        (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 25, 26, 28, 30, 136, 163),
        strict=True,
    )
)
"""Right-hemisphere label -> the left label of the same tissue."""

FIRST_EXTRACEREBRAL = 500

LABEL_OF_TISSUE = {
    Tissue.AIR: 0,
    Tissue.CSF: CSF,
    Tissue.GM: 3,
    Tissue.WM: 2,
    Tissue.FAT: 507,
    Tissue.SKIN: 508,
    Tissue.EYE: 509,
    Tissue.MUSCLE: 511,
    Tissue.VESSEL: 514,
    Tissue.BONE: 515,
    Tissue.MARROW: 516,
}
"""Simulated tissue -> label of the label maps."""


@dataclass(frozen=True)
class Head:
    """A label map on a 1 mm grid indexed (slice, row, column) towards S, P, L.

    `classes` holds indices into `tissues` (left-hemisphere FreeSurfer labels); `brain` is the truth mask.
    """

    classes: npt.NDArray[np.uint8]
    tissues: tuple[int, ...]
    brain: npt.NDArray[np.bool_]


def load_heads(folder: Path) -> list[Head]:
    """Read every `*.nii.gz` label map of a folder.

    Raises:
        FileNotFoundError: when the folder holds none.
    """
    files = sorted(folder.glob("*.nii.gz"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no label map (*.nii.gz)")
    return [head_from_labels(_read(file)) for file in files]


def head_from_labels(labels: npt.NDArray[np.int16]) -> Head:
    """A head from FreeSurfer labels (slices, rows, columns) at 1 mm; labels from 500 on lie outside the brain."""
    merged = labels.copy()
    for right, left in OPPOSITE.items():
        merged[labels == right] = left
    tissues, classes = np.unique(merged, return_inverse=True)
    return Head(
        classes.reshape(labels.shape).astype(np.uint8),
        tuple(int(tissue) for tissue in tissues),
        brain_of(labels),
    )


def simulated_head(seed: int) -> Head:
    """The head of the simulated patient with this seed."""
    head = simulate_head(seed)
    return Head(head.tissue, tuple(LABEL_OF_TISSUE[tissue] for tissue in Tissue), head.brain)


def brain_of(labels: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Brain mask of a label map: brain tissue and ventricles, closed over sulci and fissures, without holes."""
    tissue = (labels > 0) & (labels < FIRST_EXTRACEREBRAL) & (labels != CSF)
    box = _bounding_box(tissue, margin=int(SULCUS_RADIUS_MM) + 2)
    inside = tissue[box]
    grown = ndimage.distance_transform_edt(~inside) <= SULCUS_RADIUS_MM
    closed = ndimage.distance_transform_edt(grown) > SULCUS_RADIUS_MM
    largest = cc3d.largest_k(closed | inside, k=1, connectivity=6) > 0
    brain = np.zeros(labels.shape, dtype=bool)
    brain[box] = ndimage.binary_fill_holes(largest)
    return brain


def _read(file: Path) -> npt.NDArray[np.int16]:
    image = nib.as_closest_canonical(nib.load(file))  # type: ignore[no-untyped-call]
    if not np.allclose(image.header.get_zooms()[:3], 1.0, atol=0.01):
        raise ValueError(f"{file} is not at 1 mm")
    ras = np.asarray(image.dataobj).astype(np.int16)
    return np.ascontiguousarray(ras[::-1, ::-1].transpose(2, 1, 0))


def _bounding_box(mask: npt.NDArray[np.bool_], margin: int) -> tuple[slice, ...]:
    limits: Sequence[npt.NDArray[np.intp]] = np.nonzero(mask)
    return tuple(
        slice(max(int(axis.min()) - margin, 0), min(int(axis.max()) + margin + 1, size))
        for axis, size in zip(limits, mask.shape, strict=True)
    )

"""Heads whose face, brain and lesion are known: the mean head, bent, stretched, turned and seen in other contrasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy import ndimage

from inference.face_atlas import face_atlas

Array = npt.NDArray[np.float32]
_ROOT = "1.2.826.0.1.3680043.10.1471"


@dataclass(frozen=True)
class Head:
    """Image, true face and true brain on one grid, LPS."""

    image: Volume
    face: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]


def bent_head(seed: int, contrast: str = "t1", slice_mm: float = 2.0, cut: float = 0.0) -> Head:
    """A head of its own shape (2 mm in plane). `contrast`: t1 or t2 (inverted in tissue); `cut`: share of the slices
    missing at the lower end."""
    rng = np.random.default_rng(seed)
    atlas = face_atlas()
    shape = atlas.head.spatial_shape
    turn = _rotation(rng.uniform(-0.12, 0.12, 3)) @ np.diag(rng.uniform(0.94, 1.06, 3))
    middle = np.array(shape) / 2
    index = np.indices(shape).reshape(3, -1)
    bend = np.stack([_smooth(rng, shape, 1.5).ravel() for _ in range(3)])
    place = turn @ (index - middle[:, None]) + middle[:, None] + rng.uniform(-3, 3, (3, 1)) + bend

    def seen(region: Array, order: int) -> Array:
        return ndimage.map_coordinates(region, place, order=order, mode="constant").reshape(shape).astype(np.float32)

    image = seen(atlas.head.array, 1)
    tissue = image > 20
    if contrast == "t2":
        image = np.where(tissue, 275 - image, image)
    image = image * (1 + 0.15 * _smooth(rng, shape, 1.0)) + np.abs(rng.normal(0, 3, shape)).astype(np.float32)
    face, brain = seen(atlas.face.array, 0) > 0.5, seen(atlas.brain.array, 0) > 0.5
    step = max(1, round(slice_mm / 2.0))
    first = int(cut * shape[0])
    kept = slice(first, None, step)
    affine = atlas.head.affine @ np.diag([step, 1.0, 1.0, 1.0])
    affine[:3, 3] = (atlas.head.affine @ np.array([first, 0, 0, 1]))[:3]
    volume = Volume(np.ascontiguousarray(image[kept] * 4, np.float32), affine, "PATIENT")
    return Head(volume, face[kept], brain[kept])


def images_of(volume: Volume, series: str, frame_of_reference: str = f"{_ROOT}.9") -> list[Dataset]:
    """The volume as classic MR images."""
    found = []
    columns, rows = volume.affine[:3, 2], volume.affine[:3, 1]
    for number in range(volume.spatial_shape[0]):
        pixels: npt.NDArray[Any] = np.clip(volume.array[number], 0, 4095).astype(np.uint16)
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"{_ROOT}.{series}.{number + 1}"
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"{_ROOT}.{series}", frame_of_reference
        ds.Rows, ds.Columns = pixels.shape
        ds.PixelSpacing = [float(np.linalg.norm(rows)), float(np.linalg.norm(columns))]
        ds.SliceThickness = float(np.linalg.norm(volume.affine[:3, 0]))
        ds.ImageOrientationPatient = [*(columns / np.linalg.norm(columns)), *(rows / np.linalg.norm(rows))]
        ds.ImagePositionPatient = [float(v) for v in (volume.affine @ [number, 0, 0, 1])[:3]]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"
        found.append(ds)
    return found


def stacked(images: list[Dataset]) -> npt.NDArray[Any]:
    return np.stack([ds.pixel_array for ds in images])


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], amplitude: float) -> Array:
    coarse = rng.normal(0, 1, (5, 5, 5))
    fine = ndimage.zoom(coarse, [n / 5 for n in shape], order=3, grid_mode=True, mode="nearest")
    return (amplitude * fine / np.abs(fine).max()).astype(np.float32)


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", angles).as_matrix())

"""A head that can be imaged on any grid, and MR images in memory as scanners make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage
from scipy.spatial.transform import Rotation

Matrix = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]

ORIENTATIONS: dict[str, tuple[list[float], list[float], list[float]]] = {
    # directions (LPS) in which slice, row and column index grow
    "axial": ([0, 0, 1], [0, 1, 0], [1, 0, 0]),
    "axial reversed": ([0, 0, -1], [0, 1, 0], [1, 0, 0]),
    "axial flipped": ([0, 0, 1], [0, -1, 0], [-1, 0, 0]),
    "sagittal": ([1, 0, 0], [0, 0, -1], [0, 1, 0]),
    "sagittal reversed": ([-1, 0, 0], [0, 0, -1], [0, 1, 0]),
    "coronal": ([0, 1, 0], [0, 0, -1], [1, 0, 0]),
    "coronal reversed": ([0, -1, 0], [0, 0, -1], [1, 0, 0]),
}


def grid(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    axes: tuple[Any, Any, Any] = ORIENTATIONS["axial"],
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    turned: Matrix | None = None,
) -> Volume:
    """An empty float32 volume whose middle lies at `centre` (LPS mm)."""
    directions = np.array(axes, dtype=np.float64).T
    if turned is not None:
        directions = turned[:3, :3] @ directions
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing)
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Volume(np.zeros(shape, dtype=np.float32), affine, "PATIENT")


def rigid(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Matrix:
    """Rotation about the origin, then a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def moved(volume: Volume, pose: Matrix) -> Volume:
    """The same voxels at another place in the patient."""
    return Volume(volume.array, pose @ volume.affine, "PATIENT", frame_of_reference_uid=volume.frame_of_reference_uid)


def with_array(volume: Volume, array: npt.NDArray[Any], frame: str | None = None) -> Volume:
    return Volume(array, volume.affine, "PATIENT", frame_of_reference_uid=frame)


def voxel_places(volume: Volume) -> Floats:
    """LPS mm of every voxel centre, (3, slices, rows, columns)."""
    index = np.indices(volume.spatial_shape, dtype=np.float64).reshape(3, -1)
    return (volume.affine[:3, :3] @ index + volume.affine[:3, 3:]).reshape(3, *volume.spatial_shape)


def head(
    onto: Volume,
    inverted: bool = False,
    seed: int = 0,
    pose: Matrix | None = None,
    skull: bool = True,
    scale: float = 1.0,
) -> Volume:
    """An asymmetric head of 140 x 176 x 144 mm, in air; `inverted` swaps dark and bright as T2 does to T1.

    `pose` moves the head in the scanner (LPS of the head to LPS of the image), `scale` makes it smaller.
    """
    places = voxel_places(onto)
    if pose is not None:
        inverse = np.linalg.inv(pose)
        places = np.einsum("ij,j...->i...", inverse[:3, :3], places) + inverse[:3, 3].reshape(3, 1, 1, 1)
    x, y, z = places / scale
    r = np.sqrt((x / 70) ** 2 + (y / 88) ** 2 + (z / 72) ** 2)
    texture = 180 * np.sin(x / 9) * np.cos(y / 11 + 0.02 * z) * np.cos(z / 13)
    value = np.where(r < 1, 500.0, 0.0) + np.where(r < 0.9, texture, 0.0)
    value += np.where(((x - 25) / 18) ** 2 + ((y + 20) / 15) ** 2 + ((z - 10) / 17) ** 2 < 1, 350, 0)
    value -= np.where((x / 8) ** 2 + ((y - 5) / 25) ** 2 + (z / 12) ** 2 < 1, 350, 0)
    value += np.where((r > 0.94) & (r < 1), 600, 0) if skull else 0
    inside = r < (1 if skull else 0.92)
    value = np.where(inside, 1300 - 0.8 * value if inverted else value, 0.0)
    noise = np.abs(np.random.default_rng(seed).normal(0, 12, onto.spatial_shape))
    return with_array(onto, np.where(inside | skull, value + noise, 0.0).astype(np.float32))


def classic(volume: Volume, **attributes: Any) -> list[Dataset]:
    """One MR image for each slice of a volume, values rounded to 16 bit, stored with a rescale of 0.5 x - 10."""
    return [_classic_slice(volume, k, attributes) for k in range(volume.spatial_shape[0])]


def enhanced(volume: Volume, **attributes: Any) -> Dataset:
    """One Enhanced MR image of a volume."""
    image = _image(EnhancedMRImageStorage, "1.2.3.4.9", volume, attributes)
    image.NumberOfFrames = volume.spatial_shape[0]
    image.PixelData = _stored(volume.array).tobytes()
    shared = Dataset()
    orientation, measures, rescale = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _cosines(volume)
    measures.PixelSpacing = [float(s) for s in volume.spacing[1:]]
    measures.SliceThickness = float(volume.spacing[0])
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 0.5, -10, "US"
    shared.PlaneOrientationSequence = DicomSequence([orientation])
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PixelValueTransformationSequence = DicomSequence([rescale])
    image.SharedFunctionalGroupsSequence = DicomSequence([shared])
    image.PerFrameFunctionalGroupsSequence = DicomSequence([_frame(volume, k) for k in range(volume.spatial_shape[0])])
    return image


def save(folder: Path, datasets: list[Dataset]) -> list[Path]:
    """Write datasets as files whose names say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i, dataset in enumerate(datasets):
        files.append(folder / f"{(i * 7919) % 100003:06d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _frame(volume: Volume, k: int) -> Dataset:
    frame, position = Dataset(), Dataset()
    position.ImagePositionPatient = _position(volume, k)
    frame.PlanePositionSequence = DicomSequence([position])
    return frame


def _classic_slice(volume: Volume, k: int, attributes: dict[str, Any]) -> Dataset:
    series = attributes.get("SeriesInstanceUID", "1.2.3.4")
    image = _image(MRImageStorage, f"{series}.{k + 1}", volume, attributes)
    image.InstanceNumber = k + 1
    image.ImagePositionPatient = _position(volume, k)
    image.ImageOrientationPatient = _cosines(volume)
    image.PixelSpacing = [float(s) for s in volume.spacing[1:]]
    image.SliceThickness = float(volume.spacing[0])
    image.RescaleSlope, image.RescaleIntercept = 0.5, -10
    image.PixelData = _stored(volume.array[k]).tobytes()
    return image


def _image(sop_class: str, uid: str, volume: Volume, attributes: dict[str, Any]) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = sop_class, uid, "MR"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SeriesNumber = "1.2.3", "1.2.3.4", 4
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    image.FrameOfReferenceUID = volume.frame_of_reference_uid or "1.2.3.99"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = volume.spatial_shape[1:]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    return image


def _stored(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    return np.clip(np.round((values + 10) * 2), 0, 65535).astype("<u2")


def _position(volume: Volume, k: int) -> list[float]:
    return [float(v) for v in volume.affine[:3, 3] + k * volume.affine[:3, 0]]


def _cosines(volume: Volume) -> list[float]:
    rows, columns = volume.direction[:, 1], volume.direction[:, 2]
    return [float(v) for v in [*columns, *rows]]

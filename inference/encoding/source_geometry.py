"""Which source frame each slice of a label volume lies on.

A label volume comes from de-identified copies; its affine must be that of the original series. The check is slice
by slice on position, orientation, pixel spacing and matrix (PS3.3 C.7.6.2), so reversed, oblique and enhanced
multi-frame series all go the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom import PlanePositionSequence, Volume
from pydicom.dataset import Dataset

from inference.encoding.errors import EncodingError
from inference.encoding.source_headers import is_multi_frame

POSITION_TOLERANCE_MM = 0.1
DIRECTION_TOLERANCE = 1e-3

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SourceFrame:
    """One frame of the source: the instance, the frame number where it is multi-frame (from 1), its plane.

    `position` is the LPS centre of the first pixel, `row` and `column` are the unit vectors along a row (growing
    column index) and down a column, `spacing` is (between rows, between columns) in mm.
    """

    image: Dataset
    frame_number: int | None
    position: Vector
    row: Vector
    column: Vector
    spacing: Vector

    @property
    def normal(self) -> Vector:
        return np.cross(self.row, self.column)

    def plane_position(self) -> PlanePositionSequence:
        return PlanePositionSequence("PATIENT", image_position=[float(x) for x in self.position])

    def to_image(self, point: Sequence[float]) -> tuple[float, float, float]:
        """(column, row, distance from the plane in mm) of an LPS point; (0, 0) is the top left corner of the
        first pixel, so the centre of that pixel is (0.5, 0.5) (PS3.3 C.18.6.1.1)."""
        offset = np.asarray(point, dtype=np.float64) - self.position
        column = float(offset @ self.row / self.spacing[1]) + 0.5
        row = float(offset @ self.column / self.spacing[0]) + 0.5
        return column, row, float(offset @ self.normal)


def source_frames(images: Sequence[Dataset]) -> list[SourceFrame]:
    """All frames of a series that have a place in space, in instance and frame order."""
    frames: list[SourceFrame] = []
    for image in sorted(images, key=lambda ds: (int(ds.get("InstanceNumber") or 0), str(ds.SOPInstanceUID))):
        frames.extend(_frames_of(image))
    return frames


def _frames_of(image: Dataset) -> list[SourceFrame]:
    if not is_multi_frame(image):
        if "ImagePositionPatient" not in image or "ImageOrientationPatient" not in image:
            return []
        return [_frame(image, None, image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing)]
    shared = (image.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frames = []
    for number, own in enumerate(image.PerFrameFunctionalGroupsSequence, start=1):
        position = _group(own, shared, "PlanePositionSequence").get("ImagePositionPatient")
        orientation = _group(own, shared, "PlaneOrientationSequence").get("ImageOrientationPatient")
        spacing = _group(own, shared, "PixelMeasuresSequence").get("PixelSpacing")
        if position and orientation and spacing:
            frames.append(_frame(image, number, position, orientation, spacing))
    return frames


def _group(own: Dataset, shared: Dataset, keyword: str) -> Dataset:
    sequence = own.get(keyword) or shared.get(keyword)
    return sequence[0] if sequence else Dataset()


def _frame(
    image: Dataset,
    number: int | None,
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
) -> SourceFrame:
    cosines = np.array([float(x) for x in orientation])
    return SourceFrame(
        image,
        number,
        np.array([float(x) for x in position]),
        cosines[:3],
        cosines[3:],
        np.array([float(x) for x in spacing]),
    )


def match_slices(labels: Volume, images: Sequence[Dataset]) -> list[SourceFrame]:
    """The source frame under each slice of `labels` (slice, row, column), in slice order.

    Raises:
        EncodingError: when a slice has no frame, or a frame of the same stack has no slice.
    """
    frames = [frame for frame in source_frames(images) if _same_plane_family(labels, frame)]
    if not frames:
        raise EncodingError(
            f"no source image has the orientation, pixel spacing and matrix of the label volume "
            f"{labels.spatial_shape}; encode on the series that the masks were made from"
        )
    slices = np.arange(labels.spatial_shape[0])
    wanted = labels.affine[:3, 3] + np.outer(slices, labels.affine[:3, 0])
    positions = np.array([frame.position for frame in frames])
    distances = np.linalg.norm(wanted[:, None, :] - positions[None, :, :], axis=-1)
    lost = np.flatnonzero(distances.min(axis=1) > POSITION_TOLERANCE_MM)
    if lost.size:
        raise EncodingError(
            f"{lost.size} of {slices.size} slices of the label volume lie on no source image (the first is slice "
            f"{lost[0]}, {distances[lost[0]].min():.2f} mm off): the masks are not on the grid of this series"
        )
    uncovered = int((distances.min(axis=0) > POSITION_TOLERANCE_MM).sum())
    if uncovered:
        raise EncodingError(
            f"{uncovered} source images of the same stack have no slice in the label volume of {slices.size} "
            "slices: the masks were made from part of the series"
        )
    return [frames[int(nearest)] for nearest in distances.argmin(axis=1)]


def _same_plane_family(labels: Volume, frame: SourceFrame) -> bool:
    row, column = labels.affine[:3, 2], labels.affine[:3, 1]
    spacing = np.array([np.linalg.norm(column), np.linalg.norm(row)])
    return (
        labels.spatial_shape[1:] == (int(frame.image.Rows), int(frame.image.Columns))
        and bool(np.allclose(spacing, frame.spacing, rtol=1e-3))
        and bool(np.allclose(row / spacing[1], frame.row, atol=DIRECTION_TOLERANCE))
        and bool(np.allclose(column / spacing[0], frame.column, atol=DIRECTION_TOLERANCE))
    )

"""The faces of one study: every image of it without the pixels of the face, or a reason why the study may not leave.

The face is found in the reference series and taken over into the others: directly within its frame of reference, else
through a registration. Pixels are looked up one by one where they lie in the patient, so that thick, oblique, single
and Enhanced images are treated alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from inference.contracts import FloatArray, Matrix
from inference.defacing import DefacingCode, DefacingRefused, FacePlan, plan_defacing
from inference.mutual_information import RegistrationFailed
from inference.registration import register
from inference.resampling import IDENTITY
from inference.volumes import UnreadableSeries, planes_of, volume_of

CODE = ("113102", "Clean Recognizable Visual Features Option")
LEAST_REMOVED_FULL, LEAST_REMOVED_PARTIAL = 0.97, 0.92
"""Share of the tissue in the face region that must be gone, where the whole region was imaged and where not."""
WHOLE_FACE = 0.95
"""Share of the face region within the field of view that counts as the whole."""
AIR = 0.1
"""Share of the 99th percentile of a series up to which a pixel is air."""


@dataclass(frozen=True)
class SeriesFace:
    """QC of one series: tissue in the face region, what of it was removed, guarded voxels changed (always 0)."""

    series_uid: str
    face_ml: float
    removed_ml: float
    guarded_changed: int

    @property
    def removed(self) -> float:
        """Share of the face tissue that is gone; 1 where none was imaged."""
        return self.removed_ml / self.face_ml if self.face_ml > 0 else 1.0


def deface_study(
    series: Mapping[str, Sequence[Dataset]], reference_uid: str, lesions: Volume | None
) -> tuple[list[SeriesFace], FacePlan]:
    """Remove the face from all images of a study, in place, and mark them (0028,0302) NO and 113102.

    Args:
        series: the MR images with pixel data of each series, by series UID.
        reference_uid: the series that was segmented; it shows the whole head.
        lesions: labels of the tumour in the LPS space of the reference (0 none), None without a tumour.

    Raises:
        DefacingRefused: when any of the images cannot be relied on to be without face; some may be changed then.
    """
    reference = _volume(series[reference_uid])
    plan = plan_defacing(reference, lesions)
    found = []
    for uid, images in sorted(series.items()):
        found.append(_deface_series(uid, images, plan, _to_reference(images, reference)))
    return found, plan


def mark(images: Sequence[Dataset]) -> None:
    """State in the images that recognisable features are gone (PS3.15 E.1.1, CID 7050)."""
    for dataset in images:
        dataset.RecognizableVisualFeatures = "NO"
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CODE[0], "DCM", CODE[1]
        dataset.DeidentificationMethodCodeSequence = Items(
            [*dataset.get("DeidentificationMethodCodeSequence", []), item]
        )


def _to_reference(images: Sequence[Dataset], reference: Volume) -> Matrix:
    frame = str(images[0].get("FrameOfReferenceUID", ""))
    if frame and frame == reference.frame_of_reference_uid:
        return IDENTITY
    try:
        return register(_volume(images), reference).matrix
    except RegistrationFailed as error:
        raise DefacingRefused(DefacingCode.NO_MATCH, f"A series in a space of its own: {error}") from None


def _volume(images: Sequence[Dataset]) -> Volume:
    try:
        return volume_of(list(images)).volume
    except UnreadableSeries as error:
        raise DefacingRefused(DefacingCode.UNPLACED, str(error)) from None


def _deface_series(uid: str, images: Sequence[Dataset], plan: FacePlan, to_reference: Matrix) -> SeriesFace:
    air = AIR * float(np.percentile(np.concatenate([_pixels(d)[:, ::4, ::4].ravel() for d in images]), 99))
    face_ml = removed_ml = 0.0
    changed = 0
    for dataset in images:
        pixels = _pixels(dataset).copy()
        ground = pixels.min()
        for frame, plane in zip(pixels, _planes(dataset), strict=True):
            points = _points(plane, frame.shape)
            face, guarded = plan.face(points, to_reference), plan.guarded(points, to_reference)
            tissue, before = face & (frame > air), frame.copy()
            frame[face & ~guarded] = ground
            voxel_ml = _voxel_ml(dataset, plane)
            face_ml += float(tissue.sum()) * voxel_ml
            removed_ml += float((tissue & (frame == ground)).sum()) * voxel_ml
            changed += int((guarded & (frame != before)).sum())
        _store(dataset, pixels)
    result = SeriesFace(uid, round(face_ml, 3), round(removed_ml, 3), changed)
    least = LEAST_REMOVED_FULL if plan.coverage >= WHOLE_FACE else LEAST_REMOVED_PARTIAL
    if result.removed < least:
        message = f"Only {result.removed:.0%} of the tissue in the face region could be removed."
        raise DefacingRefused(DefacingCode.LEFT_OVER, message)
    return result


def _planes(dataset: Dataset) -> list[Matrix]:
    try:
        return planes_of(dataset)
    except UnreadableSeries as error:
        raise DefacingRefused(DefacingCode.UNPLACED, str(error)) from None


def _pixels(dataset: Dataset) -> npt.NDArray[Any]:
    """Stored values (frames, rows, columns)."""
    try:
        pixels = np.asarray(dataset.pixel_array)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError, KeyError) as error:
        raise DefacingRefused(DefacingCode.UNPLACED, f"Pixels cannot be decoded ({type(error).__name__}).") from None
    return pixels if pixels.ndim == 3 else pixels[None]


def _points(plane: Matrix, shape: tuple[int, ...]) -> FloatArray:
    """LPS mm of every pixel of a frame (rows, columns, 3)."""
    rows, columns = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    single = plane.astype(np.float32)
    points: FloatArray = columns[..., None] * single[:3, 0] + rows[..., None] * single[:3, 1] + single[:3, 3]
    return points.astype(np.float32)


def _voxel_ml(dataset: Dataset, plane: Matrix) -> float:
    area = float(np.linalg.norm(plane[:3, 0]) * np.linalg.norm(plane[:3, 1]))
    return area * float(dataset.get("SliceThickness") or 1.0) / 1000.0


def _store(dataset: Dataset, pixels: npt.NDArray[Any]) -> None:
    """Native little-endian pixel data in place of what was there."""
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if int(dataset.BitsAllocated) == 8 else "OW"
    dataset["PixelData"].is_undefined_length = False

"""Images of one series -> one volume with its place in the patient.

Classic and Enhanced MR, any order of files, any transfer syntax that an installed decoder reads. The modality
rescale is applied, so that values are the scanner's (PS3.3 C.11.1, Pixel Value Transformation for Enhanced MR).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import Volume
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from inference.contracts import FloatArray, InferenceError, Matrix
from inference.slice_stack import BrokenStack, SliceGap, SliceStack, find_slice_gaps, stack_slices

__all__ = ["SeriesVolume", "SliceGap", "UnreadableSeries", "find_slice_gaps", "load_volume", "planes_of", "volume_of"]


_PLACING_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)


class UnreadableSeries(InferenceError):
    """The images of a series do not make a volume; the message says why."""


@dataclass(frozen=True)
class SeriesVolume:
    """A series as one float32 volume (slices, rows, columns), right-handed as highdicom orders slices.

    `sop_instance_uids` names the image behind each slice (one and the same for an Enhanced MR image).
    """

    volume: Volume
    series_uid: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class _Frame:
    """One slice before it is placed: its geometry, its dataset and where its pixels are in it."""

    dataset: Dataset
    number: int | None
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    slope: float
    intercept: float


def load_volume(files: Sequence[Path]) -> SeriesVolume:
    """Read the files of one series.

    Raises:
        UnreadableSeries: when a file is no DICOM file, or the images make no volume (see `volume_of`).
    """
    return volume_of([_read(file) for file in sorted(files)])


def volume_of(datasets: Sequence[Dataset]) -> SeriesVolume:
    """Build the volume of one series.

    Args:
        datasets: the classic or Enhanced MR images of one series with pixel data, in any order.

    Raises:
        UnreadableSeries: images of several series, no pixel data, missing or differing orientation, duplicate or
            missing slice positions, uneven spacing, one slice only, colour images, or pixel data that no decoder reads.
    """
    if not datasets:
        raise UnreadableSeries("The series holds no image.")
    series = {str(d.get("SeriesInstanceUID", "")) for d in datasets}
    if len(series) != 1:
        raise UnreadableSeries(f"The images belong to {len(series)} series; a volume is built from one.")
    unique = {str(d.get("SOPInstanceUID", i)): d for i, d in enumerate(datasets)}
    frames = [frame for dataset in unique.values() for frame in _frames_of(dataset)]
    try:
        stack = stack_slices([f.position for f in frames], [f.orientation for f in frames])
    except BrokenStack as error:
        raise UnreadableSeries(f"Series {_number(datasets[0])}: {error}.") from error
    return _assemble(frames, stack, series.pop())


def planes_of(dataset: Dataset) -> list[Matrix]:
    """Affine of each frame of an MR image: (column index, row index, 0, 1) to LPS mm.

    Raises:
        UnreadableSeries: when a frame does not state where it is.
    """
    planes = []
    for frame in _frames_of(dataset):
        plane: Matrix = np.eye(4)
        plane[:3, 0] = np.asarray(frame.orientation[:3]) * frame.spacing[1]
        plane[:3, 1] = np.asarray(frame.orientation[3:]) * frame.spacing[0]
        plane[:3, 3] = frame.position
        planes.append(plane)
    return planes


def _assemble(frames: Sequence[_Frame], stack: SliceStack, series_uid: str) -> SeriesVolume:
    # highdicom's volumes are right-handed: slices run against the normal of the in-plane axes.
    ordered = [frames[i] for i in reversed(stack.order)]
    spacing = np.asarray([f.spacing for f in ordered])
    if np.ptp(spacing, axis=0).max() > 1e-3:
        raise UnreadableSeries(f"Series {_number(ordered[0].dataset)}: the images have different pixel spacings.")
    volume = Volume.from_attributes(
        array=_pixels(ordered),
        image_position=ordered[0].position,
        image_orientation=stack.orientation,
        pixel_spacing=ordered[0].spacing,
        spacing_between_slices=stack.spacing_mm,
        coordinate_system="PATIENT",
        frame_of_reference_uid=_text_or_none(ordered[0].dataset, "FrameOfReferenceUID"),
    )
    flipped = volume.affine.copy()
    flipped[:3, 0] = -np.asarray(stack.normal) * stack.spacing_mm
    placed = Volume(volume.array, flipped, "PATIENT", frame_of_reference_uid=volume.frame_of_reference_uid)
    return SeriesVolume(placed, series_uid, tuple(str(f.dataset.get("SOPInstanceUID", "")) for f in ordered))


def _pixels(frames: Sequence[_Frame]) -> FloatArray:
    """Rescaled values of every frame."""
    first = frames[0].dataset
    out = np.empty((len(frames), int(first.Rows), int(first.Columns)), dtype=np.float32)
    for i, frame in enumerate(frames):
        decoded = _decode(frame.dataset)  # pydicom keeps what it decoded, so an Enhanced image is decoded once
        pixels = decoded if decoded.ndim == 2 else decoded[frame.number or 0]
        if pixels.shape != out.shape[1:]:
            raise UnreadableSeries(f"Series {_number(first)}: the images have different numbers of rows or columns.")
        np.multiply(pixels, frame.slope, out=out[i], casting="unsafe")
        out[i] += frame.intercept
    return out


def _decode(dataset: Dataset) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(dataset.pixel_array)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError, KeyError) as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        name = getattr(syntax, "name", "unknown transfer syntax")
        raise UnreadableSeries(f"Series {_number(dataset)}: pixel data ({name}) cannot be decoded.") from error


def _frames_of(dataset: Dataset) -> list[_Frame]:
    if "PixelData" not in dataset:
        raise UnreadableSeries(f"Series {_number(dataset)}: an image has no pixel data.")
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise UnreadableSeries(f"Series {_number(dataset)}: colour images cannot be measured.")
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
            raise UnreadableSeries(f"Series {_number(dataset)}: a multi-frame image does not place its frames.")
        return [_frame(dataset, None, [dataset])]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return [_frame(dataset, i, [*_macros(item), *_macros(shared)]) for i, item in enumerate(per_frame)]


def _macros(item: Dataset) -> list[Dataset]:
    return [item[keyword].value[0] for keyword in _PLACING_MACROS if item.get(keyword)]


def _frame(dataset: Dataset, number: int | None, sources: Sequence[Mapping[Any, Any] | Dataset]) -> _Frame:
    return _Frame(
        dataset,
        number,
        _numbers(dataset, sources, "ImagePositionPatient", 3),
        _numbers(dataset, sources, "ImageOrientationPatient", 6),
        _numbers(dataset, sources, "PixelSpacing", 2),
        _numbers(dataset, sources, "RescaleSlope", 1, default=1.0)[0],
        _numbers(dataset, sources, "RescaleIntercept", 1, default=0.0)[0],
    )


def _numbers(
    dataset: Dataset, sources: Iterable[Any], keyword: str, count: int, default: float | None = None
) -> tuple[float, ...]:
    stated = (source.get(keyword) for source in sources)
    value: Any = next((v for v in stated if v is not None and v != ""), default)
    if value is None:
        raise UnreadableSeries(f"Series {_number(dataset)}: an image lacks {keyword}, so its place is not known.")
    try:
        numbers = tuple(float(v) for v in (value if count > 1 else [value]))
    except (TypeError, ValueError) as error:
        raise UnreadableSeries(f"Series {_number(dataset)}: {keyword} is not a number.") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UnreadableSeries(f"Series {_number(dataset)}: {keyword} does not hold {count} numbers.")
    return numbers


def _read(file: Path) -> Dataset:
    try:
        return dcmread(file)
    except InvalidDicomError as error:
        raise UnreadableSeries(f"{file.name} is not a DICOM file.") from error
    except (OSError, EOFError, ValueError) as error:
        raise UnreadableSeries(f"{file.name} cannot be read as DICOM: the file is damaged or not readable.") from error


def _number(dataset: Dataset) -> str:
    return str(dataset.get("SeriesNumber") or "without a number")


def _text_or_none(dataset: Dataset, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "") or None

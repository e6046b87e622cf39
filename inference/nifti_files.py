"""Volumes as NIfTI files. NIfTI speaks RAS and (column, row, slice), we speak LPS and (slice, row, column)."""

# nibabel is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from highdicom import Volume
from nibabel.filebasedimages import ImageFileError

from inference.contracts import InferenceError, Matrix

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class UnreadableNifti(InferenceError):
    """A NIfTI file is damaged, not three-dimensional, or does not say where it lies in the patient."""


def read_nifti(file: Path) -> Volume:
    """Read a 3-D NIfTI file as float32 (slices, rows, columns) with its LPS affine; no axis is flipped.

    Raises:
        UnreadableNifti: when the file is damaged, has no orientation, is sheared, or is not one 3-D image.
    """
    try:
        image: Any = nibabel.load(file)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise UnreadableNifti(
            f"{file.name} cannot be read as NIfTI: the file is damaged or of another kind."
        ) from error
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.ndim != 3 or min(data.shape) < 2:
        raise UnreadableNifti(f"{file.name} holds an array of shape {data.shape}; one 3-D image is needed.")
    if not np.isfinite(data).all():
        raise UnreadableNifti(f"{file.name} holds voxels that are not numbers.")
    if not (int(image.header["sform_code"]) or int(image.header["qform_code"])):
        raise UnreadableNifti(f"{file.name} does not state its orientation (sform and qform code are 0).")
    affine = _swap(_LPS_TO_RAS @ image.affine)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or np.abs(directions.T @ directions - np.eye(3)).max() > 1e-3:
        raise UnreadableNifti(f"{file.name} has axes that are not perpendicular; a sheared grid cannot be measured.")
    return Volume(np.ascontiguousarray(data.transpose(2, 1, 0)), affine, "PATIENT")


def nifti_bytes(volume: Volume) -> bytes:
    """A volume as `.nii.gz`, same bytes for the same volume. sform and qform are set (scanner coordinates)."""
    image = nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), _LPS_TO_RAS @ _swap(volume.affine))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=5, mtime=0) as stream:
        stream.write(image.to_bytes())
    return packed.getvalue()


def read_array(file: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The voxels of a file that `nifti_bytes` made, (slices, rows, columns)."""
    image: Any = nibabel.load(file)
    return np.ascontiguousarray(np.asarray(image.dataobj, dtype=dtype).transpose(2, 1, 0))


def _swap(affine: Matrix) -> Matrix:
    """Exchange the first and the third index of an affine."""
    return np.asarray(affine[:, [2, 1, 0, 3]], dtype=np.float64)

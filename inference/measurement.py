"""Labels and lesions on the native grid -> one `LesionMeasurement` for each lesion."""

# scikit-image is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from inference.contracts import BoolArray, Matrix
from inference.diameters import PlaneDiameters, longest_line, plane_diameters
from inference.repeatability import volume_sd_ml
from longitudinal.types import Compartment, Diameter, LesionMeasurement, Point, Region

Floats = npt.NDArray[np.float64]


def measure_lesions(
    labels: Volume, lesions: Volume, sop_instance_uids: Sequence[str] = ()
) -> tuple[LesionMeasurement, ...]:
    """Measure every lesion of a study.

    Volumes are sums of voxels (126030, DCM). Diameters are those of the core in the acquisition plane. Surface,
    sphericity (IBSI QCFX) and the largest 3-D diameter (IBSI L0JK) are of the marching-cubes mesh of the whole tumour,
    whose centroid is the mean of its voxel centres.

    Args:
        labels: uint8 (slices, rows, columns) of `Compartment.label` values.
        lesions: uint8, same grid, lesion index per voxel.
        sop_instance_uids: the image behind each slice; names the slice of the diameters.

    Returns:
        Measurements by rising lesion index.
    """
    counts = np.bincount((lesions.array.astype(np.int64) * 8 + labels.array).ravel(), minlength=256 * 8).reshape(-1, 8)
    boxes = ndimage.find_objects(lesions.array)
    # scipy gives None for an index that no voxel has; its annotations do not say so
    found = {index: box for index, box in enumerate(boxes, start=1) if counts[index].any()}
    return tuple(_measure(labels, lesions, i, box, counts[i], sop_instance_uids) for i, box in found.items())


def _measure(
    labels: Volume,
    lesions: Volume,
    index: int,
    box: tuple[slice, ...],
    counts: npt.NDArray[np.int64],
    sop_instance_uids: Sequence[str],
) -> LesionMeasurement:
    compartments = {c: float(counts[c.label]) * labels.voxel_volume / 1000.0 for c in Compartment}
    volumes = {r: math.fsum(compartments[c] for c in r.compartments) for r in Region}
    affine = labels.affine @ _shift([s.start for s in box])
    own = lesions.array[box] == index
    whole = own & np.isin(labels.array[box], Region.WHOLE.labels)
    core = own & np.isin(labels.array[box], Region.CORE.labels)
    planar = plane_diameters(core, (labels.spacing[1], labels.spacing[2]))
    surface_mm2, sphericity, widest_mm = _mesh_figures(whole, labels.spacing)
    return LesionMeasurement(
        index=index,
        volumes_ml=volumes,
        volume_sd_ml={r: volume_sd_ml(r, v) for r, v in volumes.items()},
        compartments_ml=compartments,
        centroid=_place(affine, np.argwhere(whole).mean(axis=0)),
        longest=_line(affine, planar, planar.longest, planar.longest_mm) if planar else None,
        perpendicular=_line(affine, planar, planar.perpendicular, planar.perpendicular_mm) if planar else None,
        diameter_sop_instance_uid=(
            sop_instance_uids[planar.slice_index + box[0].start] if planar and sop_instance_uids else None
        ),
        max_3d_diameter_mm=widest_mm,
        surface_area_mm2=surface_mm2,
        sphericity=sphericity,
    )


def _mesh_figures(mask: BoolArray, spacing: Sequence[float]) -> tuple[float, float, float]:
    """Surface in mm2, sphericity and largest distance of two mesh vertices in mm."""
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=tuple(spacing))
    surface = float(mesh_surface_area(vertices, faces))
    corners = vertices[faces].astype(np.float64)
    volume = abs(float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))) / 6.0
    sphericity = (36.0 * math.pi * volume**2) ** (1 / 3) / surface
    return surface, sphericity, longest_line(vertices.astype(np.float64))[0]


def _line(affine: Matrix, planar: PlaneDiameters, ends: tuple[Floats, Floats], length_mm: float) -> Diameter:
    start, end = (_place(affine, np.array([planar.slice_index, *point])) for point in ends)
    return Diameter(start, end, length_mm)


def _place(affine: Matrix, index: Floats) -> Point:
    x, y, z = (affine[:3, :3] @ index + affine[:3, 3]).tolist()
    return x, y, z


def _shift(start: Sequence[int]) -> Matrix:
    matrix: Matrix = np.eye(4)
    matrix[:3, 3] = start
    return matrix

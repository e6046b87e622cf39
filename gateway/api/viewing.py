"""`/api/v1`: what the viewers draw - volumes, masks, meshes, shapes at a day - and forecasts with their scores.

Voxels are read by ranges, slice after slice; a second visit costs a 304.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from gateway import audit
from gateway.api.access import User, Viewer
from gateway.api.routes import Open
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.viewing.forecast_scores import scored_forecasts
from gateway.viewing.kept_files import KeptFile
from gateway.viewing.mesh_files import MeshFormat, encoded, facts_of, mesh_facts, mesh_file
from gateway.viewing.shapes import Bound, shape_at, shapes_of_patient
from gateway.viewing.viewed_study import ViewedStudy, find_viewed
from gateway.viewing.volumes import Encoding, MaskKind, Space, contrast_file, mask_file
from longitudinal.types import Compartment

router = APIRouter(prefix="/api/v1", tags=["viewing"])
_OCTETS = "application/octet-stream"
_TYPES = {"raw": _OCTETS, "nifti": "application/gzip", "glb": "model/gltf-binary", "stl": "model/stl"}
_BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {_OCTETS: {}}, "description": "The file"},
    206: {"content": {_OCTETS: {}}, "description": "The range that was asked for"},
    304: {"description": "As it was"},
}


def _viewed(gateway: Gateway, key: str, user: User | None = None) -> ViewedStudy:
    with read_scope(gateway.database) as session:
        viewed = find_viewed(gateway, session, key)
    if user is not None:
        with session_scope(gateway.database) as session:
            audit.append(session, actor=user.name, action="study.view", subject=viewed.study_key)
    return viewed


@router.get("/studies/{study_key}/volume")
def volume(study_key: str, gateway: Open, user: Viewer) -> dict[str, Any]:
    """What there is to draw of a study, and the grid that all time points of its patient share."""
    viewed = _viewed(gateway, study_key, user)
    grid = viewed.registered_grid
    return {
        "study_key": viewed.study_key,
        "patient_key": viewed.patient_key,
        "revision": viewed.revision,
        "contrasts": sorted(viewed.series) if viewed.images.is_dir() else [],
        "registered": viewed.is_registered,
        "frame_study_key": viewed.root.study_key,
        "to_frame": viewed.to_root.tolist(),
        "grid": {"shape": list(grid.spatial_shape), "affine_lps": grid.affine.tolist()},
        "compartments": [{"name": c.value, "label": c.label} for c in Compartment],
        "lesions": [_lines(m.index, m.longest, m.perpendicular) for m in viewed.analysis.measurements],
    }


def _lines(index: int, *diameters: Any) -> dict[str, Any]:
    lines = [{"start": d.start, "end": d.end, "length_mm": d.length_mm} for d in diameters if d is not None]
    return {"index": index, "diameters": lines}


@router.get("/studies/{study_key}/volume/{contrast}", responses=_BINARY, response_class=Response)
def voxels(
    study_key: str,
    contrast: str,
    request: Request,
    gateway: Open,
    _user: Viewer,
    space: Space = Space.REGISTERED,
    encoding: Annotated[Encoding, Query(alias="format")] = Encoding.RAW,
) -> Response:
    """One contrast: int16 times `Timepoint-Slope` (slices, rows, columns), or NIfTI. Ranges are served."""
    return _file(request, contrast_file(_viewed(gateway, study_key), contrast, space, encoding), encoding.value)


@router.get("/studies/{study_key}/masks", responses=_BINARY, response_class=Response)
def masks(
    study_key: str,
    request: Request,
    gateway: Open,
    _user: Viewer,
    kind: MaskKind = MaskKind.LABELS,
    space: Space = Space.REGISTERED,
    encoding: Annotated[Encoding, Query(alias="format")] = Encoding.RAW,
) -> Response:
    """Compartments or lesions as uint8 (slices, rows, columns), or NIfTI."""
    return _file(request, mask_file(_viewed(gateway, study_key), kind, space, encoding), encoding.value)


@router.get("/studies/{study_key}/meshes")
def meshes(study_key: str, gateway: Open, user: Viewer) -> list[dict[str, Any]]:
    """The parts that have a surface, with the volumes of voxels and mesh and their relative difference."""
    return mesh_facts(_viewed(gateway, study_key, user))


@router.get("/studies/{study_key}/meshes/{part}", responses=_BINARY, response_class=Response)
def mesh(
    study_key: str,
    part: str,
    request: Request,
    gateway: Open,
    _user: Viewer,
    form: Annotated[MeshFormat, Query(alias="format")] = MeshFormat.GLB,
) -> Response:
    """A surface in the frame of the patient: glTF (X left, Y head, Z front, metres) or STL (LPS, millimetres)."""
    return _file(request, mesh_file(_viewed(gateway, study_key), part, form), form.value)


@router.get("/patients/{patient_key}/shape", responses={200: _BINARY[200]}, response_class=Response)
def shape(
    patient_key: str,
    gateway: Open,
    _user: Viewer,
    day: Annotated[int, Query(description="Days after the baseline study.", ge=-36500, le=36500)] = 0,
    bound: Bound = Bound.MEDIAN,
    form: Annotated[MeshFormat, Query(alias="format")] = MeshFormat.GLB,
) -> Response:
    """The followed region on a day: between time points a blend, after the last one the forecast size, not its place.

    204 where there is no tumour on that day."""
    patient = shapes_of_patient(gateway, patient_key)
    made = shape_at(patient, day, bound)
    if made is None:
        return Response(status_code=204)
    told = facts_of(made)
    headers = {
        "Timepoint-Region": patient.region.value,
        "Timepoint-Volume-Ml": str(told["voxel_ml"]),
        "Timepoint-Forecast": str(day > patient.shapes[-1].day).lower(),
    }
    return Response(encoded(made, form, "shape"), media_type=_TYPES[form.value], headers=headers)


@router.get("/patients/{patient_key}/forecasts")
def forecasts(patient_key: str, gateway: Open, user: Viewer) -> list[dict[str, Any]]:
    """Every forecast of a patient, oldest first, with what was measured afterwards."""
    with read_scope(gateway.database) as session:
        found = scored_forecasts(session, patient_key)
    with session_scope(gateway.database) as session:
        audit.append(session, actor=user.name, action="patient.read-forecasts", subject=patient_key)
    return found


def _file(request: Request, file: KeptFile, kind: str) -> Response:
    etag = f'"{file.etag}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    for name in ("shape", "affine_lps", "slope", "window", "voxel_ml", "mesh_ml", "error", "faces"):
        if name in file.facts:
            headers[f"Timepoint-{name.replace('_', '-').title()}"] = str(file.facts[name])
    if etag in request.headers.get("If-None-Match", "").split(", "):
        return Response(status_code=304, headers=headers)
    return FileResponse(file.path, media_type=_TYPES[kind], headers=headers)

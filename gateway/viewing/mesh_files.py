"""Surfaces of a study as glTF (`glb`) and STL files.

glTF has Y up and metres: X is the patient's left, Y the head, Z the front (a right-handed turn of LPS). STL keeps LPS
millimetres, as 3D Slicer reads it.
"""

# trimesh is annotated in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import io
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import trimesh
from trimesh.exchange.gltf import export_glb

from gateway.errors import NotFound
from gateway.viewing.kept_files import KeptFile, digest, kept
from gateway.viewing.surfaces import Surface, surface_of
from gateway.viewing.viewed_study import ViewedStudy
from inference.contracts import BoolArray, Matrix
from longitudinal.types import Compartment, Region

BRAIN = "brain"
PARTS = (BRAIN, *(r.value for r in Region), Compartment.NECROTIC.value, Compartment.CAVITY.value)
"""What surfaces are made of; enhancing and oedema are compartment and region at once."""

_TO_GLTF = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]) / 1000.0


class MeshFormat(StrEnum):
    """File formats of surfaces."""

    GLB = "glb"
    STL = "stl"


def mesh_file(viewed: ViewedStudy, part: str, form: MeshFormat) -> KeptFile:
    """The surface of a part in the frame of the patient; its facts say how well it keeps the volume.

    Raises:
        NotFound: for an unknown part, or one that this study has no voxel of.
    """
    if part not in PARTS:
        raise NotFound(f"part {part}: there are {', '.join(PARTS)}")
    name = f"{part}-{digest(viewed.labels_sha256, viewed.to_root.tolist())}.{form.value}"
    file = kept(viewed.analysis_folder, name, partial(_make, viewed, part, form))
    if not file.facts["faces"]:
        raise NotFound(f"{part} in study {viewed.study_key}: it has no voxel")
    return file


def mesh_facts(viewed: ViewedStudy) -> list[dict[str, Any]]:
    """All parts that the study has, each with its volumes and their difference."""
    lines = []
    for part in PARTS:
        try:
            lines.append({"part": part, **mesh_file(viewed, part, MeshFormat.GLB).facts})
        except NotFound:
            continue
    return lines


def encoded(surface: Surface, form: MeshFormat, name: str) -> bytes:
    """A surface as a file."""
    points = surface.points @ _TO_GLTF.T if form is MeshFormat.GLB else surface.points
    mesh = trimesh.Trimesh(points, surface.faces, process=False, metadata={"name": name})
    if form is MeshFormat.GLB:
        mesh.vertex_normals  # noqa: B018 - computed here, so that the file carries them
        return bytes(export_glb(mesh.scene()))
    buffer = io.BytesIO()
    mesh.export(buffer, file_type="stl")
    return buffer.getvalue()


def facts_of(surface: Surface) -> dict[str, Any]:
    return {
        "voxel_ml": round(surface.voxel_ml, 4),
        "mesh_ml": round(surface.mesh_ml, 4),
        "error": round(surface.error, 6),
        "faces": len(surface.faces),
    }


def _make(viewed: ViewedStudy, part: str, form: MeshFormat) -> tuple[bytes, dict[str, Any]]:
    mask, affine = _mask(viewed, part)
    surface = surface_of(mask, viewed.to_root @ affine)
    if surface is None:
        return b"", {"voxel_ml": 0.0, "mesh_ml": 0.0, "error": 0.0, "faces": 0}
    return encoded(surface, form, part), facts_of(surface)


def _mask(viewed: ViewedStudy, part: str) -> tuple[BoolArray, Matrix]:
    if part == BRAIN:
        anchor = viewed.analysis.anchor
        return anchor.array > 0, anchor.affine
    labels = viewed.analysis.labels
    wanted = Region(part).labels if part in set(Region) else (Compartment(part).label,)
    return np.isin(labels.array, wanted), labels.affine

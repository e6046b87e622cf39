"""dcmqi (PyPI wheel, C++/ITK/DCMTK): another toolkit's reading of our segmentations and measurement reports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from highdicom import Volume

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class ReadSegment:
    """One segment as dcmqi reads it: marked voxels and the LPS affine of their (column, row, slice) indices."""

    marked: np.ndarray
    affine: np.ndarray

    @property
    def volume_ml(self) -> float:
        return float(self.marked.sum() * abs(np.linalg.det(self.affine[:3, :3])) / 1000)

    def on_grid(self, grid: Volume) -> np.ndarray:
        """The marked voxels on another grid (slices, rows, columns).

        Raises:
            ValueError: when a voxel does not lie on a voxel of that grid (2 % of its size).
        """
        points = nibabel.affines.apply_affine(self.affine, np.argwhere(self.marked))
        indices = grid.map_reference_to_indices(points)
        if len(points) and np.abs(indices - indices.round()).max() >= 0.02:
            raise ValueError("the segment lies between the voxels of the grid")
        out = np.zeros(grid.spatial_shape, bool)
        out[tuple(indices.round().astype(int).T)] = True
        return out


def read_segments(seg: Path, folder: Path) -> dict[int, ReadSegment]:
    """Every segment of a SEG by segment number (`segimage2itkimage`, files into `folder`)."""
    folder.mkdir(parents=True, exist_ok=True)
    tool = str(BIN / "segimage2itkimage")
    command = [tool, "--inputDICOM", str(seg), "--outputDirectory", str(folder), "--outputType", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    found = {}
    for file in folder.glob("*.nii.gz"):
        image: Any = nibabel.load(file)
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        found[int(file.name.split(".")[0])] = ReadSegment(np.asarray(image.dataobj) > 0, affine)
    return found


def read_groups(report: Path, folder: Path) -> list[dict[str, Any]]:
    """The measurement groups of a report (`tid1500reader`)."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "report.json"
    command = [str(BIN / "tid1500reader"), "--inputDICOM", str(report), "--outputMetadata", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    groups: list[dict[str, Any]] = json.loads(out.read_text())["Measurements"]
    return groups


def volume_ml(group: dict[str, Any]) -> float | None:
    """The volume (118565006, SCT) of a group in millilitres; None where it has none."""
    for item in group["measurementItems"]:
        if item["quantity"]["CodeValue"] == "118565006":
            return float(item["value"]) * {"cm3": 1.0, "ml": 1.0, "mm3": 1e-3}[item["units"]["CodeValue"]]
    return None

"""Build `inference/data/face_atlas.npz`: a mean head with the region of its face and its brain, at 2 mm.

The head and the face mask are those of pydeface (MIT, notice kept beside the file); the brain is found on that head by
our own brain extraction. Run once, and again when pydeface brings a new template:

    pip download --no-deps pydeface==2.1.0 && unzip pydeface-*.whl -d /tmp/pydeface
    python tools/build_face_atlas.py /tmp/pydeface/pydeface/data inference/data/face_atlas.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
from highdicom import Volume
from scipy import ndimage

from inference.brain import extract_brain
from inference.preparation import working_grid
from inference.resampling import resample, with_geometry

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACING_MM = 2.0


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    head = _volume(source / "mean_reg2mean.nii.gz")
    kept = _volume(source / "facemask.nii.gz")  # 1 where pydeface keeps the image
    grid_1mm = working_grid(head)
    brain = with_geometry(extract_brain(grid_1mm.array).astype(np.float32), grid_1mm)
    grid = _coarser(grid_1mm)
    image = resample(head, grid)
    inside = resample(with_geometry(np.ones(kept.spatial_shape, np.float32), kept), grid, nearest=True) > 0.5
    face = (resample(kept, grid, nearest=True) < 0.5) & inside
    brain_2mm = resample(brain, grid, nearest=True) > 0.5
    apart = ndimage.distance_transform_edt(~brain_2mm, sampling=SPACING_MM)
    sizes = f"face {face.sum() * 8e-3:.0f} ml, brain {brain_2mm.sum() * 8e-3:.0f} ml, apart {apart[face].min():.1f} mm"
    sys.stdout.write(f"{sizes}\n")
    scaled = np.clip(image / np.percentile(image[image > image.mean()], 99.5), 0, 1) * 255
    np.savez_compressed(
        target,
        head=scaled.round().astype(np.uint8),
        face=np.packbits(face),
        brain=np.packbits(brain_2mm),
        affine=grid.affine,
    )


def _volume(path: Path) -> Volume:
    image = nibabel.load(path)
    array = np.asarray(image.dataobj, dtype=np.float32)
    return Volume(np.ascontiguousarray(array), RAS_TO_LPS @ image.affine, "PATIENT")


def _coarser(grid: Volume) -> Volume:
    shape = tuple(int(n // SPACING_MM) for n in grid.spatial_shape)
    affine = grid.affine @ np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = (grid.affine @ np.array([0.5, 0.5, 0.5, 1.0]))[:3]
    return Volume(np.zeros(shape, np.float32), affine, "PATIENT")


if __name__ == "__main__":
    main()

"""The MNI152 template that `nilearn` ships, read without importing nilearn (which costs seconds).

Source: ICBM 152 nonlinear symmetric 2009a, 1 mm, as resampled by nilearn.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from training.simulate.random_fields import FloatArray

ORIGIN_LPS_MM = (-98.0, -98.0, -72.0)
"""LPS position of voxel (0, 0, 0) of the re-oriented template arrays."""

_HULL_STEP = 2
_HULL_MARGIN = 20
_CLOSING_MM = 9.0


class TemplateMissing(Exception):
    """The brain template could not be found in the installed `nilearn`; install nilearn again."""


@dataclass(frozen=True)
class Template:
    """Tissue probabilities (0..1) at 1 mm, indexed (slice to S, row to P, column to L), and the brain hull.

    `hull_mm` is the signed distance to the closed brain surface (negative inside), at 2 mm and with a margin:
    its voxel (0, 0, 0) lies `hull_offset_mm` before that of the tissue arrays on every axis.
    """

    gm: FloatArray
    wm: FloatArray
    csf: FloatArray
    hull_mm: FloatArray
    hull_offset_mm: float
    hull_step_mm: float


def _read(name: str, scale: float) -> FloatArray:
    spec = importlib.util.find_spec("nilearn")
    for location in (spec.submodule_search_locations or []) if spec else []:
        file = Path(location) / "datasets" / "data" / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
        if file.is_file():
            ras = np.asarray(nib.Nifti1Image.from_filename(file).dataobj, dtype=np.float32)
            return np.ascontiguousarray(ras.transpose(2, 1, 0)[:, ::-1, ::-1] * np.float32(scale))
    raise TemplateMissing(f"the installed nilearn holds no MNI152 {name} template")


def _hull_distance(brain: np.ndarray) -> FloatArray:
    coarse = np.pad(brain[::_HULL_STEP, ::_HULL_STEP, ::_HULL_STEP], _HULL_MARGIN)
    grown = ndi.distance_transform_edt(~coarse, sampling=_HULL_STEP) <= _CLOSING_MM
    closed = ndi.distance_transform_edt(grown, sampling=_HULL_STEP) > _CLOSING_MM
    closed |= coarse
    outside = ndi.distance_transform_edt(~closed, sampling=_HULL_STEP)
    inside = ndi.distance_transform_edt(closed, sampling=_HULL_STEP)
    return np.asarray(outside - inside, dtype=np.float32)


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the template once for the process.

    Raises:
        TemplateMissing: when nilearn is not installed or ships no template.
    """
    t1, gm, wm = _read("t1", 1), _read("gm", 1 / 255), _read("wm", 1 / 255)
    brain = t1 > 0
    csf = np.where(brain, np.clip(1 - gm - wm, 0, 1), 0).astype(np.float32)
    return Template(gm, wm, csf, _hull_distance(brain), float(_HULL_MARGIN * _HULL_STEP), float(_HULL_STEP))

"""How a lesion may look: signal of each compartment, drawn over the whole range that patients and protocols show.

Levels are relative to the white matter of the same image. In T1 a tumour may be dark or as bright as brain, FLAIR and
T2 are bright in all that is no fluid, and contrast agent adds to what T1 shows. Compartments are uneven, mix with each
other, and fade into brain at their edge: a network that has seen narrower ranges misses real tumours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from inference.contracts import FloatArray
from longitudinal.types import Compartment, Contrast
from training.segmentation.cases import Case
from training.simulate.random_fields import smooth_field

Range = tuple[float, float]

_T1: Mapping[str, Range] = {
    "necrotic": (0.35, 1.0),
    "diffuse": (0.5, 1.0),
    "oedema": (0.6, 1.02),
    "enhancing": (0.5, 1.1),
    "cavity": (0.2, 0.5),
}
_AGENT: Mapping[str, Range] = {
    "necrotic": (0.95, 1.2),
    "diffuse": (0.98, 1.1),
    "oedema": (0.97, 1.06),
    "cavity": (0.98, 1.2),
}
"""What contrast agent makes of the T1 level; the enhancing part has a level of its own."""
_ENHANCED: Range = (1.05, 2.3)
_T2: Mapping[str, Range] = {
    "necrotic": (1.3, 3.2),
    "diffuse": (1.4, 3.0),
    "oedema": (1.3, 2.6),
    "enhancing": (1.05, 2.4),
    "cavity": (2.0, 3.4),
}
_FLAIR: Mapping[str, Range] = {
    "necrotic": (0.6, 2.8),
    "diffuse": (1.2, 2.8),
    "oedema": (1.45, 2.8),
    "enhancing": (1.1, 2.6),
    "cavity": (0.2, 0.7),
}


@dataclass(frozen=True)
class LesionLook:
    """One patient's lesions: for each contrast the level of each kind, relative to white matter."""

    levels: Mapping[Contrast, Mapping[str, float]]
    unevenness: float
    fading_mm: float
    oedema_share: float


def draw_look(rng: np.random.Generator) -> LesionLook:
    """A look at random; T1 with and without contrast agent belong together."""

    def drawn(ranges: Mapping[str, Range]) -> dict[str, float]:
        return {kind: float(rng.uniform(*limits)) for kind, limits in ranges.items()}

    before = drawn(_T1)
    after = {kind: before[kind] * gain for kind, gain in drawn(_AGENT).items()}
    after["enhancing"] = max(float(rng.uniform(*_ENHANCED)), 1.15 * before["enhancing"])
    levels = {Contrast.T1: before, Contrast.T1C: after, Contrast.T2: drawn(_T2), Contrast.FLAIR: drawn(_FLAIR)}
    return LesionLook(
        levels, float(rng.uniform(0.04, 0.25)), float(rng.uniform(0.0, 2.0)), float(rng.uniform(0.6, 1.0))
    )


def paint(
    rng: np.random.Generator, image: FloatArray, case: Case, look: LesionLook, contrast: Contrast, spacing_mm: float
) -> FloatArray:
    """The image with the lesions in it; the level of white matter is taken from the image itself.

    Args:
        image: signal without lesions, (slice, row, column).
    """
    if not (case.labels > 0).any():
        return image
    white = float(np.median(image[case.wm > 200])) if (case.wm > 200).any() else float(image.mean())
    level = np.zeros_like(image)
    share = np.zeros_like(image)
    for compartment in Compartment:
        of_kind = case.labels == compartment.label
        for diffuse in (False, True):
            where = of_kind & (case.diffuse == diffuse)
            level[where] = white * look.levels[contrast][_kind(compartment, diffuse)]
            share[where] = look.oedema_share if compartment is Compartment.OEDEMA else 1.0
    inside = (case.labels > 0).astype(np.float32)
    blur = look.fading_mm / spacing_mm
    weight = ndi.gaussian_filter(inside, blur)
    mixed = ndi.gaussian_filter(level, blur) / np.maximum(weight, 1e-3)
    uneven = 1 + np.float32(look.unevenness) * smooth_field(rng, image.shape, spacing_mm, float(rng.uniform(5, 16)))
    alpha = ndi.gaussian_filter(share, blur)
    return np.asarray(image * (1 - alpha) + alpha * mixed * uneven, dtype=np.float32)


def _kind(compartment: Compartment, diffuse: bool) -> str:
    if compartment is Compartment.NECROTIC:
        return "diffuse" if diffuse else "necrotic"
    return compartment.value

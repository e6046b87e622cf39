"""Volumetric response categories in the manner of RANO, from imaging alone.

Thresholds: RANO 2.0 (Wen et al., J Clin Oncol 2023;41:5187) defines response on the sum of products of
perpendicular diameters (-50 %, +25 %) and names the volumetric equivalents used here: partial response at a
decrease of 65 % or more against baseline, progression at an increase of 40 % or more against the nadir
(equivalence by the volume of a sphere: Chappell et al., Neurosurg Clin 2007; Ellingson et al., Neuro-Oncology
2017;19:1195). Progression is looked for before response. What imaging cannot know (steroid dose, clinical state,
confirmation after four weeks) is left to the reader: every category here is unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

from longitudinal.types import Response

PARTIAL_DECREASE = 0.65
"""Least decrease against baseline, as a fraction, that is a partial response."""

PROGRESSIVE_INCREASE = 0.40
"""Least increase against the nadir, as a fraction, that is progression."""

PROGRESSIVE_INCREASE_ML = 1.0
"""Least absolute increase that is progression: below it, resampling and partial volume alone reach +40 %."""

MEASURABLE_ML = 0.52
"""Least volume of a measurable lesion: the sphere of 10 mm diameter (RANO 2.0: 10 x 10 mm)."""

DETECTABLE_ML = 0.1
"""Below this volume (a sphere of 5.8 mm) a lesion counts as vanished."""


@dataclass(frozen=True, slots=True)
class Burden:
    """What one time point is judged by: volume of the target region now and at the references, in ml.

    `nadir_ml` is the smallest volume before this time point, since and including the baseline.
    """

    volume_ml: float
    baseline_ml: float
    nadir_ml: float


def category(burden: Burden, new_measurable_lesion: bool = False) -> Response:
    """The category of a time point after baseline.

    A tumour that was not detectable at baseline cannot respond: it stays stable until it progresses. A tumour
    that had vanished at the nadir progresses once it is measurable again.
    """
    if new_measurable_lesion or _progressed(burden):
        return Response.PROGRESSIVE
    if burden.baseline_ml < DETECTABLE_ML:
        return Response.STABLE
    if burden.volume_ml < DETECTABLE_ML:
        return Response.COMPLETE
    if burden.volume_ml <= burden.baseline_ml * (1 - PARTIAL_DECREASE) * (1 + 1e-9):
        return Response.PARTIAL
    return Response.STABLE


def _progressed(burden: Burden) -> bool:
    increase_ml = burden.volume_ml - burden.nadir_ml
    if burden.nadir_ml < DETECTABLE_ML:
        return burden.volume_ml >= MEASURABLE_ML
    grown = increase_ml >= burden.nadir_ml * PROGRESSIVE_INCREASE * (1 - 1e-9)
    return grown and increase_ml >= PROGRESSIVE_INCREASE_ML * (1 - 1e-9)

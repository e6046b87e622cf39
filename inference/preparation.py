"""A study's series -> channels on one working grid, ready for any segmentation backend.

The reference (T1c, or FLAIR where there is none) is resampled to 1 mm along the patient's axes around the head; the
other contrasts are registered to it and resampled once. What is already prepared that way - skull-stripped,
co-registered, 1 mm, as the BraTS challenge distributes cases - is recognised and taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from highdicom import Volume
from scipy import ndimage

from inference.contracts import BoolArray, FloatArray, InferenceError, PreparedStudy
from inference.registration import RegistrationFailed, register
from inference.resampling import resample, with_geometry
from longitudinal.types import Contrast

BrainExtractor = Callable[[FloatArray], BoolArray]
"""float32 (slices, rows, columns) on the working grid -> bool of the same shape."""

WORKING_SPACING_MM = 1.0
HEAD_MARGIN_MM = 5.0
LARGEST_WORKING_MM = 320.0
_BOUNDS_MM = 2.0
STRIPPED_ZERO_SHARE = 0.30

_STAND_INS = {
    Contrast.T1C: (Contrast.T1,),
    Contrast.T1: (Contrast.T1C,),
    Contrast.T2: (Contrast.FLAIR,),
    Contrast.FLAIR: (Contrast.T2,),
}
_NAMES = {
    Contrast.T1C: "contrast-enhanced T1",
    Contrast.T1: "T1 without contrast",
    Contrast.T2: "T2",
    Contrast.FLAIR: "FLAIR",
}
# LPS directions in which slice, row and column index of the working grid grow: S, P, L.
_WORKING_AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).T


class MissingContrast(InferenceError):
    """A contrast that nothing can stand in for is not in the study."""


def prepare_series(volumes: Mapping[Contrast, Volume], brain_extractor: BrainExtractor | None = None) -> PreparedStudy:
    """Bring the series of a study onto the working grid.

    Args:
        volumes: one float32 volume (slices, rows, columns) for each contrast there is, any geometry.
        brain_extractor: finds the brain on the working grid; by default `inference.brain.extract_brain`. Not called
            for input that is skull-stripped already.

    Returns:
        The study on the 1 mm working grid. A missing contrast is replaced by the one closest to it and named in
        `substituted` and `notes`.

    Raises:
        MissingContrast: when there is neither T1c nor T1, or neither FLAIR nor T2.
        RegistrationFailed: when a contrast that cannot be replaced does not match the reference.
    """
    volumes = {c: volumes[c] for c in Contrast if c in volumes}
    _stand_ins(volumes.keys())
    reference = (
        Contrast.T1C if Contrast.T1C in volumes else _first_of(volumes, Contrast.FLAIR, Contrast.T1, Contrast.T2)
    )
    if _is_prepared(volumes):
        return _as_is(volumes, reference)
    working = working_grid(volumes[reference])
    notes: list[str] = []
    channels = {reference: working.array}
    for contrast, volume in volumes.items():
        if contrast is not reference:
            matched = _matched(volumes[reference], volume, working, contrast, notes)
            if matched is not None:
                channels[contrast] = matched
    brain = (brain_extractor or _default_extractor())(working.array)
    return _completed(channels, brain, working, volumes[reference], reference, notes)


def working_grid(reference: Volume) -> Volume:
    """The reference on the working grid: 1 mm, indices growing towards S, P and L, cut to the head plus 5 mm."""
    low, high = _head_bounds(reference)
    shape = np.maximum(np.ceil((high - low) / WORKING_SPACING_MM).astype(int) + 1, 1)
    affine = np.eye(4)
    affine[:3, :3] = _WORKING_AXES * WORKING_SPACING_MM
    affine[:3, 3] = np.floor(low)
    empty = np.zeros(tuple(shape[[2, 1, 0]]), dtype=np.float32)
    grid = Volume(empty, affine, "PATIENT", frame_of_reference_uid=reference.frame_of_reference_uid)
    return with_geometry(resample(reference, grid), grid)


def _head_bounds(volume: Volume) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """LPS bounds of what is brighter than air, at most 320 mm from the top of the head downwards."""
    step = tuple(slice(None, None, max(1, round(_BOUNDS_MM / s))) for s in volume.spacing)
    array = volume.array[step]
    bright = array > 0.33 * array[array >= array.mean()].mean()
    solid = ndimage.binary_opening(bright)
    index = np.argwhere(solid if solid.any() else np.ones_like(solid)) * [s.step for s in step]
    points = volume.affine[:3, :3] @ index.T + volume.affine[:3, 3:]
    margin = HEAD_MARGIN_MM + max(volume.spacing) / 2
    low, high = points.min(axis=1) - margin, points.max(axis=1) + margin
    return np.maximum(low, high - LARGEST_WORKING_MM), high


def _matched(
    reference: Volume, volume: Volume, working: Volume, contrast: Contrast, notes: list[str]
) -> FloatArray | None:
    try:
        return resample(volume, working, register(reference, volume).matrix)
    except RegistrationFailed:
        notes.append(f"The {_NAMES[contrast]} series could not be registered and was left out.")
        return None


def _completed(
    channels: dict[Contrast, FloatArray],
    brain: BoolArray,
    working: Volume,
    native: Volume,
    reference: Contrast,
    notes: list[str],
) -> PreparedStudy:
    substituted = _stand_ins(channels.keys())
    full = {c: channels[substituted.get(c, c)] for c in Contrast}
    notes += [_substitution_note(missing, used) for missing, used in substituted.items()]
    return PreparedStudy(full, brain, working, native, reference, substituted, tuple(notes))


def _stand_ins(present: object) -> dict[Contrast, Contrast]:
    """For each missing contrast the one that stands in for it."""
    there = set(present)  # type: ignore[call-overload]
    chosen = {}
    for contrast in Contrast:
        if contrast not in there:
            usable = [s for s in _STAND_INS[contrast] if s in there]
            if not usable:
                pair = (contrast, *_STAND_INS[contrast])
                raise MissingContrast(
                    f"The study has neither {' nor '.join(_NAMES[c] for c in pair)}: at least one of them is needed. "
                    "Send the missing series, or name it in the protocol so that it is recognised."
                )
            chosen[contrast] = usable[0]
    return chosen


def _substitution_note(missing: Contrast, used: Contrast) -> str:
    note = f"No usable {_NAMES[missing]} series: {_NAMES[used]} was used in its place."
    if missing is Contrast.T1C:
        note += " Without contrast agent enhancing tumour cannot be told from the rest."
    return note


def _is_prepared(volumes: Mapping[Contrast, Volume]) -> bool:
    """One 1 mm grid along the patient's axes, and everything outside the head exactly zero in all contrasts."""
    first, *others = volumes.values()
    if any(not first.geometry_equal(v, tol=1e-3) for v in others):
        return False
    axes = np.abs(first.affine[:3, :3])
    if np.abs(np.sort(axes, axis=0) - np.array([[0.0], [0.0], [WORKING_SPACING_MM]])).max() > 1e-3:
        return False
    outside = np.logical_and.reduce([v.array == 0 for v in volumes.values()])
    border = [outside.take(edge, axis=axis).mean() for axis in range(3) for edge in (0, -1)]
    return bool(outside.mean() >= STRIPPED_ZERO_SHARE and np.mean(border) > 0.9)


def _as_is(volumes: Mapping[Contrast, Volume], reference: Contrast) -> PreparedStudy:
    turned = {c: v.to_patient_orientation("HPL") for c, v in volumes.items()}
    channels = {c: np.ascontiguousarray(v.array, dtype=np.float32) for c, v in turned.items()}
    inside = np.logical_or.reduce([channel != 0 for channel in channels.values()])
    brain: BoolArray = ndimage.binary_fill_holes(inside)
    working = with_geometry(channels[reference], turned[reference])
    return _completed(channels, brain, working, volumes[reference], reference, [])


def _first_of(volumes: Mapping[Contrast, Volume], *contrasts: Contrast) -> Contrast:
    return next(c for c in contrasts if c in volumes)


def _default_extractor() -> BrainExtractor:
    from inference.brain import extract_brain  # loads a network; only where it is needed

    return extract_brain

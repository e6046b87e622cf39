"""One study of a simulated patient as it leaves the scanner: four series on their own grids, and what is true of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from longitudinal.types import Compartment, Contrast, Region
from training.simulate.anatomy import BoolArray, Head, LabelArray
from training.simulate.course import Patient
from training.simulate.mr import Pose, SliceStack, render, rigid_pose, sample, scanner_noise
from training.simulate.protocol import StudySize, plan_stack
from training.simulate.random_fields import FloatArray
from training.simulate.tumour import Lesion, plan_lesion, region_volumes_ml, seed_lesion

_PLACEMENT_TRIES = 12
_GAP_MM = 6.0

SERIES_ORDER = (Contrast.T1, Contrast.T2, Contrast.FLAIR, Contrast.T1C)
"""As a protocol runs: contrast agent last."""


@dataclass(frozen=True)
class LesionTruth:
    """True volumes of one lesion at one time point; `index` counts the patient's lesions from 1 and stays the same
    over time. `centroid_lps_mm` is in the coordinates of this study."""

    index: int
    volumes_ml: dict[Region, float]
    cavity_ml: float
    centroid_lps_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Scan:
    """Series as (geometry, float32 signal (slice, row, column)), and the truth on the grid of the T1c series:
    compartment `labels` and the `brain` that an extraction should keep."""

    series: Mapping[Contrast, tuple[SliceStack, FloatArray]]
    labels: LabelArray
    brain: BoolArray
    lesions: tuple[LesionTruth, ...]


def place_lesions(patient: Patient, head: Head) -> tuple[Lesion, ...]:
    """Put the patient's lesions into the head; several are kept apart from one another where there is room."""
    rng = np.random.default_rng([patient.seed, 2])
    taken = np.zeros(head.shape, dtype=np.bool_)
    lesions = []
    for course in patient.lesions:
        plan = plan_lesion(rng, course.growth, course.cavity_ml)
        for _ in range(_PLACEMENT_TRIES):
            lesion = seed_lesion(rng, head, plan, taken)
            largest = lesion.compartments(max(course.core_ml), max(course.whole_ml)) > 0
            if not (taken[lesion.box] & largest).any():
                break
        gap = ndi.binary_dilation(largest, iterations=round(_GAP_MM / head.spacing_mm))
        taken[lesion.box] |= gap
        lesions.append(lesion)
    return tuple(lesions)


def scan_patient(patient: Patient, head: Head, lesions: Sequence[Lesion], number: int, size: StudySize) -> Scan:
    """Scan the patient at time point `number` (from 0), with the head placed anew."""
    rng = np.random.default_rng([patient.seed, 3, number])
    labelled = [
        (lesion, lesion.compartments(course.core_ml[number], course.whole_ml[number]))
        for lesion, course in zip(lesions, patient.lesions, strict=True)
    ]
    pose = rigid_pose(rng, 4.0, 5.0)
    series: dict[Contrast, tuple[SliceStack, FloatArray]] = {}
    for contrast in SERIES_ORDER:
        moved = _nudged(rng, pose)
        stack = plan_stack(rng, contrast, pose, size)
        signal = sample(render(rng, head, labelled, contrast), head, stack, moved)
        noise, bias = float(rng.uniform(0.012, 0.03)), float(rng.uniform(0.06, 0.16))
        series[contrast] = stack, scanner_noise(rng, signal, stack, noise, bias)
    return Scan(
        series,
        _sample_labels(head, labelled, stack, moved),
        sample(head.brain.astype(np.float32), head, stack, moved) >= 0.5,
        tuple(_lesion_truth(n, head, a, b, moved) for n, (a, b) in enumerate(labelled, start=1)),
    )


def _nudged(rng: np.random.Generator, pose: Pose) -> Pose:
    """Patients move a little between series."""
    nudge = rigid_pose(rng, 0.3, 0.4)
    return Pose(nudge.rotation @ pose.rotation, nudge.rotation @ pose.shift_mm + nudge.shift_mm)


def _sample_labels(
    head: Head, labelled: Sequence[tuple[Lesion, LabelArray]], stack: SliceStack, pose: Pose
) -> LabelArray:
    """The compartment that fills most of each voxel of `stack`; 0 where less than half of it is tumour."""
    full = np.zeros(head.shape, dtype=np.uint8)
    for lesion, labels in labelled:
        view = full[lesion.box]
        view[labels > 0] = labels[labels > 0]
    present = [c.label for c in Compartment if (full == c.label).any()]
    shares = [sample((full == label).astype(np.float32), head, stack, pose) for label in present]
    inside = np.sum(shares, axis=0) >= 0.5
    return np.where(inside, np.array(present, dtype=np.uint8)[np.argmax(shares, axis=0)], 0).astype(np.uint8)


def _lesion_truth(index: int, head: Head, lesion: Lesion, labels: LabelArray, pose: Pose) -> LesionTruth:
    corner = np.array([s.start for s in lesion.box], dtype=float)
    middle = np.argwhere(labels > 0).mean(axis=0) + corner
    in_head = np.array(head.origin_mm) + middle[::-1] * head.spacing_mm
    centroid = pose.rotation @ in_head + pose.shift_mm
    cavity = float((labels == Compartment.CAVITY.label).sum() * head.voxel_ml)
    volumes = region_volumes_ml(labels, head.voxel_ml)
    return LesionTruth(index, volumes, cavity, (float(centroid[0]), float(centroid[1]), float(centroid[2])))

"""The scan protocol: how each contrast's series is planned on the head and what its headers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.spatial.transform import Rotation

from longitudinal.types import Contrast
from training.simulate.mr import Pose, SliceStack

BRAIN_CENTRE_LPS_MM = np.array([0.0, 16.0, 6.0])
"""Where a technologist centres the slices, in head space."""


class StudySize(StrEnum):
    """FULL looks as routine scans do; SMALL is for tests that need valid studies quickly."""

    FULL = "full"
    SMALL = "small"

    @property
    def head_mm(self) -> float:
        """Voxel size of the head that is scanned."""
        return 1.0 if self is StudySize.FULL else 2.0


@dataclass(frozen=True)
class _Slices:
    count: int
    pixels: int
    pixel_mm: float
    thickness_mm: float
    spacing_mm: float


_STACKS: Mapping[StudySize, Mapping[Contrast, tuple[_Slices, ...]]] = {
    StudySize.FULL: {
        Contrast.T1C: (_Slices(54, 192, 1.2, 3.0, 3.0), _Slices(60, 176, 1.3, 2.7, 2.7)),
        Contrast.T1: (_Slices(34, 160, 1.45, 4.5, 4.9), _Slices(38, 176, 1.3, 4.0, 4.4)),
        Contrast.T2: (_Slices(32, 192, 1.2, 4.5, 5.0), _Slices(34, 192, 1.25, 4.0, 4.8)),
        Contrast.FLAIR: (_Slices(33, 160, 1.45, 4.5, 5.0), _Slices(50, 160, 1.4, 3.2, 3.2)),
    },
    StudySize.SMALL: {
        Contrast.T1C: (_Slices(40, 96, 2.4, 4.0, 4.0),),
        Contrast.T1: (_Slices(28, 80, 2.8, 5.0, 5.6),),
        Contrast.T2: (_Slices(28, 96, 2.4, 5.0, 5.7),),
        Contrast.FLAIR: (_Slices(29, 88, 2.6, 5.4, 5.4),),
    },
}

_AXIAL = np.eye(3)
_SAGITTAL = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Columns: along a row (to P), along a column (to F), slice to slice (to L)."""


@dataclass(frozen=True)
class Sequence:
    """Header values of a series (PS3.3 C.8.3.1 MR Image Module); times in milliseconds."""

    descriptions: tuple[str, str, str]
    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    scan_options: tuple[str, ...]
    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None
    echo_train: int
    flip_deg: float


SEQUENCES: Mapping[Contrast, Sequence] = {
    Contrast.T1: Sequence(("t1_se_tra", "AX T1", "T1W_SE"), ("SE",), ("SP", "OSP"), (), 560.0, 11.0, None, 1, 90.0),
    Contrast.T1C: Sequence(
        ("t1_se_tra_km", "AX T1 +C", "T1W_SE GADO"), ("SE",), ("SP", "OSP"), ("FC",), 600.0, 11.0, None, 1, 90.0
    ),
    Contrast.T2: Sequence(
        ("t2_tse_tra", "AX T2 FSE", "T2W_TSE"), ("SE",), ("SK", "SP", "OSP"), (), 4800.0, 98.0, None, 15, 150.0
    ),
    Contrast.FLAIR: Sequence(
        ("t2_tirm_tra_dark-fluid", "AX T2 FLAIR", "FLAIR_longTR"),
        ("SE", "IR"),
        ("SK", "SP", "OSP"),
        (),
        9000.0,
        118.0,
        2500.0,
        21,
        150.0,
    ),
}

SCANNERS = (
    ("SIMULATED SIEMENS", "Phantom 1.5T", 1.5),
    ("SIMULATED GE", "Phantom 3T", 3.0),
    ("SIMULATED PHILIPS", "Phantom 3T", 3.0),
)
"""Manufacturer, model name, field strength; the order is that of `Sequence.descriptions`."""


def describe(contrast: Contrast, scanner: int, stack: SliceStack) -> str:
    """The series description as this scanner's makers would write it."""
    description = SEQUENCES[contrast].descriptions[scanner]
    if abs(stack.orientation[0, 2]) > abs(stack.orientation[2, 2]):
        return description.replace("_tra", "_sag").replace("AX ", "SAG ")
    return description


def plan_stack(rng: np.random.Generator, contrast: Contrast, pose: Pose, size: StudySize) -> SliceStack:
    """Plan the series of one contrast: about centred on the brain, tilted a little, on a grid of its own.

    One T1 in five is sagittal, as many sites have it.
    """
    choices = _STACKS[size][contrast]
    slices = choices[int(rng.integers(len(choices)))]
    tilt = Rotation.from_euler("xyz", rng.normal(0, (5.0, 1.0, 2.0)), degrees=True).as_matrix()
    plane, count, pixels = _AXIAL, slices.count, slices.pixels
    if contrast is Contrast.T1 and size is StudySize.FULL and rng.random() < 0.2:
        plane = _SAGITTAL
    centre = pose.rotation @ BRAIN_CENTRE_LPS_MM + pose.shift_mm + rng.normal(0, 1.5, 3)
    return SliceStack(
        count, pixels, pixels, slices.pixel_mm, slices.thickness_mm, slices.spacing_mm, tilt @ plane, centre
    )

"""Which segments a SEG holds, and which structures have to do without one.

Each lesion is written as its unions (whole tumour, tumour core) and its compartments (enhancing, necrotic, oedema);
the resection cavity belongs to the patient. A viewer gets slow beyond some hundred frames, so a budget holds: where
it is exceeded, unions go first, because they are the sum of compartments that stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from scipy import ndimage

from inference.encoding import codes
from inference.encoding.errors import EncodingError
from inference.encoding.identity import Purpose, deterministic_uid
from inference.encoding.text import plain
from longitudinal.types import Compartment, LesionResult, Region, StudyResult

FRAME_BUDGET = 400
"""Frames of one SEG that viewers still load without delay (OHIF, measured on 240 x 240)."""


class Structure(StrEnum):
    """What one segment and one measurement group are about."""

    WHOLE = "whole"
    CORE = "core"
    ENHANCING = "enhancing"
    NECROTIC = "necrotic"
    OEDEMA = "oedema"
    CAVITY = "cavity"

    @property
    def compartments(self) -> tuple[Compartment, ...]:
        region = self.region
        return region.compartments if region else (Compartment(self.value),)

    @property
    def region(self) -> Region | None:
        """The region of the same name, None for the necrotic core and the cavity."""
        return None if self in (Structure.NECROTIC, Structure.CAVITY) else Region(self.value)

    @property
    def is_union(self) -> bool:
        return len(self.compartments) > 1


@dataclass(frozen=True)
class Appearance:
    """How a structure is named, coded and drawn."""

    label: str
    property_type: Code
    colour: CIELabColor


APPEARANCE = {
    Structure.WHOLE: Appearance("whole tumor", codes.NEOPLASM, codes.COLOUR_WHOLE),
    Structure.CORE: Appearance("tumor core", codes.TUMOUR_CORE, codes.COLOUR_CORE),
    Structure.ENHANCING: Appearance("enhancing tumor", codes.ENHANCING_LESION, codes.COLOUR_ENHANCING),
    Structure.NECROTIC: Appearance("necrotic core", codes.NECROSIS, codes.COLOUR_NECROTIC),
    Structure.OEDEMA: Appearance("peritumoral edema", codes.OEDEMA, codes.COLOUR_OEDEMA),
    Structure.CAVITY: Appearance("resection cavity", codes.RESECTION_CAVITY, codes.COLOUR_CAVITY),
}

LESION_STRUCTURES = tuple(structure for structure in Structure if structure is not Structure.CAVITY)


@dataclass(frozen=True)
class PlannedSegment:
    """A structure that is present. `number` is its segment number from 1, None where it got no segment.

    `lesion` is None for the cavity. `frames` counts the slices it is on.
    """

    structure: Structure
    lesion: LesionResult | None
    tracking_uid: str
    tracking_id: str
    frames: int
    volume_ml: float
    number: int | None = None


def tracking_uid(lesion_uid: str, structure: Structure) -> str:
    """Tracking UID of a structure of a lesion: the whole tumour carries the lesion's own, the others are derived."""
    if structure is Structure.WHOLE:
        return lesion_uid
    return deterministic_uid(Purpose.TRACKING, lesion_uid, structure)


def cavity_tracking_uid(source: Dataset) -> str:
    """Tracking UID of a patient's resection cavity, the same in all studies of a patient key (ID and issuer)."""
    issuer = str(source.get("IssuerOfPatientID") or "")
    return deterministic_uid(Purpose.TRACKING, Structure.CAVITY, issuer, str(source.get("PatientID") or ""))


def tracking_id(lesion: LesionResult | None, structure: Structure) -> str:
    """Name of a tracked structure for people, at most 64 characters (LO)."""
    label = APPEARANCE[structure].label
    return label if lesion is None else f"{plain(lesion.tracking_id)[: 63 - len(label)]} {label}"


def plan_segments(
    result: StudyResult,
    labels: Volume,
    lesions: Volume,
    source: Dataset,
    budget: int = FRAME_BUDGET,
    overlapping: bool = True,
) -> list[PlannedSegment]:
    """Every structure that is present, by lesion, unions first; numbered unless the budget took its segment.

    With `overlapping` False no union gets a segment, as in a label map, where each voxel belongs to one.

    Raises:
        EncodingError: when the lesion map and the lesions of the result do not name the same indices.
    """
    by_index = _lesions_by_index(result, lesions)
    boxes = ndimage.find_objects(lesions.array.astype(np.int32))
    planned = [
        segment
        for index, lesion in sorted(by_index.items())
        for segment in _lesion_segments(lesion, index, boxes[index - 1], labels, lesions)
    ]
    cavity = labels.array == Compartment.CAVITY.label
    if cavity.any():
        planned.append(
            PlannedSegment(
                Structure.CAVITY,
                None,
                cavity_tracking_uid(source),
                tracking_id(None, Structure.CAVITY),
                int(cavity.any(axis=(1, 2)).sum()),
                float(cavity.sum() * labels.voxel_volume / 1000),
            )
        )
    if not overlapping:
        return _number(planned, {place for place, segment in enumerate(planned) if segment.structure.is_union})
    return _number(planned, _without_segment(planned, Structure(result.target.value), budget))


def _lesions_by_index(result: StudyResult, lesions: Volume) -> dict[int, LesionResult]:
    by_index = {lesion.measurement.index: lesion for lesion in result.lesions if lesion.measurement}
    drawn = {int(value) for value in np.unique(lesions.array)} - {0}
    if drawn != set(by_index):
        raise EncodingError(
            f"the lesion map holds the indices {sorted(drawn)}, the result measures {sorted(by_index)}; "
            "both must come from the same analysis"
        )
    return by_index


def _lesion_segments(
    lesion: LesionResult, index: int, box: tuple[slice, ...], labels: Volume, lesions: Volume
) -> Iterator[PlannedSegment]:
    inside = lesions.array[box] == index
    compartment = labels.array[box]
    for structure in LESION_STRUCTURES:
        mask = inside & np.isin(compartment, [c.label for c in structure.compartments])
        if mask.any():
            yield PlannedSegment(
                structure,
                lesion,
                tracking_uid(lesion.tracking_uid, structure),
                tracking_id(lesion, structure),
                int(mask.any(axis=(1, 2)).sum()),
                float(mask.sum() * labels.voxel_volume / 1000),
            )


def _without_segment(planned: Sequence[PlannedSegment], target: Structure, budget: int) -> set[int]:
    """Positions in `planned` that go without a segment: unions of the smallest lesions first, those of the
    target region last. Compartments always stay, even where they alone exceed the budget."""
    unions = [position for position, segment in enumerate(planned) if segment.structure.is_union]
    unions.sort(key=lambda position: (planned[position].structure is target, planned[position].volume_ml))
    frames = sum(segment.frames for segment in planned)
    dropped: set[int] = set()
    for position in unions:
        if frames <= budget:
            break
        frames -= planned[position].frames
        dropped.add(position)
    return dropped


def _number(planned: Sequence[PlannedSegment], dropped: set[int]) -> list[PlannedSegment]:
    numbered = []
    number = 0
    for position, segment in enumerate(planned):
        if position not in dropped:
            number += 1
            numbered.append(replace(segment, number=number))
        else:
            numbered.append(segment)
    return numbered


def draw(segments: Sequence[PlannedSegment], labels: Volume, lesions: Volume) -> tuple[slice, npt.NDArray[np.uint8]]:
    """Masks of the numbered segments on the slices that hold any: (slices, rows, columns, segments), 0 or 1.

    The array is a view of zero pages that stay unallocated where nothing is drawn, with each frame contiguous.
    """
    drawn = [segment for segment in segments if segment.number is not None]
    used = np.flatnonzero(((lesions.array > 0) | (labels.array == Compartment.CAVITY.label)).any(axis=(1, 2)))
    span = slice(int(used[0]), int(used[-1]) + 1)
    compartment, owner = labels.array[span], lesions.array[span]
    masks = np.zeros((len(drawn), *compartment.shape), dtype=np.uint8)
    for mask, segment in zip(masks, drawn, strict=True):
        wanted = np.isin(compartment, [c.label for c in segment.structure.compartments])
        if segment.lesion is not None and segment.lesion.measurement is not None:
            wanted &= owner == segment.lesion.measurement.index
        mask[wanted] = 1
    return span, np.moveaxis(masks, 0, -1)

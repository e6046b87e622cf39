"""Lesions as connected pieces of a label map, and their identity from one time point to the next.

A lesion is a 26-connected piece of anything labelled, so that a core, the oedema around it and the cavity beside it are
one lesion; it counts when its tumour (without cavity) reaches 0.05 ml, a sphere of 4.6 mm. Smaller pieces are
dropped from the label map too, so that what is reported and what is drawn agree.

Identity is decided by overlap in the frame of the baseline study. Nothing here makes up a tracking UID: the caller
mints one wherever `inherits` is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from highdicom import Volume
from scipy import ndimage
from scipy.spatial import cKDTree

from inference.contracts import LabelArray, Matrix
from inference.resampling import with_geometry
from longitudinal.types import Region

MIN_LESION_ML = 0.05
MAX_LESIONS = 255
MIN_OVERLAP = 0.1
"""Share of the smaller of two lesions that must lie in the other for them to be one."""
MAX_GAP_MM = 3.0
"""Largest gap that a lesion may have jumped over without any overlap (registration error of a small lesion)."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LesionMap:
    """`lesions` holds 1..n by falling whole-tumour volume, `labels` the compartments of these lesions alone, both
    uint8 on the grid of the input. `dropped` small pieces of together `dropped_ml` are in neither."""

    lesions: Volume
    labels: Volume
    count: int
    dropped: int
    dropped_ml: float


class Fate(StrEnum):
    """What became of a lesion since it was last seen."""

    CONTINUED = "continued"
    NEW = "new"
    SPLIT = "split"
    MERGED = "merged"


@dataclass(frozen=True)
class PriorLesions:
    """The lesions of an earlier time point: the map on its own grid, LPS of that study to LPS of the baseline, and
    the tracking UID of each voxel value."""

    lesions: Volume
    to_baseline: Matrix
    tracking_uids: Mapping[int, str]


@dataclass(frozen=True)
class LesionMatch:
    """The identity of one current lesion.

    `inherits` is the tracking UID it keeps; None means that a new one is due. `parent` is the lesion it split off
    from, `absorbed` are the lesions that merged into it and end here. `overlap` is the share of the smaller lesion;
    0 with an inherited UID means that the match rests on distance alone and deserves a look.
    """

    index: int
    fate: Fate
    inherits: str | None = None
    parent: str | None = None
    absorbed: tuple[str, ...] = ()
    overlap: float = 0.0


@dataclass(frozen=True)
class LesionMatches:
    """Matches by rising lesion index, and the tracking UIDs that are looked for and not found."""

    lesions: tuple[LesionMatch, ...]
    vanished: tuple[str, ...] = ()


@dataclass
class _Known:
    """A tracked lesion where it was last seen: voxel centres in the baseline frame."""

    uid: str
    points: Points
    voxel_ml: float


@dataclass
class _Links:
    """Overlaps of known lesions with current ones: share of the smaller, and millilitres in common."""

    share: dict[tuple[str, int], float] = field(default_factory=dict)
    common_ml: dict[tuple[str, int], float] = field(default_factory=dict)


def find_lesions(labels: Volume, min_lesion_ml: float = MIN_LESION_ML) -> LesionMap:
    """Split a label map into lesions.

    Args:
        labels: uint8 (slices, rows, columns), values of `Compartment.label`.
        min_lesion_ml: smallest whole-tumour volume of a lesion.
    """
    pieces, count = ndimage.label(labels.array > 0, structure=np.ones((3, 3, 3)))
    voxel_ml = labels.voxel_volume / 1000.0
    tumour = np.isin(labels.array, Region.WHOLE.labels)
    tumour_ml = np.bincount(pieces[tumour], minlength=count + 1) * voxel_ml
    any_ml = np.bincount(pieces.ravel(), minlength=count + 1) * voxel_ml
    by_volume = [int(i) for i in np.argsort(-tumour_ml[1:], kind="stable") + 1]
    kept = [i for i in by_volume if tumour_ml[i] >= min_lesion_ml][:MAX_LESIONS]
    number = np.zeros(count + 1, dtype=np.uint8)
    number[kept] = np.arange(1, len(kept) + 1)
    lesions: LabelArray = number[pieces]
    kept_labels = np.where(lesions > 0, labels.array, 0).astype(np.uint8)
    dropped_ml = float(any_ml[1:].sum() - any_ml[kept].sum())
    return LesionMap(
        with_geometry(lesions, labels), with_geometry(kept_labels, labels), len(kept), count - len(kept), dropped_ml
    )


def match_lesions(current: Volume, to_baseline: Matrix, priors: Sequence[PriorLesions]) -> LesionMatches:
    """Find out which current lesion is which known one.

    A known lesion is looked for where it was last seen. Of the pieces of a split lesion the one that shares most with
    it keeps its UID, the others are new with it as parent. Of lesions that merged the one known longest lives on.

    Args:
        current: uint8 lesion map (slices, rows, columns) on the native grid of this study.
        to_baseline: LPS of this study to LPS of the baseline study.
        priors: earlier time points by rising acquisition date.
    """
    known = _known_lesions(priors)
    indices = [int(i) for i in np.unique(current.array) if i]
    links = _overlaps(known, current, to_baseline)
    heir = {k.uid: _heir(k.uid, links) for k in known if any(uid == k.uid for uid, _ in links.share)}
    by_distance = _nearest(
        [k for k in known if k.uid not in heir],
        [i for i in indices if i not in {i for _, i in links.share}],
        current,
        to_baseline,
    )
    matches = [_match(i, known, links, heir, by_distance) for i in indices]
    found = set(heir) | set(by_distance.values())
    return LesionMatches(tuple(matches), tuple(k.uid for k in known if k.uid not in found))


def _match(
    index: int, known: Sequence[_Known], links: _Links, heir: Mapping[str, int], by_distance: Mapping[int, str]
) -> LesionMatch:
    if index in by_distance:
        return LesionMatch(index, Fate.CONTINUED, inherits=by_distance[index])
    arriving = [k.uid for k in known if heir.get(k.uid) == index]
    if arriving:
        oldest, *absorbed = arriving
        fate = Fate.MERGED if absorbed else Fate.CONTINUED
        return LesionMatch(index, fate, oldest, None, tuple(absorbed), links.share[oldest, index])
    parents = [u for u, i in links.share if i == index]
    if parents:
        parent = max(parents, key=lambda u: links.common_ml[u, index])
        return LesionMatch(index, Fate.SPLIT, parent=parent, overlap=links.share[parent, index])
    return LesionMatch(index, Fate.NEW)


def _heir(uid: str, links: _Links) -> int:
    """A known lesion goes on in the one current lesion that it has most in common with."""
    common = {i: ml for (u, i), ml in links.common_ml.items() if u == uid}
    return max(common, key=lambda i: (common[i], -i))


def _known_lesions(priors: Sequence[PriorLesions]) -> list[_Known]:
    """Every tracked lesion where it was last seen, longest known first; without those that merged into another."""
    known: dict[str, _Known] = {}
    for prior in priors:
        seen = {uid: _extent(prior, index, uid) for index, uid in sorted(prior.tracking_uids.items())}
        missing = [k for uid, k in known.items() if uid not in seen]
        absorbed = {uid for uid, _ in _overlaps(missing, prior.lesions, prior.to_baseline).share}
        known = {uid: k for uid, k in known.items() if uid not in absorbed}
        known.update(seen)
    return [k for k in known.values() if len(k.points)]


def _extent(prior: PriorLesions, index: int, uid: str) -> _Known:
    points = _centres(prior.lesions, index, prior.to_baseline)
    return _Known(uid, points, prior.lesions.voxel_volume / 1000.0)


def _centres(lesions: Volume, index: int, to_baseline: Matrix) -> Points:
    voxels = np.argwhere(lesions.array == index).astype(np.float64)
    matrix = to_baseline @ lesions.affine
    return np.asarray(voxels @ matrix[:3, :3].T + matrix[:3, 3])


def _overlaps(known: Sequence[_Known], current: Volume, to_baseline: Matrix) -> _Links:
    links = _Links()
    to_index = np.linalg.inv(to_baseline @ current.affine)
    current_ml = np.bincount(current.array.ravel(), minlength=256) * current.voxel_volume / 1000.0
    for lesion in known:
        index = np.floor(lesion.points @ to_index[:3, :3].T + to_index[:3, 3] + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < current.spatial_shape)).all(axis=1)
        hits = np.bincount(current.array[tuple(index[inside].T)], minlength=256) * lesion.voxel_ml
        lesion_ml = len(lesion.points) * lesion.voxel_ml
        for i in np.flatnonzero(hits[1:]) + 1:
            share = float(hits[i] / min(lesion_ml, current_ml[i]))
            if share >= MIN_OVERLAP:
                links.share[lesion.uid, int(i)] = min(share, 1.0)
                links.common_ml[lesion.uid, int(i)] = float(hits[i])
    return links


def _nearest(known: Sequence[_Known], indices: Sequence[int], current: Volume, to_baseline: Matrix) -> dict[int, str]:
    """Pairs without overlap but within the allowed gap, closest first, each lesion used once."""
    gaps = []
    for i in indices:
        tree = cKDTree(_centres(current, i, to_baseline))
        for order, lesion in enumerate(known):
            gap = float(np.min(tree.query(lesion.points)[0]))
            if gap <= MAX_GAP_MM + max(current.spacing):
                gaps.append((gap, order, i, lesion.uid))
    pairs: dict[int, str] = {}
    for _, _, i, uid in sorted(gaps):
        if i not in pairs and uid not in pairs.values():
            pairs[i] = uid
    return pairs

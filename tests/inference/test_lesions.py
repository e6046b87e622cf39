"""What counts as a lesion, and which lesion is which at the next time point."""

from __future__ import annotations

import numpy as np
from highdicom import Volume
from imaging.mr_series import grid, moved, rigid, voxel_places, with_array

from inference.lesions import Fate, PriorLesions, find_lesions, match_lesions
from inference.resampling import IDENTITY
from longitudinal.types import Compartment, Region

GRID = grid((60, 60, 60), (1.0, 1.0, 1.0))
PLACES = voxel_places(GRID)


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return np.asarray(np.linalg.norm(PLACES - np.array(centre).reshape(3, 1, 1, 1), axis=0) < radius)


def lesion_map(*balls: tuple[tuple[float, float, float], float]) -> Volume:
    """Ball number i gets index i, whatever its size."""
    array = np.zeros(GRID.spatial_shape, np.uint8)
    for i, (centre, radius) in enumerate(balls, start=1):
        array[ball(centre, radius)] = i
    return with_array(GRID, array)


def prior(lesions: Volume, *uids: str, to_baseline: np.ndarray = IDENTITY) -> PriorLesions:
    return PriorLesions(lesions, to_baseline, dict(enumerate(uids, start=1)))


A, B, C = (-15.0, -10.0, 0.0), (15.0, 10.0, 5.0), (0.0, 18.0, -15.0)


def test_core_and_its_oedema_and_cavity_are_one_lesion_ordered_by_tumour_volume() -> None:
    labels = np.zeros(GRID.spatial_shape, np.uint8)
    labels[ball(A, 8)] = 4
    labels[ball(A, 10) & ~ball(A, 8)] = 2  # a big cavity in a thin rim
    labels[ball(B, 9)] = 2
    labels[ball(B, 5)] = 3
    labels[ball(B, 3)] = 1
    found = find_lesions(with_array(GRID, labels))
    tumour = [np.isin(labels[found.lesions.array == i], Region.WHOLE.labels).sum() for i in (1, 2)]
    assert found.count == 2
    assert tumour[0] > tumour[1]
    assert (found.lesions.array[labels == Compartment.CAVITY.label] > 0).all()
    np.testing.assert_array_equal(found.labels.array, labels)


def test_diagonal_neighbours_are_one_lesion() -> None:
    labels = np.zeros(GRID.spatial_shape, np.uint8)
    labels[10:15, 10:15, 10:15] = 2
    labels[15:20, 15:20, 15:20] = 3
    assert find_lesions(with_array(GRID, labels)).count == 1


def test_specks_and_lone_cavities_are_dropped_from_both_maps_and_counted() -> None:
    labels = np.zeros(GRID.spatial_shape, np.uint8)
    labels[ball(A, 6)] = 2
    labels[50:53, 50:54, 50:54] = 3  # 48 mm3, just too small
    labels[ball(B, 5)] = 4
    found = find_lesions(with_array(GRID, labels))
    assert (found.count, found.dropped) == (1, 2)
    assert found.dropped_ml * 1000 == 48 + (labels == 4).sum()
    np.testing.assert_array_equal(found.labels.array > 0, found.lesions.array > 0)
    labels[50:53, 50:54, 50:55] = 3  # 60 mm3
    assert find_lesions(with_array(GRID, labels)).count == 2


def test_no_tumour_gives_no_lesion() -> None:
    found = find_lesions(with_array(GRID, np.zeros(GRID.spatial_shape, np.uint8)))
    assert (found.count, found.dropped, found.dropped_ml) == (0, 0, 0)


def test_first_time_point_has_only_new_lesions() -> None:
    matches = match_lesions(lesion_map((A, 6), (B, 5)), IDENTITY, [])
    assert [(m.index, m.fate, m.inherits) for m in matches.lesions] == [(1, Fate.NEW, None), (2, Fate.NEW, None)]
    assert matches.vanished == ()


def test_lesions_go_on_vanish_and_appear() -> None:
    before = prior(lesion_map((A, 6), (B, 5)), "uid-a", "uid-b")
    matches = match_lesions(lesion_map((C, 4), (A, 9)), IDENTITY, [before])
    assert [(m.fate, m.inherits) for m in matches.lesions] == [(Fate.NEW, None), (Fate.CONTINUED, "uid-a")]
    assert matches.vanished == ("uid-b",)


def test_identity_is_decided_in_the_frame_of_the_baseline() -> None:
    """The same two lesions in a head that lies elsewhere, so that unregistered each would sit on the other's place."""
    pose = rigid((0, 0, 180), (0, 0, 0))
    here = lesion_map((A, 6), ((-A[0], -A[1], A[2]), 5))
    there = moved(here, pose)
    matches = match_lesions(there, np.linalg.inv(pose), [prior(here, "uid-a", "uid-b")])
    assert [m.inherits for m in matches.lesions] == ["uid-a", "uid-b"]
    crossed = match_lesions(there, IDENTITY, [prior(here, "uid-a", "uid-b")])
    assert [m.inherits for m in crossed.lesions] == ["uid-b", "uid-a"]


def test_of_a_split_lesion_the_larger_piece_goes_on_and_the_other_names_its_parent() -> None:
    before = prior(lesion_map(((0, 0, 0), 14)), "uid-a")
    matches = match_lesions(lesion_map(((-9, 0, 0), 4), ((7, 0, 0), 6)), IDENTITY, [before])
    small, large = matches.lesions
    assert (large.fate, large.inherits, large.parent) == (Fate.CONTINUED, "uid-a", None)
    assert (small.fate, small.inherits, small.parent) == (Fate.SPLIT, None, "uid-a")


def test_merged_lesions_go_on_as_the_one_known_longest_even_when_it_is_smaller() -> None:
    first = prior(lesion_map(((-9, 0, 0), 4)), "uid-old")
    second = prior(lesion_map(((-9, 0, 0), 4), ((7, 0, 0), 8)), "uid-old", "uid-young")
    third = lesion_map(((0, 0, 0), 16))
    (merged,) = match_lesions(third, IDENTITY, [first, second]).lesions
    assert (merged.fate, merged.inherits, merged.absorbed) == (Fate.MERGED, "uid-old", ("uid-young",))


def test_a_lesion_that_merged_away_does_not_come_back() -> None:
    first = prior(lesion_map(((-9, 0, 0), 4), ((7, 0, 0), 8)), "uid-old", "uid-young")
    second = prior(lesion_map(((0, 0, 0), 16)), "uid-old")
    matches = match_lesions(lesion_map(((0, 0, 0), 17)), IDENTITY, [first, second])
    (only,) = matches.lesions
    assert (only.fate, only.inherits, only.absorbed) == (Fate.CONTINUED, "uid-old", ())
    assert matches.vanished == ()


def test_a_lesion_that_vanished_and_recurs_at_its_place_is_the_same() -> None:
    first = prior(lesion_map((A, 6), (B, 5)), "uid-a", "uid-b")
    second = prior(lesion_map((B, 5)), "uid-b")
    matches = match_lesions(lesion_map((B, 5), (A, 4)), IDENTITY, [first, second])
    assert [m.inherits for m in matches.lesions] == ["uid-b", "uid-a"]


def test_a_small_lesion_beside_its_old_place_is_matched_by_distance_and_says_so() -> None:
    before = prior(lesion_map(((0, 0, 0), 2.5)), "uid-a")
    (near,) = match_lesions(lesion_map(((7, 0, 0), 2.5)), IDENTITY, [before]).lesions
    assert (near.fate, near.inherits, near.overlap) == (Fate.CONTINUED, "uid-a", 0.0)
    far = match_lesions(lesion_map(((14, 0, 0), 2.5)), IDENTITY, [before])
    assert far.lesions[0].fate is Fate.NEW
    assert far.vanished == ("uid-a",)


def test_a_satellite_beside_a_lesion_that_goes_on_is_new() -> None:
    before = prior(lesion_map((A, 6)), "uid-a")
    beside = (A[0] + 12, A[1], A[2])
    matches = match_lesions(lesion_map((A, 6), (beside, 3)), IDENTITY, [before])
    assert [(m.fate, m.inherits) for m in matches.lesions] == [(Fate.CONTINUED, "uid-a"), (Fate.NEW, None)]


def test_thick_slices_and_fine_slices_agree() -> None:
    thick = grid((12, 60, 60), (5.0, 1.0, 1.0))
    places = voxel_places(thick)
    array = np.zeros(thick.spatial_shape, np.uint8)
    for i, (centre, radius) in enumerate(((B, 5), (A, 6)), start=1):
        array[np.linalg.norm(places - np.array(centre).reshape(3, 1, 1, 1), axis=0) < radius] = i
    matches = match_lesions(with_array(thick, array), IDENTITY, [prior(lesion_map((A, 6), (B, 5)), "uid-a", "uid-b")])
    assert [m.inherits for m in matches.lesions] == ["uid-b", "uid-a"]
    assert all(m.overlap > 0.5 for m in matches.lesions)


def test_order_of_voxels_and_of_uids_does_not_matter() -> None:
    first = match_lesions(lesion_map((A, 6), (B, 5)), IDENTITY, [prior(lesion_map((A, 5), (B, 4)), "z", "a")])
    again = match_lesions(lesion_map((A, 6), (B, 5)), IDENTITY, [prior(lesion_map((B, 4), (A, 5)), "a", "z")])
    assert first == again

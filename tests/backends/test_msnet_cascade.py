"""The MSNet cascade: slabs and crops with nets whose answer is known, and real cases with the real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from backends.prepared import brats_case, dice, prepared_study, read_working_grid
from safetensors.torch import save_file
from torch import Tensor, nn

from inference.backends.msnet import CORE_FLOOR, SEED, TRANSPOSED, WEIGHTS_FILE, MsnetCascade, Stage
from inference.contracts import InferenceError, LabelArray, PreparedStudy
from longitudinal.types import AlgorithmIdentity, Contrast, Region

ORDER = (Contrast.FLAIR, Contrast.T1, Contrast.T1C, Contrast.T2)


class Threshold(nn.Module):
    """Says tumour where one input channel exceeds a level, in the eleven inner slices of a slab."""

    def __init__(self, contrast: Contrast, level: float) -> None:
        super().__init__()
        self._channel, self._level = ORDER.index(contrast), level

    def forward(self, slabs: Tensor) -> Tensor:
        excess = slabs[:, self._channel, 4:-4] - self._level
        return torch.stack([torch.zeros_like(excess), excess], dim=1)


def stage_of(contrast: Contrast, level: float) -> Stage:
    return Stage(
        {plane: Threshold(contrast, level) for plane in TRANSPOSED},
        CORE_FLOOR,
        torch.device("cpu"),
    )


@pytest.mark.parametrize("shape", [(7, 9, 12), (11, 22, 33), (23, 40, 61), (30, 97, 98)])
def test_every_voxel_of_a_crop_is_judged_by_all_three_planes(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(5).standard_normal((4, *shape), dtype=np.float32)
    found = stage_of(Contrast.FLAIR, 0.0).foreground(volume, np.random.default_rng(SEED))
    np.testing.assert_array_equal(found, volume[0] > 0)


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:  # type: ignore[type-arg]
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def phantom(radius: float) -> tuple[PreparedStudy, LabelArray]:
    """A head with skull around a brain with a tumour: oedema bright in FLAIR, core dark in T1, rim bright in T1c."""
    shape, centre = (60, 64, 58), (33, 28, 30)
    brain = ball(shape, (30, 32, 29), 26)
    tumour, core, centre_of_core = (ball(shape, centre, radius * part) for part in (1.0, 0.7, 0.5))
    channels = {c: np.random.default_rng(2).normal(100, 5, shape).astype(np.float32) for c in Contrast}
    channels[Contrast.FLAIR][tumour] += 200
    channels[Contrast.T2][core] += 200
    channels[Contrast.T1C][core & ~centre_of_core] += 200
    for channel in channels.values():
        channel[~ball(shape, (30, 32, 29), 28)] = 1000
    labels = np.where(tumour, 2, 0).astype(np.uint8)
    labels[core], labels[core & ~centre_of_core] = 1, 3
    return prepared_study(channels, brain), labels


@pytest.fixture
def cascade() -> MsnetCascade:
    stages = {
        "wt": stage_of(Contrast.FLAIR, 1.5),
        "tc": stage_of(Contrast.T2, 1.5),
        "en": stage_of(Contrast.T1C, 1.5),
    }
    return MsnetCascade(stages, AlgorithmIdentity("test", "1", "0" * 64))


def test_compartments_get_our_labels_in_their_place(cascade: MsnetCascade) -> None:
    study, truth = phantom(radius=12)
    labels = cascade.segment(study)
    assert labels.dtype == np.uint8
    for region in Region:
        assert dice(np.isin(labels, region.labels), np.isin(truth, region.labels)) > 0.97
    assert not labels[~study.brain].any()


def test_the_same_study_gives_the_same_labels(cascade: MsnetCascade) -> None:
    study, _ = phantom(radius=12)
    np.testing.assert_array_equal(cascade.segment(study), cascade.segment(study))


def test_components_under_two_millilitres_are_dropped(cascade: MsnetCascade) -> None:
    study, truth = phantom(radius=7)
    assert 0 < np.count_nonzero(truth) < 2000
    assert not cascade.segment(study).any()


def test_a_study_without_flair_is_refused(cascade: MsnetCascade) -> None:
    study, _ = phantom(radius=12)
    channels = {c: channel for c, channel in study.channels.items() if c != Contrast.FLAIR}
    with pytest.raises(InferenceError, match="no t2f series"):
        cascade.segment(prepared_study(channels, study.brain))


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match=r"msnet_brats17\.safetensors does not exist"):
        MsnetCascade.load(tmp_path, "cpu")
    save_file({"something.else": torch.zeros(3)}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(InferenceError, match="does not hold the wt axial net"):
        MsnetCascade.load(tmp_path, "cpu")
    (tmp_path / WEIGHTS_FILE).write_bytes(b"nonsense")
    with pytest.raises(InferenceError, match="no intact safetensors"):
        MsnetCascade.load(tmp_path, "cpu")


def test_the_published_weights_fit_the_nets(real_data: Path) -> None:
    identity = MsnetCascade.load(real_data / "weights", "cpu").identity
    assert identity.version == "brats17"
    assert len(identity.weights_sha256) == 64


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("case", "reference", "least"),
    [
        ("brats-gli-00001-000", "seg-BraTS23_1", {Region.WHOLE: 0.93, Region.CORE: 0.90, Region.ENHANCING: 0.75}),
        ("tcga-fg-6692", "seg-simple", {Region.WHOLE: 0.90, Region.CORE: 0.90, Region.ENHANCING: 0.90}),
    ],
)
def test_real_tumours_are_segmented_as_published(
    real_data: Path, case: str, reference: str, least: dict[Region, float]
) -> None:
    folder = real_data / "segmentation" / case
    labels = MsnetCascade.load(real_data / "weights", "cpu").segment(brats_case(folder))
    truth = read_working_grid(folder / f"{reference}.nii.gz").astype(np.uint8)
    truth[truth == 4] = 3  # enhancing tumour up to BraTS 2020
    found = {r: dice(np.isin(labels, r.labels), np.isin(truth, r.labels)) for r in least}
    assert all(found[region] >= least[region] for region in least), found

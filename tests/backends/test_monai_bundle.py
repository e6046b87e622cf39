"""MONAI bundles in the layout of `brats_mri_segmentation`: run as MONAI runs them, and never their code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backends.prepared import prepared_study
from backends.small_bundle import REGIONS, inference_config, metadata, write_bundle
from monai.bundle import ConfigParser

from inference.backends.bundle import MonaiBundle, OutputMap
from inference.contracts import InferenceError, LabelArray, PreparedStudy
from longitudinal.types import Contrast

SHAPE = (32, 48, 40)
ORDER = (Contrast.T1C, Contrast.T1, Contrast.T2, Contrast.FLAIR)
LABELS = ("background", "non-enhancing tumor core", "edema", "enhancing tumor")


@pytest.fixture
def study() -> PreparedStudy:
    """Noise with structure; the brain touches all faces, so that our crop is the whole volume."""
    random = np.random.default_rng(4)
    brain = random.random(SHAPE) < 0.9
    brain[[0, -1]] = brain[:, [0, -1]] = brain[:, :, [0, -1]] = True
    coarse = random.normal(100, 40, (4, 4, 6, 5)).repeat(8, 1).repeat(8, 2).repeat(8, 3)
    noisy = (coarse + random.normal(0, 10, coarse.shape)).astype(np.float32)
    return prepared_study({contrast: noisy[i] for i, contrast in enumerate(Contrast)}, brain)


def as_monai_runs_it(folder: Path, study: PreparedStudy) -> torch.Tensor:
    """Logits from the bundle's own configuration, on arrays as LoadImage gives them (x, y, z of an LPS file)."""
    parser = ConfigParser()
    parser.read_config(folder / "configs/inference.json")
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(folder / "models/model.pt", weights_only=True))
    image = np.stack([np.where(study.brain, study.channels[c], 0).transpose(2, 1, 0) for c in ORDER])
    normalise = parser.get_parsed_content("preprocessing::transforms::1")
    normalised = normalise({"image": image})["image"]
    with torch.inference_mode():
        logits: torch.Tensor = parser.get_parsed_content("inferer")(torch.as_tensor(normalised)[None], network.eval())
    return logits[0]


def back_on_grid(labels: torch.Tensor, study: PreparedStudy) -> LabelArray:
    return np.where(study.brain, labels.numpy().transpose(2, 1, 0), 0).astype(np.uint8)


def test_regions_become_the_labels_that_monai_would_write(tmp_path: Path, study: PreparedStudy) -> None:
    folder = write_bundle(tmp_path / "brats_mri_segmentation")
    x = as_monai_runs_it(folder, study).sigmoid() > 0.5
    expected = torch.where(x[2] > 0, 3, torch.where(x[0] > 0, 1, torch.where(x[1] > 0, 2, 0)))
    labels = MonaiBundle.load(folder, "cpu").segment(study)
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert np.mean(labels == back_on_grid(expected, study)) > 0.9999


def test_exclusive_labels_become_ours(tmp_path: Path, study: PreparedStudy) -> None:
    folder = write_bundle(tmp_path / "bundle", LABELS)
    expected = as_monai_runs_it(folder, study).softmax(0).argmax(0)
    labels = MonaiBundle.load(folder, "cpu").segment(study)
    assert len(np.unique(labels)) > 2
    assert np.mean(labels == back_on_grid(expected, study)) > 0.9999


def test_torchscript_gives_what_the_state_dict_gives(tmp_path: Path, study: PreparedStudy) -> None:
    plain = MonaiBundle.load(write_bundle(tmp_path / "plain"), "cpu").segment(study)
    script = MonaiBundle.load(write_bundle(tmp_path / "script", script=True), "cpu")
    assert np.mean(script.segment(study) == plain) > 0.9999
    assert script.identity.name == "script"
    assert script.identity.version == "0.3.0"


def test_the_orientation_of_the_bundle_is_kept(tmp_path: Path, study: PreparedStudy) -> None:
    """A bundle that wants RAS sees the patient mirrored twice against one that wants LPS."""
    transforms = inference_config(3)["preprocessing"]["transforms"]
    oriented = [*transforms, {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}]
    ras = write_bundle(tmp_path / "ras", preprocessing={"_target_": "Compose", "transforms": oriented})
    lps = write_bundle(tmp_path / "lps")

    def mirrored(array: Any) -> Any:
        return np.ascontiguousarray(array[:, ::-1, ::-1])

    flipped = prepared_study({c: mirrored(a) for c, a in study.channels.items()}, mirrored(study.brain))
    expected = mirrored(MonaiBundle.load(lps, "cpu").segment(flipped))
    assert np.mean(MonaiBundle.load(ras, "cpu").segment(study) == expected) > 0.9999


def test_references_to_plain_values_are_followed(tmp_path: Path) -> None:
    definition = {**inference_config(3)["network_def"], "init_filters": "@filters"}
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": "@patch", "overlap": 0.5}
    folder = write_bundle(tmp_path / "bundle", network_def=definition, filters=8, patch=[16, 16, 16], inferer=inferer)
    MonaiBundle.load(folder, "cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"_target_": "os.system", "command": "touch {marker}"},
        {"_target_": "subprocess.run"},
        {"_target_": "monai.networks.nets.utils.urlretrieve"},
        {"_target_": "torch.nn.functional.relu"},
        {"init_filters": "$__import__('os').system('touch {marker}')"},
        {"act": ["RELU", {"inplace": {"_target_": "builtins.eval", "source": "1"}}]},
        {"_requires_": "$__import__('os').system('touch {marker}')"},
        {"init_filters": "%configs/other.json"},
    ],
)
def test_configurations_that_would_run_code_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    marker = tmp_path / "marker"
    text = json.dumps({**inference_config(3)["network_def"], **change}).replace("{marker}", str(marker))
    folder = write_bundle(tmp_path / "bundle", network_def=json.loads(text))
    with pytest.raises(InferenceError, match=r"network definition|Expressions are not run"):
        MonaiBundle.load(folder, "cpu")
    assert not marker.exists()


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


def test_pickled_code_in_the_weights_is_not_run(tmp_path: Path) -> None:
    folder, marker = write_bundle(tmp_path / "bundle"), tmp_path / "marker"
    torch.save({"state_dict": Touch(marker)}, folder / "models/model.pt")
    with pytest.raises(InferenceError, match="not hold plain weights"):
        MonaiBundle.load(folder, "cpu")
    (folder / "models/model.pt").write_bytes(pickle.dumps(Touch(marker), protocol=2))
    with pytest.raises(InferenceError, match="not hold plain weights"):
        MonaiBundle.load(folder, "cpu")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network_def": {**inference_config(3)["network_def"], "init_filters": 16}}, "does not fit the network"),
        ({"network_def": {**inference_config(3)["network_def"], "no_such": 1}}, "cannot be built"),
        ({"network_def": "$import_it()"}, "holds no network"),
        ({"preprocessing": {"transforms": [{"_target_": "LoadImaged"}]}}, "no NormalizeIntensity"),
        ({"preprocessing": {"transforms": [{"_target_": "ScaleIntensityRanged"}]}}, "ScaleIntensityRange"),
        ({"preprocessing": {"transforms": [{"_target_": "Spacingd", "pixdim": [2, 2, 2]}]}}, "only 1 mm"),
        ({"inferer": {"roi_size": [32, 32]}}, "roi_size"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InferenceError, match=says):
        MonaiBundle.load(write_bundle(tmp_path / "bundle", **changes), "cpu")


def test_a_wrong_number_of_channels_is_said(tmp_path: Path, study: PreparedStudy) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / "configs/metadata.json").write_text(json.dumps(metadata(REGIONS[:2])))
    with pytest.raises(InferenceError, match="the 2 channels it names"):
        MonaiBundle.load(folder, "cpu").segment(study)


@pytest.mark.parametrize(
    ("names", "exclusive", "labels"),
    [
        (("TC", "WT", "ET"), False, {0: 1, 1: 2, 2: 3}),
        (("ET", "WT", "TC"), False, {0: 3, 1: 2, 2: 1}),
        (("Background", "NCR", "ED", "ET"), True, {0: 0, 1: 1, 2: 2, 3: 3}),
        (("background", "NETC", "SNFH", "ET", "resection cavity"), True, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}),
        (("GD-enhancing tumor", "peritumoral edema", "necrotic core"), False, {0: 3, 1: 2, 2: 1}),
    ],
)
def test_names_of_output_channels_are_understood(
    names: tuple[str, ...], exclusive: bool, labels: dict[int, int]
) -> None:
    outputs = OutputMap.from_names(names)
    assert outputs.exclusive is exclusive
    assert dict(outputs.paint) == labels


def test_enhancing_tumour_is_painted_over_core_over_whole() -> None:
    outputs = OutputMap.from_names(("ET", "TC", "WT"))
    logits = torch.tensor([[1.0, -1, -1, -1], [1, 1, -1, -1], [1, 1, 1, -1]]).view(3, 4, 1, 1)
    assert outputs.labels(logits).ravel().tolist() == [3, 1, 2, 0]


def test_unknown_output_names_are_refused() -> None:
    with pytest.raises(InferenceError, match="'liver' is not understood"):
        OutputMap.from_names(("background", "liver"))
    with pytest.raises(InferenceError, match="'Whole tumor' is not understood"):
        OutputMap.from_names(("background", "Whole tumor"))

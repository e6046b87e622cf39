"""Small MONAI bundles in the layout of `brats_mri_segmentation`, with a random network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import SegResNet

REGIONS = ("Tumor core", "Whole tumor", "Enhancing tumor")


def inference_config(outputs: int) -> dict[str, Any]:
    """The keys of the published configuration, expressions included."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "amp": True,
        "network_def": {
            "_target_": "SegResNet",
            "blocks_down": [1, 2, 2, 4],
            "blocks_up": [1, 1, 1],
            "init_filters": 8,
            "in_channels": 4,
            "out_channels": outputs,
            "dropout_prob": 0.2,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 1, "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "keys": "pred"}]},
    }


def metadata(outputs: tuple[str, ...]) -> dict[str, Any]:
    shape = ["8*n", "8*n", "8*n"]
    names = ("T1c", "T1", "T2", "FLAIR")
    return {
        "version": "0.3.0",
        "network_data_format": {
            "inputs": {"image": {"spatial_shape": shape, "channel_def": {str(i): n for i, n in enumerate(names)}}},
            "outputs": {"pred": {"spatial_shape": shape, "channel_def": {str(i): n for i, n in enumerate(outputs)}}},
        },
    }


def random_network(outputs: int) -> SegResNet:
    torch.manual_seed(11)
    network = SegResNet(
        blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), init_filters=8, in_channels=4, out_channels=outputs
    )
    network.conv_final[-1].conv.bias.data = torch.linspace(-0.3, 0.2, outputs)
    return network.eval()


def write_bundle(folder: Path, outputs: tuple[str, ...] = REGIONS, script: bool = False, **changes: Any) -> Path:
    """A bundle with a small random network; `changes` replace top-level keys of `inference.json`."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    config = {**inference_config(len(outputs)), **changes}
    (folder / "configs/inference.json").write_text(json.dumps(config))
    (folder / "configs/metadata.json").write_text(json.dumps(metadata(outputs)))
    network = random_network(len(outputs))
    if script:
        torch.jit.save(torch.jit.script(network), str(folder / "models/model.ts"))
    else:
        torch.save(network.state_dict(), folder / "models/model.pt")
    return folder

"""Evaluate a segmentation model on simulated patients that it was not trained on, through the real preparation.

`python -m training.segmentation.evaluate MODEL --patients 24 [--brain truth] [--device auto] [--json FILE] [--write]`

Every patient is scanned as four series on four grids; these are put on the working grid, registered, brain-extracted,
segmented, and brought back to the T1c grid, where the truth is. `--case DIR TRUTH` evaluates a real case instead: a
folder with four NIfTI contrasts and a label map. `--write` puts the figures into the model card.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import Volume

from inference.backends.own import MODEL_KIND
from inference.backends.registry import load_backend
from inference.case_files import analyse_case
from inference.contracts import BoolArray, FloatArray, LabelArray, SegmentationBackend
from inference.model_folder import read_model_folder, write_model_folder
from inference.nifti_files import read_nifti
from inference.preparation import BrainExtractor, working_grid
from inference.resampling import resample
from inference.study import analyse_volumes
from longitudinal.types import Compartment, Contrast, Region
from training.segmentation.card import model_card
from training.simulate.anatomy import simulate_head
from training.simulate.course import simulate_patient
from training.simulate.protocol import StudySize
from training.simulate.scan import Scan, place_lesions, scan_patient

HELD_OUT_SEED = 20_000
"""Simulation seed of evaluation patients; training heads come from `training.segmentation.train.TRAINING_SEEDS`."""


_ENHANCING_BEFORE_2023 = 4


@dataclass(frozen=True)
class Comparison:
    """Found against true volume (ml) of each region of one study, and Dice (None where the region is truly absent)."""

    name: str
    dice: Mapping[Region, float | None]
    found_ml: Mapping[Region, float]
    truth_ml: Mapping[Region, float]


def compare_labels(name: str, found: LabelArray, truth: LabelArray, voxel_ml: float) -> Comparison:
    """Compare two label maps on one grid."""
    dice: dict[Region, float | None] = {}
    found_ml, truth_ml = {}, {}
    for region in Region:
        a, b = np.isin(found, region.labels), np.isin(truth, region.labels)
        total = int(a.sum()) + int(b.sum())
        dice[region] = 2 * int((a & b).sum()) / total if b.any() else None
        found_ml[region], truth_ml[region] = float(a.sum() * voxel_ml), float(b.sum() * voxel_ml)
    return Comparison(name, dice, found_ml, truth_ml)


def held_out_scans(patients: int, seed: int, size: StudySize = StudySize.FULL) -> Iterator[tuple[str, Scan]]:
    """One scan of each of so many simulated patients, alternately the first and the second time point."""
    for index in range(patients):
        patient = simulate_patient(index, 2, seed)
        head = simulate_head(patient.seed, size.head_mm)
        number = index % 2
        name = f"{patient.patient_id} {patient.tumour_type} {patient.course} timepoint {number + 1}"
        yield name, scan_patient(patient, head, place_lesions(patient, head), number, size)


def scan_volumes(scan: Scan) -> dict[Contrast, Volume]:
    """The series of a scan as volumes, as if read from DICOM."""
    return {c: Volume(signal * 500, stack.affine, "PATIENT") for c, (stack, signal) in scan.series.items()}


def true_brain(scan: Scan) -> BrainExtractor:
    """A brain extractor that gives the true brain of this scan."""
    stack, signal = scan.series[Contrast.T1C]
    grid = working_grid(Volume(signal * 500, stack.affine, "PATIENT"))
    mask = Volume(scan.brain.astype(np.float32), stack.affine, "PATIENT")
    brain: BoolArray = resample(mask, grid) >= 0.5

    def extract(_: FloatArray) -> BoolArray:
        return brain

    return extract


def evaluate_scan(
    name: str, scan: Scan, backend: SegmentationBackend, brain: BrainExtractor | None = None
) -> Comparison:
    """Analyse a scan as the gateway does and compare on the T1c grid."""
    analysis = analyse_volumes(scan_volumes(scan), backend, brain_extractor=brain)
    voxel_ml = analysis.labels.voxel_volume / 1000
    return compare_labels(name, analysis.labels.array.astype(np.uint8), scan.labels, voxel_ml)


def evaluate_case(folder: Path, truth: Path, backend: SegmentationBackend) -> Comparison:
    """Analyse a case folder and compare with a label map of it (enhancing tumour 3, or 4 as until BraTS 2020)."""
    analysis = analyse_case(folder, backend)
    labels = resample(read_nifti(truth), analysis.labels, nearest=True).astype(np.uint8)
    if not (labels == Compartment.ENHANCING.label).any():
        labels[labels == _ENHANCING_BEFORE_2023] = Compartment.ENHANCING.label
    voxel_ml = analysis.labels.voxel_volume / 1000
    return compare_labels(folder.name, analysis.labels.array.astype(np.uint8), labels, voxel_ml)


def summarise(comparisons: Sequence[Comparison]) -> dict[str, dict[str, float]]:
    """Dice and volume error of every region over the studies (bias = found minus true, millilitres)."""
    out = {}
    for region in Region:
        dice = [d for c in comparisons if (d := c.dice[region]) is not None]
        error = np.array([c.found_ml[region] - c.truth_ml[region] for c in comparisons])
        truth = sum(c.truth_ml[region] for c in comparisons)
        out[str(region)] = {
            "cases": len(dice),
            "dice_mean": float(np.mean(dice)) if dice else 0.0,
            "dice_median": float(np.median(dice)) if dice else 0.0,
            "dice_lowest": float(np.min(dice)) if dice else 0.0,
            "bias_ml": float(error.mean()),
            "bias_percent": float(100 * error.sum() / truth) if truth else 0.0,
            "mae_ml": float(np.abs(error).mean()),
        }
    return out


def _write_card(folder: Path, title: str, what: str, regions: dict[str, dict[str, float]]) -> None:
    card = dict(read_model_folder(folder, MODEL_KIND).card)
    rounded = {r: {k: round(v, 3) for k, v in row.items()} for r, row in regions.items()}
    entry: dict[str, Any] = {"what": what, "regions": rounded}
    card["metrics"] = card.get("metrics", {}) | {title: entry}
    write_model_folder(folder, card, model_card(card))


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.segmentation.evaluate", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--size", type=StudySize, choices=list(StudySize), default=StudySize.FULL)
    parser.add_argument("--brain", choices=("extracted", "truth"), default="extracted")
    parser.add_argument("--case", type=Path, nargs=2, action="append", metavar=("DIR", "TRUTH"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write every comparison there")
    parser.add_argument("--write", action="store_true", help="put the figures into the model card")
    return parser.parse_args(arguments)


def _comparisons(given: argparse.Namespace, backend: SegmentationBackend) -> Iterator[Comparison]:
    if given.case:
        for folder, truth in given.case:
            yield evaluate_case(folder, truth, backend)
        return
    for name, scan in held_out_scans(given.patients, given.seed, given.size):
        yield evaluate_scan(name, scan, backend, true_brain(scan) if given.brain == "truth" else None)


def _described(given: argparse.Namespace) -> tuple[str, str]:
    """Title and explanation for the model card."""
    if given.case:
        names = ", ".join(folder.name for folder, _ in given.case)
        return "Real cases", f"{names}: against the label maps of other algorithms or their fusion."
    mask = "the true brain mask" if given.brain == "truth" else "brain extraction"
    what = (
        f"{given.patients} simulated patients not seen in training ({given.size} size, seed {given.seed}), through "
        f"registration, {mask} and back to the T1c grid."
    )
    return f"Held-out simulated patients, brain {given.brain}", what


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module."""
    given = _arguments(arguments)
    backend = load_backend(str(given.model), given.device)
    comparisons = []
    for found in _comparisons(given, backend):
        comparisons.append(found)
        cells = (f"{r} {(found.dice[r] or 0):.2f} {found.found_ml[r]:.1f}/{found.truth_ml[r]:.1f} ml" for r in Region)
        sys.stdout.write(f"{found.name}: {'  '.join(cells)}\n")
        sys.stdout.flush()
    regions = summarise(comparisons)
    sys.stdout.write(json.dumps(regions, indent=1) + "\n")
    if given.json:
        rows = [{"name": c.name, "dice": c.dice, "found_ml": c.found_ml, "truth_ml": c.truth_ml} for c in comparisons]
        given.json.write_text(json.dumps({"studies": rows, "regions": regions}, indent=1), encoding="utf-8")
    if given.write:
        _write_card(given.model, *_described(given), regions)


if __name__ == "__main__":
    main()

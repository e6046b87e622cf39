"""Cases to train on: the brain of a simulated head with tumours, as tissue and label maps without any contrast yet.

A case is drawn once and kept on disk; `appearance` gives it another look each time it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from training.simulate.anatomy import Head
from training.simulate.tumour import Growth, Lesion, plan_lesion, seed_lesion

ByteArray = npt.NDArray[np.uint8]

MARGIN_MM = 6.0
_GROWTHS = (Growth.RING, Growth.SOLID, Growth.DIFFUSE)
_GROWTH_SHARES = (0.55, 0.15, 0.30)
_LESION_COUNTS = (0, 1, 2, 3)
_COUNT_SHARES = (0.06, 0.70, 0.16, 0.08)


@dataclass(frozen=True)
class Case:
    """A brain with a margin on an isotropic grid, arrays uint8 (slice, row, column).

    `gm`, `wm`, `csf`: fractions times 255; `tissue`: `Tissue` values; `brain`: 1 in the true brain mask; `labels`:
    compartments; `diffuse`: 1 where the lesion is a lower-grade glioma, whose core looks different.
    """

    gm: ByteArray
    wm: ByteArray
    csf: ByteArray
    tissue: ByteArray
    brain: ByteArray
    labels: ByteArray
    diffuse: ByteArray


def generate_cases(head: Head, seed: int, per_head: int = 2) -> list[Case]:
    """`per_head` cases with different tumours in one head."""
    box = _brain_box(head)
    return [_case(np.random.default_rng([seed, 5, n]), head, box) for n in range(per_head)]


def cached_cases(
    folder: Path, draw: Callable[[int], Head], source: str, seeds: range, per_head: int = 2
) -> Iterator[Case]:
    """The cases of the heads that `draw` gives for these seeds, made where the folder does not hold them yet.

    `source` names the kind of head and its spacing in the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        files = [folder / f"{seed}-{n}-{source}.npz" for n in range(per_head)]
        if not all(file.is_file() for file in files):
            for file, case in zip(files, generate_cases(draw(seed), seed, per_head), strict=True):
                unfinished = file.with_suffix(".part.npz")
                np.savez_compressed(unfinished, **{f.name: getattr(case, f.name) for f in fields(Case)})
                unfinished.rename(file)
        for file in files:
            with np.load(file) as stored:
                yield Case(**{f.name: stored[f.name] for f in fields(Case)})


def _brain_box(head: Head) -> tuple[slice, ...]:
    margin = round(MARGIN_MM / head.spacing_mm)
    found = ndi.find_objects(head.brain.astype(np.uint8))[0]
    return tuple(
        slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(found, head.shape, strict=True)
    )


def _case(rng: np.random.Generator, head: Head, box: tuple[slice, ...]) -> Case:
    labels = np.zeros(head.shape, dtype=np.uint8)
    diffuse = np.zeros(head.shape, dtype=np.uint8)
    for _ in range(int(rng.choice(_LESION_COUNTS, p=_COUNT_SHARES))):
        growth = _GROWTHS[int(rng.choice(len(_GROWTHS), p=_GROWTH_SHARES))]
        lesion, painted = _lesion(rng, head, growth, labels > 0)
        view, kind = labels[lesion.box], diffuse[lesion.box]
        new = (painted > 0) & (view == 0)
        view[new] = painted[new]
        kind[new] = growth is Growth.DIFFUSE
    gm, wm, csf = (np.rint(part[box] * 255).astype(np.uint8) for part in (head.gm, head.wm, head.csf))
    return Case(gm, wm, csf, head.tissue[box].copy(), head.brain[box].astype(np.uint8), labels[box], diffuse[box])


def _lesion(
    rng: np.random.Generator, head: Head, growth: Growth, taken: npt.NDArray[np.bool_]
) -> tuple[Lesion, ByteArray]:
    core_ml = float(np.exp(rng.uniform(np.log(0.6), np.log(8.0 if growth is Growth.SOLID else 65.0))))
    extent = float(rng.uniform(1.15, 4.0) if growth is not Growth.DIFFUSE else rng.uniform(1.1, 2.6))
    operated = growth is Growth.RING and core_ml > 4 and rng.random() < 0.25
    cavity_ml = core_ml * float(rng.uniform(0.1, 0.75)) if operated else 0.0
    lesion = seed_lesion(rng, head, plan_lesion(rng, growth, cavity_ml), taken)
    return lesion, lesion.compartments(core_ml, min(core_ml * extent, 190.0))

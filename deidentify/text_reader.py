"""Text in images, found offline: RapidOCR with the models that its wheel carries (extra `ocr`).

Nothing is downloaded. One thread and a fixed graph make it repeatable: same image, same boxes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Image8 = npt.NDArray[np.uint8]

EXTRA = "timepoint[ocr]"
SMALL_SIDE = 640
"""Images up to this side are read at twice their size: lines of 9 pixels are too small for the detector otherwise."""
SCORE = 0.75
"""Recognition score from which a line counts; texture of a brain that the detector takes for text stays below it."""
LETTERS = 2
"""Letters and digits that a line must have; a single one is a speck, or the L and R of a scanner."""
PADDING = 64
"""Margin of the image's own edge values: lines that touch the border are found as well."""


@dataclass(frozen=True)
class Box:
    """A line of text: rows `top` to `bottom` and columns `left` to `right` of the image, ends not included."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Reader:
    """The loaded models. Make it with `reader`."""

    engine: Any

    def lines(self, image: Image8) -> list[Box]:
        """Lines of text in an image (rows, columns) or (rows, columns, 3), 8 bit; what they say is not kept.

        Read as it is and inverted: a line that disappears in the folds of a brain in one is seen in the other.
        """
        return [*self.once(image), *self.once(255 - image)]

    def once(self, image: Image8) -> list[Box]:
        """The same, read only as it is, for samples."""
        factor = 2 if max(image.shape[:2]) <= SMALL_SIDE else 1
        margins = [(PADDING, PADDING), (PADDING, PADDING)] + [(0, 0)] * (image.ndim - 2)
        enlarged = np.pad(image.repeat(factor, axis=0).repeat(factor, axis=1), margins, mode="edge")
        colours = enlarged if image.ndim == 3 else np.repeat(enlarged[..., None], 3, axis=2)
        found = self.engine(colours, use_cls=False)
        if found.boxes is None:
            return []
        return list(_boxes(found, factor, image.shape))


def is_installed() -> bool:
    """Whether the extra is there; nothing is loaded."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


@cache
def reader() -> Reader | None:
    """The reader of this process, None without the extra."""
    if not is_installed():
        return None
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    options: dict[str, Any] = {f"EngineConfig.onnxruntime.{name}": value for name, value in threads.items()}
    options |= {"Global.use_cls": False, "Global.log_level": "critical", "Global.max_side_len": 4096}
    # Paths of the packaged files: without them a missing model would be downloaded.
    options |= {
        "Det.model_path": str(_packaged(models, "*_det_*.onnx")),
        "Rec.model_path": str(_packaged(models, "*_rec_*.onnx")),
    }
    return Reader(rapidocr.RapidOCR(params=options))


def _packaged(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"rapidocr carries no model {pattern}; install another release of {EXTRA}")
    return found[0]


def _boxes(found: Any, factor: int, shape: tuple[int, ...]) -> Iterator[Box]:
    for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
        if score < SCORE or sum(char.isalnum() for char in text) < LETTERS:
            continue
        x, y = (np.asarray(corners).T - PADDING) / factor
        yield Box(
            max(int(np.floor(y.min())), 0),
            min(int(np.ceil(y.max())), shape[0]),
            max(int(np.floor(x.min())), 0),
            min(int(np.ceil(x.max())), shape[1]),
        )

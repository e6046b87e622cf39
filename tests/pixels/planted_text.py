"""Lines of text planted in images: sizes, backgrounds, fonts and places; each line with the mask of its ink."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONTS = ("DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf")
SIZES = (9, 10, 12, 14, 18)
BACKGROUNDS = ("dark", "brain", "bright")
LINES = (
    "DOE^JANE", "Mueller, Karl 4711-0815", "PID 00482913", "1961-03-04 F", "ST. MARY HOSPITAL",
    "Acc: A20240117", "Dr. Ivanova", "12.05.2023 14:33", "Kowalski^Anna^^Dr", "DOB 04/03/1961",
)  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """An image (rows, columns), 8 bit, and where the ink of its line is."""

    image: npt.NDArray[np.uint8]
    ink: npt.NDArray[np.bool_]
    size: int
    background: str


def planted_lines(seed: int = 0, sides: tuple[int, ...] = (256, 512)) -> Iterator[Planted]:
    """One line for each size, background, font and side, at a random place that holds all of it."""
    rng = np.random.default_rng(seed)
    for size, background, font, side in itertools.product(SIZES, BACKGROUNDS, FONTS, sides):
        text = str(rng.choice(LINES))
        yield plant(backdrop(background, side, rng), text, size, background, font, rng)


def plant(
    base: npt.NDArray[np.uint8], text: str, size: int, background: str, font: str, rng: np.random.Generator
) -> Planted:
    """Draw `text` at a random place of a copy of `base`, light on dark or dark on bright."""
    side = base.shape[0]
    drawn = ImageFont.truetype(str(FONT_FOLDER / font), size)
    left, top, right, bottom = (round(v) for v in drawn.getbbox(text))
    x = int(rng.integers(0, max(1, side - (right - left) - 1))) - left
    y = int(rng.integers(0, max(1, side - (bottom - top) - 1))) - top
    layer = Image.new("L", (side, side), 0)
    ImageDraw.Draw(layer).text((x, y), text, fill=255, font=drawn)
    coverage = np.asarray(layer, np.float32) / 255
    colour = 10.0 if background == "bright" else 255.0
    image = base * (1 - coverage) + colour * coverage
    return Planted(image.round().astype(np.uint8), coverage > 0.3, size, background)


def backdrop(kind: str, side: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Air with noise, a brain-like disc with texture, or a bright sheet."""
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    noise = rng.normal(0, 6, (side, side))
    if kind == "dark":
        return np.clip(12 + noise, 0, 255).astype(np.uint8)
    if kind == "bright":
        return np.clip(225 + noise, 0, 255).astype(np.uint8)
    radius = np.hypot(rows / 1.1, columns / 0.95)
    folds = 22 * np.sin(14 * np.arctan2(rows, columns) + 9 * radius) * (radius > 0.25)
    tissue = np.where(radius < 1.0, 105 + folds, 8)
    return np.clip(tissue + noise, 0, 255).astype(np.uint8)


def is_covered(planted: Planted, mask: npt.NDArray[np.bool_], share: float = 0.9) -> bool:
    """Whether more than `share` of the ink lies in the mask."""
    return bool((planted.ink & mask).sum() > share * planted.ink.sum())

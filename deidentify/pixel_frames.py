"""Frames of an object as images to read, and pixels painted over and written back without compression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from deidentify.elements import text_of
from deidentify.errors import RefusalCode, Refused
from deidentify.text_reader import Box, Image8

MARGIN = 3
"""Pixels painted around a line: accents and strokes that the box leaves out."""
_DARK, _LIGHT = 0.5, 99.5
_FAR = 2.0
"""A brightest pixel this many times above the 99.5th percentile asks for a second look over the full range."""

Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Frames:
    """Decoded pixel data: `pixels` (frames, rows, columns) or (frames, rows, columns, 3), RGB where it has colour."""

    pixels: Pixels
    photometric: str
    palette: Dataset | None

    def __len__(self) -> int:
        return len(self.pixels)

    def views(self, index: int) -> Iterator[Image8]:
        """8-bit images of one frame, as a person could look at it to read what is drawn in it."""
        frame = self.pixels[index]
        if self.palette is not None:
            frame = apply_color_lut(frame, self.palette)
        yield from views_of(frame)

    def paint(self, index: int, boxes: Sequence[Box]) -> None:
        """Paint the boxes, and a margin, with one value of the frame's background."""
        frame = self.pixels[index]
        for box in boxes:
            rows = slice(max(box.top - MARGIN, 0), box.bottom + MARGIN)
            columns = slice(max(box.left - MARGIN, 0), box.right + MARGIN)
            frame[rows, columns] = self._ground(frame)

    def _ground(self, frame: Pixels) -> Any:
        if self.photometric == "MONOCHROME1":
            return frame.max()
        if self.palette is not None:
            return frame.flat[int(apply_color_lut(frame, self.palette).sum(axis=-1).argmin())]
        return 0 if frame.ndim == 3 else frame.min()

    def encoded(self) -> bytes:
        """Native little-endian bytes of all frames, colour by pixel."""
        little = self.pixels.astype(self.pixels.dtype.newbyteorder("<"), copy=False)
        return little.tobytes()


def decode(ds: Dataset) -> Frames:
    """Decode all frames. Raises `Refused` when no decoder reads them."""
    try:
        decoded = pixel_array(ds)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError, KeyError, TypeError) as error:
        message = f"the pixels cannot be decoded, so text in them cannot be looked for ({type(error).__name__})"
        raise Refused(RefusalCode.PIXELS_UNREAD, message) from None
    colour = int(ds.get("SamplesPerPixel", 1)) == 3
    shape = decoded.shape if decoded.ndim == (4 if colour else 3) else (1, *decoded.shape)
    photometric = text_of(ds.get_item("PhotometricInterpretation")).strip() if "PhotometricInterpretation" in ds else ""
    pixels = np.array(decoded).reshape(shape)
    return Frames(pixels, photometric, ds if photometric == "PALETTE COLOR" else None)


def views_of(frame: Pixels) -> Iterator[Image8]:
    """8-bit images of one frame of any range: over the bulk of its values, and over all where a few lie far above."""
    values = np.nan_to_num(frame.astype(np.float32, copy=False))
    low, high = (float(v) for v in np.percentile(values, [_DARK, _LIGHT]))
    top, bottom = float(values.max()), float(values.min())
    if high > low:
        yield _scaled(values, low, high)
    if top > bottom and (high <= low or top - low > _FAR * (high - low)):
        yield _scaled(values, bottom, top)


def _scaled(values: npt.NDArray[np.float32], low: float, high: float) -> Image8:
    image: Image8 = (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return image


def colour_attributes(frames: Frames) -> Mapping[str, Any]:
    """Attributes that change when pixels are written back: colour becomes RGB by pixel."""
    return {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0} if frames.pixels.ndim == 4 else {}

"""Samples of a series of original slices read for text: first, middle and last slice and the brightest along all.

A text that the scanner or a workstation burns in stands on every slice as a rule, and one on a single slice is bright
enough to be seen in the maximum projection. A hit refuses the whole series.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from deidentify import burned_in
from deidentify.elements import text_of
from deidentify.errors import RefusalCode, Refused
from deidentify.parsing import parsing
from deidentify.pixel_frames import Pixels, decode, views_of
from deidentify.quiet import quiet
from deidentify.reading import read_file
from deidentify.text_reader import Image8, reader

GAP = 16
"""Pixels between the images of a sheet, so that no line runs from one into the next."""


def refuse_text_in(files: Sequence[Path]) -> None:
    """Raise `Refused` when there is text in a sample of the original slices among `files` (one series, any order).

    Objects that are read one by one anyway are passed over, and so is everything without the extra `ocr`.
    """
    found = reader()
    if found is None or not files:
        return
    sheet = sheet_of([frame for file in files for frame in _slices(file)])
    if sheet is not None and found.once(sheet):
        raise Refused(RefusalCode.PIXELS_BURNED_IN, "text was found in a sample of the series")


@quiet()
@parsing()
def by_series(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files that have pixels, by series and in the order of their instance numbers."""
    series: dict[str, list[tuple[int, str, Path]]] = {}
    for file in files:
        ds = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "InstanceNumber", "Rows"]
        )
        if "Rows" in ds:
            number = text_of(ds.get_item("InstanceNumber")).strip() if "InstanceNumber" in ds else ""
            order = int(number) if number.lstrip("-").isdigit() else 0
            series.setdefault(str(ds.get("SeriesInstanceUID", "")), []).append((order, str(file), file))
    return {uid: [file for _, _, file in sorted(found)] for uid, found in series.items()}


def sheet_of(slices: Sequence[Pixels]) -> Image8 | None:
    """First, middle and last slice and the maximum projection beside one another; None without a slice.

    `slices`: (rows, columns) each; those that have another size than the first take no part in the projection.
    """
    if not slices:
        return None
    alike = [s for s in slices if s.shape == slices[0].shape]
    brightest = alike[0].astype(np.float32)
    for one in alike[1:]:
        np.maximum(brightest, one, out=brightest)
    chosen = [slices[0], slices[len(slices) // 2], slices[-1], brightest] if len(slices) > 1 else [slices[0]]
    return _mosaic([view for frame in chosen for view in views_of(frame)])


def _slices(file: Path) -> list[Pixels]:
    """The original slices in a file; none in one that cannot be read, which is refused for that by itself."""
    try:
        ds = read_file(file)[1]
    except Refused:
        return []
    if not any(keyword in ds for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return []
    if burned_in.why_read(ds, str(ds.get("SOPClassUID", ""))):
        return []
    frames = decode(ds)
    return [frame for frame in frames.pixels if frame.ndim == 2]


def _mosaic(views: list[Image8]) -> Image8 | None:
    if not views:
        return None
    columns = int(np.ceil(np.sqrt(len(views))))
    height = max(v.shape[0] for v in views) + GAP
    width = max(v.shape[1] for v in views) + GAP
    sheet: npt.NDArray[Any] = np.zeros((height * -(-len(views) // columns), width * columns), np.uint8)
    for number, view in enumerate(views):
        row, column = divmod(number, columns)
        sheet[row * height : row * height + view.shape[0], column * width : column * width + view.shape[1]] = view
    return sheet

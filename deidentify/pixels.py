"""Pixel data: objects that may show text are refused; bits and bytes that no pixel uses are cleared."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from deidentify.elements import text_of
from deidentify.errors import RefusalCode, Refused

MR_IMAGES = frozenset({"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"})
_CAPTURES = ("SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "SCREEN CAPTURE", "SECONDARY CAPTURE", "CAPTURE")


def _text(ds: Dataset, keyword: str) -> str:
    return text_of(ds.get_item(keyword)).strip().upper() if keyword in ds else ""


def says_burned_in(ds: Dataset) -> bool:
    """Whether the object states text in its pixels. NO is a claim, not a fact, and counts as nothing."""
    return _text(ds, "BurnedInAnnotation") == "YES"


def is_capture(ds: Dataset) -> bool:
    """Whether Image Type names a screen capture."""
    return any(mark in _text(ds, "ImageType").replace("_", " ").split("\\") for mark in _CAPTURES)


def refuse_captures(ds: Dataset, sop_class: str) -> None:
    """Raise `Refused` for an MR object whose header says, or whose shape suggests, that text is drawn in the pixels.

    `BurnedInAnnotation` NO is no proof of the contrary (it is a claim), so the shape counts as well.
    """
    if says_burned_in(ds):
        raise Refused(RefusalCode.PIXELS_BURNED_IN, "Burned In Annotation is YES; the profile keeps such images back")
    if sop_class not in MR_IMAGES:
        return
    if is_capture(ds):
        raise Refused(RefusalCode.PIXELS_BURNED_IN, "the object is a screen capture in an MR SOP class")
    if "PixelData" in ds and (int(ds.get("SamplesPerPixel", 1)) != 1 or int(ds.get("BitsAllocated", 16)) == 8):
        raise Refused(RefusalCode.PIXELS_BURNED_IN, "colour or 8-bit pixels in an MR object are captures as a rule")


def clean_native(ds: Dataset, data: bytes, syntax: UID) -> tuple[bytes, str]:
    """Native pixel data (little endian) without surplus: bytes beyond the frames and bits beyond Bits Stored.

    Returns the data and what was done ("" for nothing). Raises `Refused` when there are fewer bytes than pixels.
    """
    if syntax.is_compressed:
        return data, ""
    bits = int(ds.BitsAllocated)
    pixels = int(ds.Rows) * int(ds.Columns) * int(ds.get("SamplesPerPixel", 1)) * int(ds.get("NumberOfFrames", 1) or 1)
    expected = (pixels * bits + 7) // 8
    if len(data) < expected:
        message = f"Pixel Data has {len(data)} bytes where {expected} are described"
        raise Refused(RefusalCode.PIXELS_INCONSISTENT, message)
    notes = []
    if any(data[expected:]):
        notes.append("bytes after the last frame removed")
    if len(data) > expected:
        data = data[:expected] + b"\0" * (expected % 2)
    if bits == 16 and int(ds.BitsStored) < 16:
        data, note = _clear_unused_bits(data, int(ds.BitsStored), int(ds.PixelRepresentation) == 1)
        notes += [note] if note else []
    return data, ", ".join(notes)


def _clear_unused_bits(data: bytes, stored: int, signed: bool) -> tuple[bytes, str]:
    """Old overlays hide in the bits above Bits Stored; of signed data these must repeat the sign."""
    if signed:
        pixels: np.ndarray[tuple[int], np.dtype[np.integer]] = np.frombuffer(data, "<i2")
        cleared = (pixels << (16 - stored)) >> (16 - stored)
    else:
        pixels = np.frombuffer(data, "<u2")
        cleared = pixels & np.uint16((1 << stored) - 1)
    if np.array_equal(cleared, pixels):
        return data, ""
    return cleared.tobytes(), "bits above Bits Stored cleared"

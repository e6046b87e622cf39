"""Text in the pixels of one object: what must be read before it may leave, and what is painted over or refused.

Read is what is no original slice: secondary captures, derived\\secondary images, 8-bit and colour images, and what says
of itself that it holds text. Original slices are read in samples (`deidentify.series_text`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from deidentify import codes, pixels
from deidentify.elements import ascii_element, bytes_element, text_of
from deidentify.errors import RefusalCode, Refused
from deidentify.pixel_frames import Frames, colour_attributes, decode
from deidentify.profile import Profile
from deidentify.text_reader import EXTRA, Box, Reader, reader

CODE = ("113101", "Clean Pixel Data Option")
ROUNDS = 3
"""Readings of one frame: what is left after painting is looked at again."""
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PIXEL_DATA, _BURNED_IN, _CODES = 0x7FE00010, 0x00280301, 0x00120064


@dataclass(frozen=True)
class Examined:
    """An object whose pixels were read. `data`: native little-endian pixel data with all lines painted over, None where
    there was none; `attributes` belong to it. `lines` counts what was painted."""

    data: bytes | None = None
    lines: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def syntax(self, otherwise: UID) -> UID:
        """The transfer syntax to write: painted pixels leave uncompressed."""
        return ExplicitVRLittleEndian if self.data is not None and otherwise.is_compressed else otherwise

    def apply(self, out: Dataset) -> None:
        """Put painted pixels into the dataset that leaves, and the marks of a step that ran (CID 7050)."""
        if self.data is not None:
            vr = "OB" if int(out.BitsAllocated) == 8 else "OW"
            out[_PIXEL_DATA] = bytes_element(_PIXEL_DATA, vr, self.data + b"\0" * (len(self.data) % 2))
            for keyword, value in self.attributes.items():
                setattr(out, keyword, value)
        out[_BURNED_IN] = ascii_element(_BURNED_IN, "CS", "NO")
        item = Dataset()
        codes.write(codes.Code(CODE[0], "DCM", CODE[1], "", False), item)
        out[_CODES].value = Sequence([*out[_CODES].value, item])


def examine(ds: Dataset, sop_class: str, profile: Profile) -> Examined | None:
    """Read the pixels of an object that must be read; None for one that need not.

    Raises `Refused` when there is text and the profile says quarantine, when a capture is not to leave, when text that
    the header announces is not found, when it cannot be painted over, and when nothing can read it.
    """
    reason = why_read(ds, sop_class)
    if not reason or _PIXEL_DATA not in ds:
        return None
    if profile.pixel_text == "quarantine":
        pixels.refuse_captures(ds, sop_class)
    found = reader()
    if found is None:
        message = f"{reason}; without the extra {EXTRA} nothing can read its pixels, so it may not leave"
        raise Refused(RefusalCode.PIXELS_UNREAD, message)
    return _clean(ds, found, profile)


def why_read(ds: Dataset, sop_class: str) -> str:
    """Why the pixels of this object must be read, "" for an original slice (or a map, or a mask) of a scanner."""
    if pixels.says_burned_in(ds):
        return "Burned In Annotation is YES"
    if sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + "."):
        return "secondary captures show text as a rule"
    if sop_class not in pixels.MR_IMAGES:
        return ""
    kind = text_of(ds.get_item("ImageType")).upper().split("\\") if "ImageType" in ds else []
    if len(kind) > 1 and kind[1].strip() == "SECONDARY":
        return "a secondary image is no slice of the scanner"
    if int(ds.get("SamplesPerPixel", 1)) != 1 or int(ds.get("BitsAllocated", 16)) == 8:
        return "colour or 8-bit pixels in an MR object are captures as a rule"
    return "the object is a screen capture in an MR SOP class" if pixels.is_capture(ds) else ""


def _clean(ds: Dataset, found: Reader, profile: Profile) -> Examined:
    frames = decode(ds)
    lines = 0
    for index in range(len(frames)):
        boxes = _read(frames, index, found)
        if boxes and profile.pixel_text == "quarantine":
            raise Refused(RefusalCode.PIXELS_BURNED_IN, f"text was found in the pixels of frame {index + 1}")
        lines += len(boxes)
        _paint(frames, index, boxes, found)
    if not lines:
        if pixels.says_burned_in(ds):
            raise Refused(RefusalCode.PIXELS_BURNED_IN, "Burned In Annotation is YES, and no text could be found")
        return Examined()
    return Examined(frames.encoded(), lines, colour_attributes(frames))


def _read(frames: Frames, index: int, found: Reader) -> list[Box]:
    return [box for view in frames.views(index) for box in found.lines(view)]


def _paint(frames: Frames, index: int, boxes: list[Box], found: Reader) -> None:
    for _ in range(ROUNDS):
        if not boxes:
            return
        frames.paint(index, boxes)
        boxes = _read(frames, index, found)
    if boxes:
        raise Refused(RefusalCode.PIXELS_BURNED_IN, f"text is left in frame {index + 1} after {ROUNDS} rounds")

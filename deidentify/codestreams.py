"""Compressed pixel data: comments, application segments and unused bytes of the code streams go, pixels are untouched.

A code stream has room of its own for text: COM and APPn segments of JPEG and JPEG-LS (ITU-T T.81 B.2.4, T.87), COM
segments of JPEG 2000 (T.800 A.9.2), the unused offsets of an RLE header (PS3.5 G.5), and anything behind the end.
"""

from __future__ import annotations

import struct

from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import RLELossless

from deidentify.errors import RefusalCode, Refused

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_BARE = frozenset((0x01, *range(0xD0, 0xD8), _SOI))  # markers without a length
_RLE_HEADER = 64


def clean_frames(data: bytes, syntax: str, frames: int) -> bytes:
    """Encapsulated pixel data with every frame cleaned, one fragment a frame and a new offset table.

    Raises `Refused` where the code streams are not what the transfer syntax says.
    """
    clean = _rle if syntax == RLELossless else _marked
    cleaned = [clean(frame) for frame in generate_frames(data, number_of_frames=frames)]
    if len(cleaned) != frames:
        raise Refused(RefusalCode.PIXELS_INCONSISTENT, "the number of compressed frames is not the one described")
    return bytes(encapsulate(cleaned, has_bot=True))


def _rle(frame: bytes) -> bytes:
    """The header with its unused offsets zero; segments as they are (a decoder stops when a row is full)."""
    if len(frame) <= _RLE_HEADER:
        raise Refused(RefusalCode.PIXELS_INCONSISTENT, "an RLE frame is shorter than its header")
    count, *offsets = struct.unpack("<16L", frame[:_RLE_HEADER])
    used = offsets[:count]
    if not 1 <= count <= 15 or used[0] != _RLE_HEADER or used != sorted(used) or used[-1] >= len(frame):
        raise Refused(RefusalCode.PIXELS_INCONSISTENT, "an RLE header does not describe its segments")
    return struct.pack("<16L", count, *used, *[0] * (15 - count)) + frame[_RLE_HEADER:]


def _marked(frame: bytes) -> bytes:
    """JPEG, JPEG-LS and JPEG 2000: marker segments up to the first scan or tile, then the coded data up to the end."""
    if frame[:4] == b"\xff\x4f\xff\x51":
        return _jpeg_2000(frame)
    if frame[:2] != b"\xff\xd8":
        raise Refused(RefusalCode.PIXELS_INCONSISTENT, "a compressed frame is no code stream of a known kind")
    return _jpeg(frame)


def _segments(frame: bytes, stop: int) -> tuple[list[tuple[int, bytes]], int]:
    """Marker segments from offset 2 to the marker `stop`, and where that one begins."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while True:
        while frame[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 4 > len(frame) or frame[at] != 0xFF:
            raise Refused(RefusalCode.PIXELS_INCONSISTENT, "a code stream breaks off within its header")
        marker = frame[at + 1]
        if marker == stop:
            return found, at
        length = 0 if marker in _BARE else int.from_bytes(frame[at + 2 : at + 4], "big")
        found.append((marker, frame[at : at + 2 + length]))
        at += 2 + length


def _jpeg(frame: bytes) -> bytes:
    header, at = _segments(frame, _SOS)
    kept = [segment for marker, segment in header if marker != 0xFE and not _is_application_data(marker, segment)]
    return frame[:2] + b"".join(kept) + _scans(frame, at)


def _is_application_data(marker: int, segment: bytes) -> bool:
    """APPn but for what a decoder needs: Adobe's APP14 (colour transform) and the short JPEG-LS colour transform."""
    if not 0xE0 <= marker <= 0xEF:
        return False
    return not (marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) == 16)


def _scans(frame: bytes, at: int) -> bytes:
    """From the first SOS to EOI, without comments between scans; nothing behind EOI."""
    kept: list[bytes] = []
    start = at
    while True:
        at = frame.find(b"\xff", at)
        if at < 0 or at + 1 >= len(frame):
            raise Refused(RefusalCode.PIXELS_INCONSISTENT, "a code stream has no end")
        marker = frame[at + 1]
        if marker == _EOI:
            return b"".join(kept) + frame[start : at + 2]
        if marker == 0xFE or 0xE0 <= marker <= 0xEF:
            kept.append(frame[start:at])
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
            start = at
        elif marker in (0x00, 0xFF) or marker in _BARE or marker < 0x80:
            at += 2 if marker != 0xFF else 1
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")


def _jpeg_2000(frame: bytes) -> bytes:
    """Main header without COM; tile-parts, found by their own lengths, as they are; nothing behind."""
    header, at = _segments(frame, 0x90)
    kept = b"".join(segment for marker, segment in header if marker != 0x64)
    start = at
    while frame[at : at + 2] == b"\xff\x90":
        length = int.from_bytes(frame[at + 6 : at + 10], "big")
        if length == 0:  # the last tile-part, up to the end of the code stream
            end = frame.rfind(b"\xff\xd9")
            at = end if end > at else len(frame)
            break
        at += length
    if frame[at : at + 2] != b"\xff\xd9":
        raise Refused(RefusalCode.PIXELS_INCONSISTENT, "a JPEG 2000 code stream has no end")
    return frame[:2] + kept + frame[start:at] + b"\xff\xd9"

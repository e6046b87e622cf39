"""The walk over a data set, saved where it would go the same way as for an image before.

An image of which every element header (tag, VR, length) stands where it stood, up to the pixel data, has the same
structure: one comparison tells, and the values are taken from the known places. Anything else is walked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.encoded_structure import WANTED, Outline, outline

_MOST = 4


@dataclass(frozen=True, slots=True)
class _Structure:
    syntax: str
    pixels_at: int
    pixels_length: int
    headers: struct.Struct
    stated: tuple[bytes, ...]
    wanted: tuple[tuple[int, int, int], ...]
    spans: dict[int, tuple[int, int]]
    nested: list[tuple[int, int]]


class AlikeStructures:
    """Remembers the structures of the last images of an association. One thread uses it."""

    def __init__(self, look_for: frozenset[int] = frozenset()) -> None:
        self._look_for = look_for
        self._known: list[_Structure] = []
        self._last = ("", 0)

    def outline(self, head: bytes | memoryview, transfer_syntax_uid: str, *, whole: bool) -> Outline:
        """As `gateway.encoded_structure.outline`."""
        for known in self._known:
            headers = known.headers
            fits = known.syntax == transfer_syntax_uid and len(head) >= headers.size
            if fits and headers.unpack_from(head) == known.stated:
                return self._same(known, head)
        seen = outline(head, transfer_syntax_uid, whole=whole, look_for=self._look_for)
        self._remember(seen, head, transfer_syntax_uid)
        return seen

    def _same(self, known: _Structure, head: bytes | memoryview) -> Outline:
        return Outline(
            little_endian=True,
            values={tag: bytes(head[start:stop]) for tag, start, stop in known.wanted},
            pixels_at=known.pixels_at,
            pixels_length=known.pixels_length,
            spans=known.spans,
            nested=known.nested,
        )

    def _remember(self, seen: Outline, head: bytes | memoryview, syntax: str) -> None:
        """Only where two images in a row end their headers at the same place: to remember costs more than to walk."""
        usual = seen.little_endian and seen.judged and not seen.short and seen.flaw is None and seen.pixels_at > 0
        last, self._last = self._last, (syntax, seen.pixels_at)
        if not usual or last != self._last:
            return
        headers = struct.Struct("<" + _pattern(seen))
        stated = headers.unpack_from(head)
        wanted = tuple((tag, start, stop) for _, start, stop, tag in seen.elements if tag in WANTED)
        known = _Structure(syntax, seen.pixels_at, seen.pixels_length, headers, stated, wanted, seen.spans, seen.nested)
        self._known = [known, *self._known[: _MOST - 1]]


def _pattern(seen: Outline) -> str:
    """Headers are read and values are not; sequences of undefined length are read as a whole."""
    pieces, at = [], 0
    for start, value_at, stop, _ in seen.elements:
        pieces.append(f"{value_at - start}s{stop - value_at}x")
        at = stop
    return "".join(pieces) + f"{seen.pixels_at - at}s"

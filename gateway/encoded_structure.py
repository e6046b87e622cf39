"""A look at an encoded data set that is cheap enough to come before the C-STORE response.

The top level is walked from element to element without decoding values, up to the pixel data. That is enough to tell a
sender at once what a wrong status could never take back: the data set ends early, is no DICOM, lacks its pixels or an
identifier, or is not what the request said. Everything that needs understanding is left to the index, and so is
whatever this walk does not judge (deflated data sets, unknown value representations, very deep nesting).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from gateway.sop_classes import ACCEPTED, WITH_PIXEL_DATA
from gateway.tables import QuarantineKind

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_END_OF_FRAGMENTS = b"\xfe\xff\xdd\xe0\0\0\0\0"
_LONG = frozenset((b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"SV", b"UV"))
_SHORT = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN")
) | frozenset((b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"))
_HEADER_BYTES = dict.fromkeys(_SHORT, 8) | dict.fromkeys(_LONG, 12)
_DEEPEST = 16
_LONGEST_IS = 12
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS = 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100
WANTED = frozenset((_CLASS, _INSTANCE, _STUDY, _SERIES, _SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS))
_UIDS = (
    (_STUDY, "StudyInstanceUID"),
    (_SERIES, "SeriesInstanceUID"),
    (_INSTANCE, "SOPInstanceUID"),
    (_CLASS, "SOPClassUID"),
)
_UID_TOLERATED = re.compile(rb"[0-9]+(?:\.[0-9]+)*")  # leading zeros are forbidden (PS3.5 9.1) and seen in the wild

_IMPLICIT, _BIG_ENDIAN = str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian)
_DEFLATED = str(DeflatedExplicitVRLittleEndian)  # plain text compares faster than a UID

Flaw = tuple[QuarantineKind, str]
"""What is wrong with a data set, and the sentence for the operator."""

NO_DICOM: Flaw = (QuarantineKind.UNREADABLE, "The bytes are no DICOM data set in its syntax.")
CUT_SHORT: Flaw = (QuarantineKind.TRUNCATED, "The data set ends inside an element: part of it is missing.")
NO_PIXELS: Flaw = (QuarantineKind.NO_PIXEL_DATA, "The image has no Pixel Data.")
NO_MATRIX: Flaw = (QuarantineKind.NO_PIXEL_DATA, "Rows, Columns or Bits Allocated of the image are missing.")
FRAGMENTS_CUT_SHORT: Flaw = (QuarantineKind.TRUNCATED, "The compressed pixel data end early.")


@dataclass(slots=True)
class Outline:
    """What the walk has seen: wanted values, and where value and declared length of the pixel data stand.

    `flaw` ends the walk; `judged` is false where it could not go on, `short` where the given bytes ended first.
    `spans` is where each top-level element of `look_for` stands (its value, without its header), `nested` where the
    sequences of undefined length begin and end, with their delimiters. `elements` is (start, value, end, tag) of all
    before the pixel data; of a sequence of undefined length, the value begins at the end.
    """

    little_endian: bool
    values: dict[int, bytes] = field(default_factory=dict)
    pixels_at: int = 0
    pixels_length: int = 0
    judged: bool = True
    short: bool = False
    flaw: Flaw | None = None
    look_for: frozenset[int] = frozenset()
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    nested: list[tuple[int, int]] = field(default_factory=list)
    elements: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def compressed(self) -> bool:
        """Whether the pixel data are encapsulated: of undefined length."""
        return bool(self.pixels_at) and self.pixels_length == _UNDEFINED


class _Short(Exception):
    pass


class _NotJudged(Exception):
    pass


class Look(Protocol):
    """`outline`, or what does the same."""

    def __call__(self, head: bytes | memoryview, transfer_syntax_uid: str, *, whole: bool) -> Outline: ...


def examine(
    parts: Sequence[bytes | memoryview],
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    look: Look | None = None,
) -> Flaw | None:
    """What is wrong with a whole data set, given in parts; class and instance as the request names them."""
    return examined(parts, transfer_syntax_uid, sop_class_uid, sop_instance_uid, look)[0]


def examined(
    parts: Sequence[bytes | memoryview],
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    look: Look | None = None,
) -> tuple[Flaw | None, Outline]:
    """`examine`, together with what was seen; `look` is used in place of `outline`.

    The first part usually holds all elements before the pixel data; only else the parts are put together.
    """
    look = look or outline
    seen = look(parts[0], transfer_syntax_uid, whole=len(parts) == 1)
    if seen.short and len(parts) > 1:
        seen = look(b"".join(parts), transfer_syntax_uid, whole=True)
    end = b"".join(part[-8:] for part in parts[-8:])  # no part is empty
    whole = not seen.compressed or end.endswith(_END_OF_FRAGMENTS)
    if not whole:  # something may follow the pixel data
        together = parts[0] if len(parts) == 1 else b"".join(parts)
        whole = fragments_are_whole(memoryview(together)[seen.pixels_at :])
    return flaw(seen, sum(map(len, parts)), sop_class_uid, sop_instance_uid, fragments_whole=whole), seen


def outline(
    head: bytes | memoryview, transfer_syntax_uid: str, *, whole: bool, look_for: frozenset[int] = frozenset()
) -> Outline:
    """Walk the top level of a data set as far as `head` reaches, which is its beginning or, if `whole`, all of it."""
    implicit = transfer_syntax_uid == _IMPLICIT
    little = transfer_syntax_uid != _BIG_ENDIAN
    seen = Outline(little_endian=little, look_for=look_for)
    if transfer_syntax_uid == _DEFLATED:
        seen.judged = False
        return seen
    if not whole and len(head) < 8:  # a first fragment may be as short as the sender likes
        seen.short = True
        return seen
    if not _begins_like_a_data_set(head, implicit, little):
        seen.flaw = NO_DICOM
        return seen
    try:
        _Walk(head, implicit, little).top_level(seen)
    except _Short:
        seen.short = True
    except _NotJudged:
        seen.judged = False
    seen.short = seen.short or (not whole and seen.judged and not seen.pixels_at)
    return seen


def flaw(
    seen: Outline, length: int, sop_class_uid: str, sop_instance_uid: str, *, fragments_whole: bool = True
) -> Flaw | None:
    """What is wrong with a data set of `length` bytes, as far as `seen` tells; class and instance as requested."""
    if seen.flaw is not None or not seen.judged:
        return seen.flaw
    if seen.short:
        return CUT_SHORT
    if sop_class_uid in WITH_PIXEL_DATA:
        found = _pixel_flaw(seen, length, fragments_whole)
        if found is not None:
            return found
    return _identifier_flaw(seen, sop_class_uid, sop_instance_uid)


def _begins_like_a_data_set(head: bytes | memoryview, implicit: bool, little: bool) -> bool:
    """Group 0008 comes first (group 0002 and below are not allowed, PS3.5 7.1), with a VR where the syntax has one."""
    if len(head) < 8:
        return False
    group = int.from_bytes(head[:2], "little" if little else "big")
    vr = bytes(head[4:6])
    return 0x0008 <= group <= 0x7FE0 and (implicit or (vr.isalpha() and vr.isupper()))


class _Walk:
    """Element headers of a data set, one after the other."""

    def __init__(self, data: bytes | memoryview, implicit: bool, little: bool) -> None:
        order = "<" if little else ">"
        self._data, self._end = data, len(data)
        self._explicit = struct.Struct(f"{order}HH2sH").unpack_from
        self._long = struct.Struct(f"{order}I").unpack_from
        self._plain = struct.Struct(f"{order}HHI").unpack_from
        self._implicit = implicit

    def top_level(self, seen: Outline) -> None:
        """Note the wanted values and where the pixel data stand; end there or at the end."""
        at, end, data, values, look_for = 0, self._end, self._data, seen.values, seen.look_for
        explicit, implicit, header, elements = self._explicit, self._implicit, self._header, seen.elements
        while at < end:
            # The usual element is read here: a call for each takes as long as all the rest.
            size = 12
            if not implicit and at + 8 <= end:
                group, element, vr, length = explicit(data, at)
                size = _HEADER_BYTES.get(vr, 12)
            if size == 8:
                tag, value_at = group << 16 | element, at + 8
            else:
                tag, value_at, length = header(at)
            if tag in _PIXELS:
                seen.pixels_at, seen.pixels_length = value_at, length
                return
            if length == _UNDEFINED:
                start, at = at, self._after_sequence(value_at, 0)
                seen.nested.append((start, at))
                elements.append((start, at, at, tag))
                continue
            start, at = at, value_at + length
            if at > end:
                raise _Short
            elements.append((start, value_at, at, tag))
            if tag in WANTED:
                values[tag] = bytes(data[value_at:at])
            if tag in look_for:
                seen.spans[tag] = (value_at, at)
        if at != end:
            raise _Short

    def _header(self, at: int) -> tuple[int, int, int]:
        """Tag, where its value begins, and the declared length."""
        if at + 8 > self._end:
            raise _Short
        if self._implicit:
            group, element, length = self._plain(self._data, at)
            return group << 16 | element, at + 8, length
        group, element, vr, length = self._explicit(self._data, at)
        if vr in _SHORT:
            return group << 16 | element, at + 8, length
        if vr not in _LONG:
            raise _NotJudged
        if at + 12 > self._end:
            raise _Short
        return group << 16 | element, at + 12, self._long(self._data, at + 8)[0]

    def _after_sequence(self, at: int, depth: int) -> int:
        """Skip a sequence of undefined length; `at` is its first item."""
        if depth > _DEEPEST:
            raise _NotJudged
        while True:
            if at + 8 > self._end:
                raise _Short
            group, element, length = self._plain(self._data, at)
            tag = group << 16 | element
            at += 8
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise _NotJudged
            at = self._after_item(at, depth) if length == _UNDEFINED else at + length

    def _after_item(self, at: int, depth: int) -> int:
        while True:
            if at + 8 > self._end:
                raise _Short
            group, element, _ = self._plain(self._data, at)
            if group << 16 | element == _ITEM_END:
                return at + 8
            _, value_at, length = self._header(at)
            at = self._after_sequence(value_at, depth + 1) if length == _UNDEFINED else value_at + length


def fragments_are_whole(value: bytes | memoryview) -> bool:
    """Walk the items of encapsulated pixel data up to the sequence delimiter (PS3.5 A.4)."""
    at, end = 0, len(value)
    while at + 8 <= end:
        group, element, length = struct.unpack_from("<HHI", value, at)
        tag = group << 16 | element
        if tag != _ITEM:
            return bool(tag == _SEQUENCE_END)
        at += 8 + length
    return False


def _pixel_flaw(seen: Outline, length: int, fragments_whole: bool) -> Flaw | None:
    if not seen.pixels_at:
        return NO_PIXELS
    if seen.pixels_length == _UNDEFINED:
        return None if fragments_whole else FRAGMENTS_CUT_SHORT
    there = length - seen.pixels_at
    if there < seen.pixels_length:
        sentence = f"The pixel data end after {there} of {seen.pixels_length} bytes: part is missing."
        return QuarantineKind.TRUNCATED, sentence
    expected = _native_length(seen)
    if expected is None:
        return NO_MATRIX
    if seen.pixels_length < expected:
        sentence = f"The pixel data hold {seen.pixels_length} bytes where the image needs {expected}."
        return QuarantineKind.TRUNCATED, sentence
    return None


def _native_length(seen: Outline) -> int | None:
    rows, columns, bits = (_number(seen, tag) for tag in (_ROWS, _COLUMNS, _BITS))
    if not rows or not columns or not bits:
        return None
    frames = seen.values.get(_FRAMES, b"").strip(b" \0")
    count = int(frames) if frames.isdigit() and len(frames) <= _LONGEST_IS else 1
    pixels = rows * columns * (_number(seen, _SAMPLES) or 1) * count
    return (pixels * bits + 7) // 8


def _number(seen: Outline, tag: int) -> int:
    return int.from_bytes(seen.values.get(tag, b"")[:2], "little" if seen.little_endian else "big")


@lru_cache(maxsize=256)
def _is_uid(value: bytes) -> bool:
    return len(value) <= 64 and _UID_TOLERATED.fullmatch(value) is not None


def _identifier_flaw(seen: Outline, sop_class_uid: str, sop_instance_uid: str) -> Flaw | None:
    stated = {tag: seen.values.get(tag, b"").strip(b" \0") for tag, _ in _UIDS}
    for tag, keyword in _UIDS:
        if not _is_uid(stated[tag]):
            state = "has an invalid" if stated[tag] else "has no"
            return QuarantineKind.MISSING_UID, f"The instance {state} {keyword}."
    if sop_class_uid not in ACCEPTED:
        return QuarantineKind.CLASS_MISMATCH, "Objects of this SOP class are not accepted."
    if stated[_CLASS] != sop_class_uid.encode():
        return QuarantineKind.CLASS_MISMATCH, "The data set is of another SOP class than the request says."
    if stated[_INSTANCE] != sop_instance_uid.encode():
        return QuarantineKind.CLASS_MISMATCH, "The data set has another SOP Instance UID than the request says."
    return None

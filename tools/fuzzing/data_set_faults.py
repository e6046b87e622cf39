"""Faults of data sets: in the tree (lengths, VRs, order, nesting, values), in the syntax named, and in the bytes."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from tools.fuzzing.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, SYNTAXES, UNDEFINED, Element, encode
from tools.fuzzing.mr_data_sets import Case, random_element

_KNOWN_VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_VRS = [*_KNOWN_VRS, b"XX", b"\0\0", b"ox", b"  ", b"\xff\xff"]
_LENGTHS = (0, 1, 2, 3, 7, 8, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 1 << 31, 0xFFFFFFF0, 0xFFFFFFFE, UNDEFINED)
_VALUES = (
    b"",
    b"\0",
    b" ",
    b"\0" * 64,
    b"\\",
    b"\\" * 50,
    b"nan",
    b"inf\\-inf\\nan",
    b"1e999\\1e999\\1e999",
    b"9" * 40,
    b"9" * 5000,
    b"-",
    b"1.2.x",
    b"1..2",
    b"1.2." + b"3" * 90,
    b"00.1.02",
    b"A\0B",
    b"\x1b$B\x1b",
    b"\xff\xfe\xfd",
    b"\xed\xa0\x80",
    b"ISO_IR 999",
    b"ISO 2022 IR 87\\ISO_IR 192\\\\GB18030",
    b"20261399",
    b"99999999",
    b"00000000",
    b"^=^=^=^=",
    b"../../etc/passwd",
    b"'; DROP TABLE study;--",
    "１２".encode(),
    b"A" * 70000,
)
_KEY_TAGS = (
    0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080060, 0x00100010, 0x00100020, 0x00100021, 0x00180080,
    0x00180081, 0x0020000D, 0x0020000E, 0x00200013, 0x00200032, 0x00200037, 0x00280002, 0x00280008, 0x00280010,
    0x00280011, 0x00280030, 0x00280100, 0x0008002A, 0x00089123, 0x52009229, 0x52009230, 0x00100024, 0x00280120,
)  # fmt: skip


def _any(rng: random.Random, case: Case) -> Element:
    """An element somewhere in the tree; those that are looked at come up as often as all the others."""
    wanted = [e for e in case.elements if e.tag in _KEY_TAGS]
    if wanted and rng.random() < 0.5:
        return rng.choice(wanted)
    element = rng.choice(case.elements)
    while isinstance(element.value, list) and element.value and rng.random() < 0.7:
        item = rng.choice(element.value)
        if not item:
            break
        element = rng.choice(item)
    return element


def wrong_length(rng: random.Random, case: Case) -> None:
    element = _any(rng, case)
    true = len(element.value) if isinstance(element.value, bytes) else 8
    element.length = rng.choice((*_LENGTHS, true + 1, max(true - 1, 0), true + 2, true * 2))


def wrong_vr(rng: random.Random, case: Case) -> None:
    element = _any(rng, case)
    if isinstance(element.value, tuple):
        element.value = bytes(2 * len(element.value))
    element.vr = rng.choice(_VRS)


def odd_value(rng: random.Random, case: Case) -> None:
    element = _any(rng, case)
    element.value = rng.choice(_VALUES) if rng.random() < 0.8 else rng.randbytes(rng.randrange(40))
    element.fragments, element.undefined = None, False


def odd_value_of_a_key(rng: random.Random, case: Case) -> None:
    tag = rng.choice(_KEY_TAGS)
    case.elements = [e for e in case.elements if e.tag != tag]
    case.elements.append(Element(tag, rng.choice(_KNOWN_VRS), rng.choice(_VALUES)))
    case.elements.sort(key=lambda e: e.tag)


def removed(rng: random.Random, case: Case) -> None:
    case.elements.remove(rng.choice(case.elements))
    case.elements = case.elements or [Element(0x00080005, b"CS", b"")]


def duplicated(rng: random.Random, case: Case) -> None:
    at = rng.randrange(len(case.elements))
    case.elements[at:at] = [case.elements[rng.randrange(len(case.elements))]] * rng.choice((1, 1, 2, 2, 2, 60))


def out_of_order(rng: random.Random, case: Case) -> None:
    if rng.random() < 0.5:
        rng.shuffle(case.elements)
    else:
        case.elements.insert(rng.randrange(len(case.elements)), case.elements.pop())


def odd_tag(rng: random.Random, case: Case) -> None:
    odd = (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0, 0x00020010, 2, 0xFFFFFFFF, 0x7FE00008, 0x7FE00009, 0xFFFCFFFC)
    _any(rng, case).tag = rng.choice((*odd, rng.randrange(2**32)))


def without_delimiters(rng: random.Random, case: Case) -> None:
    sequence = random_element(rng, rng.choice((0x00081140, 0x52009230, 0x00400275)), 0)
    sequence.value = sequence.value if isinstance(sequence.value, list) else [[]]
    sequence.vr, sequence.undefined, sequence.ends = b"SQ", True, rng.random() < 0.2
    case.elements.insert(rng.randrange(len(case.elements)), sequence)


def stray_delimiter(rng: random.Random, case: Case) -> None:
    tag = rng.choice((0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD))
    stray = Element(tag, b"\0\0", b"", length=rng.choice((0, 0, 8, UNDEFINED)))
    case.elements.insert(rng.randrange(len(case.elements) + 1), stray)


def deeply_nested(rng: random.Random, case: Case) -> None:
    undefined, order = rng.random() < 0.5, ">" if case.syntax == BIG_ENDIAN else "<"
    tag = rng.choice((0x00081140, 0x52009229, 0x52009230, 0x00100024, 0x00091010))
    vr = rng.choice((b"SQ", b"UN"))
    plain = EXPLICIT if case.syntax == DEFLATED else case.syntax
    value = b""
    for _ in range(rng.choice((2, 15, 16, 17, 18, 40, 60, 400))):  # by hand: deeper than Python can recurse
        length = UNDEFINED if undefined else len(value)
        end = struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0) if undefined else b""
        item = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, length) + value + end
        value = encode([Element(tag, vr, item, undefined=undefined)], plain)
    case.elements = [e for e in case.elements if e.tag != tag]
    case.elements.append(Element(tag, vr, value, undefined=undefined))
    case.elements.sort(key=lambda e: e.tag)


def many_items(rng: random.Random, case: Case) -> None:
    tag = rng.choice((0x00081140, 0x52009230, 0x52009229))
    items: list[list[Element]] = [[] for _ in range(rng.choice((3, 10, 30, 30, 300)))]
    case.elements = [e for e in case.elements if e.tag != tag]
    case.elements.append(Element(tag, b"SQ", items, undefined=rng.random() < 0.5))
    case.elements.sort(key=lambda e: e.tag)


def other_syntax(rng: random.Random, case: Case) -> None:
    case.syntax = rng.choice(SYNTAXES)


def other_request(rng: random.Random, case: Case) -> None:
    if rng.random() < 0.5:
        case.sop_class = rng.choice(("", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4", "x" * 64))
    else:
        case.sop_instance = rng.choice(("", "1.2.3", "x", "9" * 64))


TREE_FAULTS: tuple[Callable[[random.Random, Case], None], ...] = (
    wrong_length, wrong_length, wrong_vr, odd_value, odd_value, odd_value_of_a_key, odd_value_of_a_key, removed,
    duplicated, out_of_order, odd_tag, without_delimiters, stray_delimiter, deeply_nested, many_items, other_syntax,
    other_request,
)  # fmt: skip


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    """Truncation, flips, insertions, cuts and repetitions; every kind keeps most of the structure."""
    if not content:
        return rng.randbytes(8)
    at, kind = rng.randrange(len(content)), rng.randrange(7)
    if kind <= 1:
        return content[:at]
    if kind == 2:
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    if kind == 3:
        return content[:at] + rng.randbytes(rng.randint(1, 9)) + content[at:]
    if kind == 4:
        return content[:at] + content[min(at + rng.randint(1, 40), len(content)) :]
    if kind == 5:
        return content[at:]
    return content + content[at:]


def bomb(rng: random.Random, head: bytes) -> bytes:
    """A deflated data set of a few hundred kilobytes that inflates to much more than an image has."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    begun = deflater.compress(head) + deflater.flush(zlib.Z_FULL_FLUSH)
    megabyte = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return begun + megabyte * rng.choice((64, 500, 600, 4000)) + deflater.flush()

"""Valid MR data sets, each another one: classic or Enhanced, in every syntax and character set, nested and private."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tools.fuzzing.elements import COMPRESSED, SYNTAXES, Element, encode

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
MARK = "Zzyzx"
"""Part of each patient's name, so that patient data in a log is seen."""

NAMES: tuple[tuple[bytes, bytes], ...] = (
    (b"", b"Zzyzx^Jane"),
    (b"ISO_IR 6", b"Zzyzx^Jane"),
    (b"ISO_IR 13", b"Zzyzx^\xd4\xcf\xc0\xde"),
    (b"ISO_IR 100", b"Zzyzx^J\xe4ne"),
    (b"ISO_IR 101", b"Zzyzx^W\xb3a\xb6"),
    (b"ISO_IR 109", b"Zzyzx^\xa9en"),
    (b"ISO_IR 110", b"Zzyzx^\xa3"),
    (b"ISO_IR 126", b"Zzyzx^\xc4\xe9\xef\xed"),
    (b"ISO_IR 127", b"Zzyzx^\xe2\xc8\xc7"),
    (b"ISO_IR 138", b"Zzyzx^\xf9\xe5\xf8"),
    (b"ISO_IR 144", b"Zzyzx^\xbb\xee\xda"),
    (b"ISO_IR 148", b"Zzyzx^\xfd\xfe"),
    (b"ISO_IR 166", b"Zzyzx^\xa1\xa2"),
    (b"ISO_IR 192", "Zzyzx^Jäne=張".encode()),
    (b"GB18030", "Zzyzx^王".encode("gb18030")),
    (b"GBK", "Zzyzx^王".encode("gbk")),
    (b"\\ISO 2022 IR 87", b"Zzyzx^T=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    (b"ISO 2022 IR 13\\ISO 2022 IR 87", b"Zzyzx^\xd4=\x1b$B;3ED\x1b(J"),
    (b"\\ISO 2022 IR 149", b"Zzyzx^G=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce"),
    (b"\\ISO 2022 IR 159", b"Zzyzx^T=\x1b$(D\x30\x21\x1b(B"),
    (b"\\ISO 2022 IR 58", b"Zzyzx^Z=\x1b$)A\xd0\xa1^\x1b$)A\xb6\xab"),
)
_CONTRASTS = (("t1 mprage post gad", 2.3, 500), ("t1 se tra", 10, 500), ("t2 tse", 100, 5000), ("flair", 120, 9000))
_TEXT_VRS = (b"LO", b"SH", b"PN", b"UC", b"LT", b"ST", b"UT", b"CS", b"DA", b"TM", b"DT", b"AS", b"AE", b"UI", b"UR")
_NUMBER_VRS = (b"US", b"SS", b"UL", b"SL", b"FL", b"FD", b"AT")
_BYTES_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN", b"SV", b"UV")


@dataclass(slots=True)
class Case:
    """A data set with what the request says about it."""

    elements: list[Element]
    syntax: str
    sop_class: str
    sop_instance: str

    def encoded(self) -> bytes:
        return encode(self.elements, self.syntax)


def valid_case(rng: random.Random, number: int) -> Case:
    """A data set that has to be accepted."""
    enhanced = rng.random() < 0.25
    syntax = rng.choice(SYNTAXES)
    sop_class, instance = (ENHANCED_MR if enhanced else MR), f"1.2.826.0.1.3680043.10.9.{number}"
    elements = {e.tag: e for e in (*_module(rng, sop_class, instance), *_pixels(rng, syntax, enhanced))}
    if enhanced:
        elements.update({e.tag: e for e in _functional_groups(rng)})
    for extra in _extras(rng):
        elements.setdefault(extra.tag, extra)
    return Case([elements[tag] for tag in sorted(elements)], syntax, sop_class, instance)


def copied(case: Case) -> Case:
    """The same case with a tree of its own."""
    return Case([_copied(e) for e in case.elements], case.syntax, case.sop_class, case.sop_instance)


def _copied(element: Element) -> Element:
    value = element.value
    if isinstance(value, list):
        value = [[_copied(e) for e in item] for item in value]
    return Element(element.tag, element.vr, value, element.undefined, element.fragments)


def text(tag: int, vr: bytes, value: bytes) -> Element:
    """An element of text, padded to even length as PS3.5 6.2 says."""
    return Element(tag, vr, value + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2))


def _module(rng: random.Random, sop_class: str, instance: str) -> list[Element]:
    charset, name = rng.choice(NAMES)
    words, echo, repetition = rng.choice(_CONTRASTS)
    patient = rng.randrange(50)
    study = f"1.2.826.0.1.3680043.10.8.{patient}"
    return [
        *([text(0x00080005, b"CS", charset)] if charset else []),
        text(0x00080008, b"CS", b"ORIGINAL\\PRIMARY\\M\\ND"),
        text(0x00080016, b"UI", sop_class.encode()),
        text(0x00080018, b"UI", instance.encode()),
        text(0x00080020, b"DA", b"20260110"),
        text(0x00080060, b"CS", b"MR"),
        text(0x0008103E, b"LO", words.encode()),
        text(0x00100010, b"PN", name),
        text(0x00100020, b"LO", b"PAT-%d" % patient),
        text(0x00100021, b"LO", b"HOSPITAL"),
        text(0x00180081, b"DS", b"%g" % echo),
        text(0x00180080, b"DS", b"%d" % repetition),
        text(0x00180050, b"DS", b"5"),
        text(0x0020000D, b"UI", study.encode()),
        text(0x0020000E, b"UI", f"{study}.{rng.randrange(5)}".encode()),
        text(0x00200013, b"IS", b"%d" % rng.randrange(200)),
        text(0x00200032, b"DS", b"-8.0\\-8.0\\%d" % rng.randrange(100)),
        text(0x00200037, b"DS", b"1\\0\\0\\0\\1\\0"),
        text(0x00280030, b"DS", b"1.0\\1.0"),
    ]


def _pixels(rng: random.Random, syntax: str, enhanced: bool) -> list[Element]:
    rows, columns, frames = rng.choice((1, 2, 8)), rng.choice((1, 4, 8)), rng.randint(1, 4) if enhanced else 1
    found = [
        Element(0x00280002, b"US", (1,)),
        Element(0x00280010, b"US", (rows,)),
        Element(0x00280011, b"US", (columns,)),
        Element(0x00280100, b"US", (16,)),
        Element(0x00280101, b"US", (12,)),
        Element(0x00280103, b"US", (0,)),
    ]
    if enhanced:
        found.append(text(0x00280008, b"IS", b"%d" % frames))
    if syntax in COMPRESSED:
        pieces = tuple(bytes(2 * rng.randint(1, 20)) for _ in range(frames))
        return [*found, Element(0x7FE00010, b"OB", b"", fragments=pieces)]
    return [*found, Element(0x7FE00010, b"OW", rng.randbytes(rows * columns * 2) * frames)]


def _functional_groups(rng: random.Random) -> list[Element]:
    def frame(number: int) -> list[Element]:
        place = [text(0x00200032, b"DS", b"0\\0\\%d" % number)]
        return [Element(0x00209113, b"SQ", [place], undefined=rng.random() < 0.5)]

    axes = [[text(0x00200037, b"DS", b"1\\0\\0\\0\\1\\0")]]
    shared = [[Element(0x00209116, b"SQ", axes, undefined=rng.random() < 0.5)]]
    frames = [frame(n) for n in range(rng.randint(1, 3))]
    return [
        Element(0x52009229, b"SQ", list(shared), undefined=rng.random() < 0.5),
        Element(0x52009230, b"SQ", frames, undefined=rng.random() < 0.5),
    ]


def _extras(rng: random.Random) -> list[Element]:
    """Private blocks, sequences in sequences, and every VR, below the pixel data."""
    found = [random_element(rng, rng.randrange(0x00180000, 0x00600000) & ~1 | 0x00010000, 0) for _ in range(3)]
    if rng.random() < 0.5:
        group = rng.choice((0x0009, 0x0019, 0x0029, 0x2001)) << 16
        found.append(text(group | 0x10, b"LO", rng.choice((b"GEMS_ACQU_01", b"SIEMENS CSA HEADER", b"OWN"))))
        for number in rng.sample(range(0x1000, 0x10FF), 3):
            found.append(random_element(rng, group | number, 0))
        if rng.random() < 0.3:
            found.append(text(0x0019109C, b"LO", b"T1FLAIR"))
    # odd groups that are not private blocks (below 0009) and the groups of the standard stay out of it
    return [e for e in found if e.tag >> 16 > 0x0008 and not 0x00280000 <= e.tag < 0x00290000]


def random_element(rng: random.Random, tag: int, depth: int) -> Element:
    """An element of any VR with a value that fits it."""
    kind = rng.random()
    if kind < 0.2 and depth < 5:
        items = [
            [random_element(rng, 0x00411000 + 2 * n, depth + 1) for n in range(rng.randint(0, 3))]
            for _ in range(rng.randint(0, 3))
        ]
        return Element(tag, b"SQ", items, undefined=rng.random() < 0.5)
    if kind < 0.5:
        vr = rng.choice(_NUMBER_VRS)
        return Element(tag, vr, tuple(rng.randrange(100) for _ in range(2 * rng.randint(0, 3))))
    if kind < 0.6:
        return Element(tag, rng.choice(_BYTES_VRS), rng.randbytes(8 * rng.randint(0, 4)))
    return text(tag, rng.choice(_TEXT_VRS), rng.choice((b"", b"1", b"20260101", b"A\\B\\C", b"12.5", b"1.2.3")))

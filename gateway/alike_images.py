"""Facts of an image by those of another one of its series: the header is taken apart once, not for every slice.

Images of a series differ in their own UID, number and position. An image whose other elements of interest are byte for
byte those of an image that pydicom has read says the same; so only the few that differ are read, and only where they
are written as the standard asks. Everything else is read by `gateway.instance_facts`, as if this module were not there.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydicom.uid import ExplicitVRBigEndian, MRImageStorage

from gateway.alike_structure import AlikeStructures
from gateway.encoded_structure import Outline
from gateway.instance_facts import InstanceFacts
from gateway.part10 import EncodedInstance

_POSITION, _NUMBER, _UID = 0x00200032, 0x00200013, 0x00080018
_OWN = frozenset((_POSITION, _NUMBER, _UID))
_SHARED = frozenset(
    (
        0x00080005, 0x00080016, 0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A, 0x00080060, 0x00100010,
        0x00100020, 0x00100021, 0x00100024, 0x00100030, 0x00100040, 0x0020000D, 0x0020000E, 0x00200037, 0x00280002,
        0x00280008, 0x00280010, 0x00280011, 0x00280100,
    )
)  # fmt: skip
"""Every element that `InstanceFacts` is made from, but for the three that differ and for the header of the series."""

_DAY_AND_TIME = 0x0008002A
_FUNCTIONAL_GROUPS = frozenset((0x52009229, 0x52009230))
_ELEMENT_HEADER = 8
_MOST_REMEMBERED = 2000
_DECIMAL = re.compile(rb" *[-+]?[0-9]{1,12}(\.[0-9]{0,12})?([eE][-+]?[0-9]{1,2})? *\0?")
_INTEGER = re.compile(rb" *[-+]?[0-9]{1,11} *\0?")
_VR_OF_OWN = {_POSITION: b"DS", _NUMBER: b"IS", _UID: b"UI"}
_INTERESTING = _OWN | _SHARED | _FUNCTIONAL_GROUPS

Read = Callable[[EncodedInstance], InstanceFacts]


class _SeriesHeaderOf(Mapping[str, Any]):
    """The header of the series as one image states it, read when somebody asks: it is that of its first image only."""

    def __init__(self, instance: EncodedInstance, read: Read) -> None:
        self._instance, self._read = instance, read
        self._header: Mapping[str, Any] | None = None

    def _stated(self) -> Mapping[str, Any]:
        if self._header is None:
            self._header = self._read(self._instance).header
        return self._header

    def __getitem__(self, name: str) -> Any:
        return self._stated()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stated())

    def __len__(self) -> int:
        return len(self._stated())


class AlikeImages:
    """Remembers what the elements that images share say. One thread uses it."""

    def __init__(self) -> None:
        self._remembered: dict[tuple[object, ...], InstanceFacts] = {}
        self.look = AlikeStructures(_INTERESTING).outline

    def facts(self, instance: EncodedInstance, seen: Outline, read: Read) -> InstanceFacts:
        """The facts of an image that `examined` found no flaw in, with `look`; `read` reads them.

        Raises:
            NotIndexable: as `read`.
        """
        key, own = _shared(instance, seen), _own(instance, seen)
        if key is None or own is None:
            return read(instance)
        known = self._remembered.get(key)
        if known is not None:
            uid, number, position = own
            geometry = {**known.geometry, "number": number, "positions": [position] if len(position) == 3 else []}
            header = _SeriesHeaderOf(instance, read)
            return dataclasses.replace(known, sop_instance_uid=uid, header=header, geometry=geometry)
        facts = read(instance)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = dataclasses.replace(facts, header={})
        return facts


def _shared(instance: EncodedInstance, seen: Outline) -> tuple[object, ...] | None:
    """What must be equal; None for images that are no single frame of classic MR or that the walk did not judge.

    Sequences of undefined length are in it as a whole, because pydicom reads into them and may stumble there.
    """
    judged = seen.judged and not seen.short and seen.flaw is None and seen.pixels_at
    classic = instance.sop_class_uid == MRImageStorage and instance.transfer_syntax_uid != ExplicitVRBigEndian
    if not judged or not classic or not seen.spans.keys().isdisjoint(_FUNCTIONAL_GROUPS):
        return None
    data, key = instance.dataset, [instance.transfer_syntax_uid]
    values: list[object] = list(key)
    for tag in sorted(seen.spans.keys() & _SHARED):
        start, stop = seen.spans[tag]
        whole = bytes(data[start - _ELEMENT_HEADER : stop])
        if tag == _DAY_AND_TIME and whole[8:16].isdigit() and b"\\" not in whole[8:]:
            whole = whole[4:6] + whole[8:16]  # the day counts, the time is each slice's own
        values.append((tag, whole))
    values.extend(bytes(data[start:stop]) for start, stop in seen.nested)
    return tuple(values)


def _own(instance: EncodedInstance, seen: Outline) -> tuple[str, int | None, list[float]] | None:
    """UID, Instance Number and position of an image; None where they are not written as usual."""
    stated: dict[int, bytes] = {}
    for tag in seen.spans.keys() & _OWN:
        start, stop = seen.spans[tag]
        vr = bytes(instance.dataset[start - 4 : start - 2])
        if vr.isalpha() and vr.isupper() and vr != _VR_OF_OWN[tag]:
            return None
        stated[tag] = bytes(instance.dataset[start:stop])
    number, position = stated.get(_NUMBER), stated.get(_POSITION)
    if number is not None and not _INTEGER.fullmatch(number):
        return None
    parts = position.split(b"\\") if position is not None else []
    if len(parts) not in (0, 3) or not all(map(_DECIMAL.fullmatch, parts)):
        return None
    numbers = [round(float(part.strip(b" \0")), 6) for part in parts]
    if not all(map(math.isfinite, numbers)):
        return None
    uid = stated.get(_UID, b"").strip(b" \0").decode("ascii", "replace")
    return uid, int(number.strip(b" \0")) if number is not None else None, numbers

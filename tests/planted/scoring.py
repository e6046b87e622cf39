"""Finds plants in bytes. Knows nothing of DICOM, so it cannot share a mistake with what it judges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from planted.plants import Plant

_PREFIX = 6


def leaks(outputs: Mapping[str, bytes], plants: Iterable[Plant]) -> list[tuple[str, Plant]]:
    """(file, plant) for every plant that stands in an output, regardless of case.

    Digits must not be part of a longer number: eight of them stand by chance in UIDs of 39 digits (but the group of
    the next tag may look like a digit). Only the plants
    whose first bytes occur anywhere are searched for in full, else thousands of them take minutes.
    """
    low = {name: data.lower() for name, data in outputs.items()}
    windows = {length: _windows(low.values(), length) for length in range(4, _PREFIX + 1)}
    candidates = [plant for plant in plants if _may_occur(plant.form.lower(), windows)]
    return [(name, plant) for name, data in low.items() for plant in candidates if _stands_in(plant.form.lower(), data)]


def _windows(datas: Iterable[bytes], length: int) -> npt.NDArray[np.uint64]:
    """All byte strings of this length that occur, as sorted numbers."""
    found = []
    for data in datas:
        values = np.frombuffer(data, np.uint8).astype(np.uint64)
        total = np.zeros(max(len(values) - length + 1, 0), np.uint64)
        for offset in range(length):
            total = (total << np.uint64(8)) | values[offset : offset + len(total)]
        found.append(np.unique(total))
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)


def _may_occur(form: bytes, windows: Mapping[int, npt.NDArray[np.uint64]]) -> bool:
    length = min(len(form), _PREFIX)
    number = np.uint64(int.from_bytes(form[:length], "big"))
    known = windows[length]
    index = int(np.searchsorted(known, number))
    return index < len(known) and bool(known[index] == number)


def _stands_in(form: bytes, data: bytes) -> bool:
    if form not in data:
        return False
    return not form.isdigit() or re.search(rb"(?<!\d)" + form + rb"(?!\d[^\0])", data) is not None

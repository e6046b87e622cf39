"""What to search for in the bytes of a file, given the identifiers of a person: every form in which they may stand."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from deidentify.charsets import encodings_of
from deidentify.subject import UMLAUTS, fold, significant_words

PRINTABLE = re.compile(rb"[\x20-\x7e]{4,}")
SHORTEST = 5
"""Bytes: a four-letter word is found by chance in names of the standard itself."""


@dataclass(frozen=True)
class Needles:
    """`anywhere`: lower-case byte strings that must not occur as a word in any byte of the file. `in_text`: short words
    (folded) that must not occur as a word of a text element; in other bytes they would be found by chance."""

    anywhere: tuple[bytes, ...]
    in_text: frozenset[str]

    @cached_property
    def printable(self) -> tuple[bytes, ...]:
        """Those of `anywhere` that are printable ASCII throughout."""
        return tuple(needle for needle in self.anywhere if PRINTABLE.fullmatch(needle))

    @cached_property
    def others(self) -> tuple[bytes, ...]:
        """Those of `anywhere` with bytes beyond."""
        return tuple(needle for needle in self.anywhere if not PRINTABLE.fullmatch(needle))


@lru_cache(maxsize=256)
def needles_for(identifiers: tuple[str, ...], charsets: tuple[str, ...]) -> Needles:
    """All needles for these identifiers in a file that declares these character sets."""
    anywhere: set[bytes] = set()
    in_text: set[str] = set()
    for identifier in identifiers:
        for form in _forms(identifier):
            encoded = {data.lower() for variant in _cases(form) for data in encodings_of(variant, charsets)}
            long_enough = {data for data in encoded if _is_distinctive(data)}
            anywhere |= long_enough
            folded = fold(form)
            if not long_enough and (len(folded) > 2 or not folded.isascii()):
                in_text.add(folded)
    return Needles(tuple(sorted(anywhere)), frozenset(in_text))


def _is_distinctive(data: bytes) -> bool:
    """Digits alone need seven places: shorter numbers stand in every header. Of letters beyond ASCII four bytes do."""
    return len(data) >= (7 if data.isdigit() else SHORTEST if data.isascii() else SHORTEST - 1)


def _forms(identifier: str) -> Iterator[str]:
    """The text, its words, its neighbours written together, and dates in the usual orders."""
    date = _date(identifier)
    if date is not None:
        yield from _date_forms(date)
        return
    words = significant_words(identifier)
    for pair in pairwise(words):
        yield "".join(pair)
        yield "".join(reversed(pair))
    if identifier.isprintable() and len(words) > 1 and "^" not in identifier:
        yield identifier
    if any(map(str.isdigit, identifier)) and len(words) > 1:
        yield "".join(words)
    for word in words:
        yield word
        if not word.isascii():
            yield from {fold(word), fold(word.translate(UMLAUTS))}


def _cases(form: str) -> Iterable[str]:
    return (form,) if form.isascii() else {form, form.lower(), form.upper(), form.title()}


def _date(text: str) -> dt.date | None:
    if not re.fullmatch(r"(?:18|19|20)\d{6}", text):
        return None
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _date_forms(date: dt.date) -> Iterator[str]:
    y, m, d = f"{date.year:04d}", f"{date.month:02d}", f"{date.day:02d}"
    yield y + m + d
    for mark in ".-/ ":
        yield mark.join((y, m, d))
        yield mark.join((d, m, y))
        yield mark.join((m, d, y))

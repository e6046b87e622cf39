"""Free text: what stays of a description when only known words may stay (Clean Descriptors, PS3.15 E.3.6).

Cleaning works on the ASCII words of the text, so it neither depends on nor fails over the character set: an escape
sequence and what it introduces is cut out, and nothing that is not a word of the vocabulary survives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache

from deidentify.subject import fold
from deidentify.tables import words_of

_MULTIBYTE = re.compile(r"\x1b\$.*?(?:\x1b\([BJ]|$)|\x1b[()\-./]?.", re.DOTALL)
# A sign belongs to the word beside it: without it, "C-" and "C+" would both read as contrast-enhanced, or as nothing.
_SIGNED = r"[+-][Cc](?![A-Za-z0-9])|(?<![A-Za-z0-9])(?:[Cc]|[Gg][Dd]|[Kk][Mm]|[Cc][Ee])[+-](?![A-Za-z0-9])"
_TOKEN = re.compile(_SIGNED + r"|[A-Za-z0-9]+(?:\.[0-9]+)?[A-Za-z]*\*?|\*")
_SEPARATORS = re.compile(r"[ _+\-/,.:;()&x=*]{1,3}")
_NUMBER_RUN = re.compile(r"(?<![A-Za-z0-9])\d+(?:[ ._/:,()+\-]{1,2}\d+)+")
_PATTERNS = re.compile(
    r"\d{1,2}"  # a count
    r"|\d{1,3}(?:\.\d{1,3})?(?:mm|cm|ms|s|sec|min|deg|t|nex|avg|sl|ch|dir|dirs|vol|x)"  # a size with its unit
    r"|\d\.\d{1,2}"
    r"|b\d{1,5}|te\d{1,3}|tr\d{1,5}|ti\d{1,4}|fa\d{1,3}|p\d|r\d|s\d|x\d|mb\d|sms\d|ipat\d|iso\d{1,2}|etl\d{1,3}|fov\d{1,3}"
    r"|\d{1,3}(?:\.\d)?x\d{1,3}(?:\.\d)?(?:x\d{1,3}(?:\.\d)?)?(?:mm)?"
    r"|(?:tfl|tse|se|fl|fi|ep|epse|epfid|epir|epb|tir|tirb|tseir|spc|spcir|spcr|tgse|h|gr|ssfp|qfl|me|mez|fm|pcasl|pasl|csi|svs|swi)\dd\d?"
    r"|[23]d[a-z]{0,4}\d{0,2}"
)
_VENDOR_SEQUENCE = re.compile(r"\*?[a-zA-Z]{1,6}\d?d\d{1,3}(?:_\d{1,3})?[a-z]{0,4}(?:_[a-z]{1,3})?")
_SHORT_TERM = re.compile(r"[A-Za-z0-9%/]{1,4}")
_LONG_NUMBER = re.compile(r"\d{5,}|\d{1,4}[-/]\d{1,2}[-/]\d{2,4}")
_UNSAFE = re.compile(r"[^\x20-\x5b\x5d-\x7e]|@|\^")


@cache
def vocabulary() -> frozenset[str]:
    """The reviewed words of `data/neuro_mr_vocabulary.txt`."""
    return words_of("neuro_mr_vocabulary.txt")


def visible(raw: bytes | str) -> str:
    """The text of an element without decoding it: single bytes, escaped multi-byte runs cut out."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return _MULTIBYTE.sub(" ", text).strip(" \0") if "\x1b" in text else text.strip(" \0")


def clean(text: str, identifiers: Collection[str], extra: Collection[str] = ()) -> str:
    """What of `text` consists of vocabulary words and protocol numbers and is no identifier of the subject.

    Identifiers are the folded words of `Subject.words`. Runs of numbers that could be a date, telephone or record
    number go as a whole. Separators between words that both stay are kept.
    """
    text = _NUMBER_RUN.sub(lambda run: run[0] if sum(map(str.isdigit, run[0])) < 5 and _is_size(run[0]) else "\0", text)
    allowed = vocabulary()
    kept: list[str] = []
    end = -1
    for token in _TOKEN.finditer(text):
        word = token[0].lower()
        if not _may_stay(word, allowed, extra) or _identifies(word, identifiers):
            continue
        if kept:
            between = text[end : token.start()]
            kept.append(between if _SEPARATORS.fullmatch(between) else "" if not between else " ")
        kept.append(token[0])
        end = token.end()
    return "".join(kept).strip(" *")


def _is_size(run: str) -> bool:
    return re.fullmatch(r"\d{1,2}[. ]\d{1,2}|\d{1,2}_\d{1,2}", run) is not None


def _may_stay(word: str, allowed: Collection[str], extra: Collection[str]) -> bool:
    bare = word.rstrip("*")
    return bare in allowed or bare in extra or _PATTERNS.fullmatch(bare) is not None


def _identifies(word: str, identifiers: Collection[str]) -> bool:
    """Two-letter words of protocols (SE, T1) are too common to be traced to a name of two letters."""
    return len(word) > 2 and word in identifiers


def sequence_name(text: str, identifiers: Collection[str]) -> str:
    """A vendor's sequence name such as `*tfl3d1_16ns`, otherwise the cleaned text."""
    if _VENDOR_SEQUENCE.fullmatch(text) and not names_subject(text, identifiers):
        return text
    return clean(text, identifiers)


def short_term(text: str, identifiers: Collection[str]) -> str:
    """A term such as `1H` or `US`, otherwise the cleaned text."""
    if _SHORT_TERM.fullmatch(text) and text.lower() not in identifiers:
        return text
    return clean(text, identifiers)


def public(text: str, identifiers: Collection[str]) -> str:
    """A text that says what the equipment is: it stays as sent unless it holds an identifier, a long number or a mark
    of another kind of text (non-ASCII, `@`, `^`); then the words that are left after removal of those stay."""
    if _UNSAFE.search(text) is None and _LONG_NUMBER.search(text) is None and not names_subject(text, identifiers):
        return text[:64]
    if _UNSAFE.search(text):
        return clean(text, identifiers)
    words = _LONG_NUMBER.sub(" ", text).split()
    return " ".join(word for word in words if not names_subject(word, identifiers))[:64]


def names_subject(text: str, identifiers: Collection[str]) -> bool:
    """Whether a word of `text`, three characters or longer, is an identifier of the subject."""
    return any(len(word) > 2 and word in identifiers for word in _WORDS(fold(text)))


_WORDS: Callable[[str], list[str]] = re.compile(r"[^\W_]+").findall

"""Free text: what stays of a description when only known words may stay (Clean Descriptors, PS3.15 E.3.6).

Cleaning works on the ASCII words of the text, so it neither depends on nor fails over the character set: an escape
sequence and what it introduces is cut out, and nothing that is not a word of the vocabulary survives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache

from deidentify.subject import VENDORS, fold
from deidentify.tables import words_of

_MULTIBYTE = re.compile(r"\x1b\$.*?(?:\x1b\([BJ]|$)|\x1b[()\-./]?.", re.DOTALL)
# A sign belongs to the word beside it: without it, "C-" and "C+" would both read as contrast-enhanced, or as nothing.
_SIGNED = r"[+-][Cc](?![A-Za-z0-9])|(?<![A-Za-z0-9])(?:[Cc]|[Gg][Dd]|[Kk][Mm]|[Cc][Ee])[+-](?![A-Za-z0-9])"
# Letters beyond ASCII belong to the word they stand in, whatever their encoding: no piece of a name is a word.
_TOKEN = re.compile(_SIGNED + r"|[A-Za-z0-9\x80-\U0010ffff]+(?:\.[0-9]+)?[A-Za-z\x80-\U0010ffff]*\*?|\*")
# The word or two after a title or after "by" is a name, also where it is a word of the vocabulary (Long, Short, Low).
_TITLED = re.compile(
    r"\b(?:(?:(?:[Dd][Rr]s?|[Pp]rof|[Mm]rs|[Mm]s|Mr)\.?|MRS\.|MS\.|MR\.|[Dd]octor|[Hh]err|[Ff]rau|[Mm]me|[Mm]onsieur|[Mm]adame|[Ss]ig|[Ss]r[at]?\."
    r"|[Bb]y|[Pp]er|[Aa]ttn|[Nn]urse|[Tt]ech(?:nologist|nician)?|[Rr]adiologist|[Oo]perator|[Pp]hysician|[Pp]t|[Nn]ame)"
    r"[ :._]+)+[A-Za-z'\-]+(?:[ ,^]+[A-Z][A-Za-z'\-]+)?"
)
_SEPARATORS = re.compile(r"[ _+\-/,.:;()&x=*]{1,3}")
_NUMBER_RUN = re.compile(r"(?<![A-Za-z0-9])\d+(?:[ ._/:,()+\-]{1,2}\d+)+")
_PATTERNS = re.compile(
    r"\d{1,2}"  # a count
    r"|\d{1,3}(?:\.\d{1,3})?(?:mm|cm|ms|s|sec|min|deg|t|nex|avg|sl|ch|dir|dirs|vol|x)"  # a size with its unit
    r"|\d\.\d{1,2}"
    r"|b\d{1,3}0?|b10000|te\d{1,3}|tr\d{1,4}|ti\d{1,4}|fa\d{1,3}|p\d|r\d|s\d|x\d|mb\d|sms\d|ipat\d|iso\d{1,2}|etl\d{1,3}|fov\d{1,3}"
    r"|\d{1,3}(?:\.\d)?x\d{1,3}(?:\.\d)?(?:x\d{1,3}(?:\.\d)?)?(?:mm)?"
    r"|(?:tfl|tse|se|fl|fi|ep|epse|epfid|epir|epb|tir|tirb|tseir|spc|spcir|spcr|tgse|h|gr|ssfp|qfl|me|mez|fm|pcasl|pasl|csi|svs|swi)\dd\d?"
    r"|[23]d[a-z]{0,4}\d{0,2}"
)
_NUMBERED = re.compile(r"([a-z]+)(?:[1-4]d|\d{1,2})")
_VENDOR_SEQUENCE = re.compile(r"\*?[a-zA-Z]{1,6}\d?d\d{1,3}(?:_\d{1,3})?[a-z]{0,4}(?:_[a-z]{1,3})?")
_SHORT_TERM = re.compile(
    r"\d{1,4}|\d{1,3}(?:H|HE|He|C|F|N|NA|Na|P|K|O|XE|Xe)|[A-Z]{1,3}\d{0,3}|HU|US|OD|MGML|Z_EFF|%",
)
_LONG_NUMBER = re.compile(r"\d{5,}|\d{1,4}[-/]\d{1,2}[-/]\d{2,4}")
_UNSAFE = re.compile(r"[^\x20-\x5b\x5d-\x7e]|@|\^")


@cache
def vocabulary() -> frozenset[str]:
    """The reviewed words of `data/neuro_mr_vocabulary.txt`."""
    return words_of("neuro_mr_vocabulary.txt")


@cache
def defined_terms() -> frozenset[str]:
    """The words of `data/defined_terms.txt`."""
    return words_of("defined_terms.txt")


def is_term(value: str) -> bool:
    """Whether a coded string is a term: each word is defined, or of the vocabulary, or too short for a name."""
    lower = value.lower()
    return lower in defined_terms() or all(_is_term_word(word) for word in _TERM_WORDS(lower))


@cache
def _is_term_word(word: str) -> bool:
    if word in defined_terms() or word in vocabulary():
        return True
    digits = sum(map(str.isdigit, word))
    return digits <= 4 and len(word) - digits <= 3 and (digits > 0 or len(word) <= 3)


def visible(raw: bytes | str) -> str:
    """The text of an element without decoding it: single bytes, escaped multi-byte runs cut out."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return _MULTIBYTE.sub(" ", text).strip(" \0") if "\x1b" in text else text.strip(" \0")


def clean(text: str, identifiers: Collection[str], extra: Collection[str] = ()) -> str:
    """What of `text` consists of vocabulary words and protocol numbers and is no identifier of the subject.

    Identifiers are the folded words of `Subject.words`. Runs of numbers that could be a date, telephone or record
    number go as a whole. Separators between words that both stay are kept.
    """
    text = _TITLED.sub("\0", text)
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
    if bare in allowed or bare in extra or _PATTERNS.fullmatch(bare) is not None:
        return True
    numbered = _NUMBERED.fullmatch(bare)  # sag3d, rest1, t1w2
    return numbered is not None and len(numbered[1]) > 2 and numbered[1] in allowed


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
    """A text that says what the equipment is: the words that name a maker, a product or a version and are no
    identifier; as sent where all do."""
    words = text.split(" ")
    if all(_names_equipment(word) and not names_subject(word, identifiers) for word in words if word):
        return text[:64]
    return " ".join(word for word in words if _names_equipment(word) and not names_subject(word, identifiers))[:64]


@cache
def equipment() -> frozenset[str]:
    """Makers, products and software by the words of their names."""
    return VENDORS | words_of("equipment_words.txt") | vocabulary()


def _names_equipment(word: str) -> bool:
    """Whether a word is part of the name or version of a product: known, or a version such as `DV26.0_R03_1831.b`."""
    if _UNSAFE.search(word) or _LONG_NUMBER.search(word):
        return False
    return all(
        part in equipment() or len(part) <= 2 or (any(map(str.isdigit, part)) and sum(map(str.isalpha, part)) <= 4)
        for part in _TERM_WORDS(word.lower())
    )


def names_subject(text: str, identifiers: Collection[str]) -> bool:
    """Whether a word of `text`, three characters or longer, is an identifier of the subject."""
    return any(len(word) > 2 and word in identifiers for word in _WORDS(fold(text)))


_WORDS: Callable[[str], list[str]] = re.compile(r"[^\W_]+").findall
_TERM_WORDS: Callable[[str], list[str]] = re.compile(r"[a-z0-9]+").findall

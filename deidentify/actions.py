"""One function for each action on a single attribute: element in, element (or None) and outcome out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.sequence import Sequence

from deidentify import dates, text
from deidentify.elements import Element, ascii_element, bytes_element, text_of, with_vr
from deidentify.keys import KeyRing
from deidentify.ledger import Ledger, Outcome
from deidentify.plan import Rule
from deidentify.profile import Profile
from deidentify.rules import Action
from deidentify.subject import Subject

Result = tuple[Element | None, Outcome]
REMOVED = "REMOVED"
PIXEL_TAGS = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009))
_DUMMIES = {
    "PN": "ANONYMIZED", "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "IS": "0", "DS": "0",
    "AE": REMOVED, "UR": "urn:removed",
}  # fmt: skip
_TERM = re.compile(r"[A-Za-z0-9_ +\-./*]{0,16}")
_NUMBERS = re.compile(r"[0-9+\-.eE \\]*")
_LONG_NUMBER = re.compile(r"\d{5,}")
_LONGEST_INTEGER = {"IS": 7, "DS": 10}
"""Digits of a whole number that counts or measures something; longer ones are numbers of people, orders and devices."""
_WRITTEN = re.compile(rb"[A-Za-z0-9 ,.:^/@\-]{10,}")
_NO_CONTRAST = frozenset({"", "NO", "NONE", "N", "0", "-", "WITHOUT", "NATIVE", "NO CONTRAST", "NATIV"})
_SHORT = {"SH": 16, "CS": 16, "LO": 64}


@dataclass
class Context:
    """What the actions of one object share."""

    keys: KeyRing
    profile: Profile
    ledger: Ledger
    words: frozenset[str]
    pseudonym: str
    shift_days: int
    original_uids: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, subject: Subject, keys: KeyRing, profile: Profile, ledger: Ledger) -> Context:
        surrogate = subject.surrogate
        return cls(keys, profile, ledger, subject.words, keys.pseudonym(surrogate), keys.date_shift_days(surrogate))

    def map_uid(self, original: str) -> str:
        """The new UID; UIDs of the standard itself stay."""
        mapped = self.keys.uid(original)
        if mapped != original:
            self.original_uids.add(original)
        return mapped

    def known_or_token(self, value: str) -> str:
        """The text where it consists of known words, else an opaque stand-in that is the same in all objects."""
        cleaned = text.clean(value, self.words, self.profile.extra_words)
        return cleaned if cleaned == value and value else self.keys.token(value)


def _fallback(context: Context, element: Element, rule: Rule) -> Result:
    return HANDLERS[rule.fallback](context, element, rule)


def _remove(_context: Context, _element: Element, _rule: Rule) -> Result:
    return None, Outcome.REMOVED


def _empty(_context: Context, element: Element, rule: Rule) -> Result:
    if rule.vr == "SQ":
        return DataElement(element.tag, "SQ", Sequence([])), Outcome.EMPTIED
    return bytes_element(element.tag, _one_vr(element, rule), b""), Outcome.EMPTIED


def _dummy(context: Context, element: Element, rule: Rule) -> Result:
    """A value that is legal for the VR and says nothing."""
    if rule.vr == "SQ":
        return _empty(context, element, rule)
    if rule.vr == "UI":
        return ascii_element(element.tag, "UI", context.map_uid(text_of(element).strip())), Outcome.REPLACED
    if rule.longest:
        return RawDataElement(
            element.tag, _one_vr(element, rule), rule.longest, bytes(rule.longest), 0, False, True
        ), Outcome.REPLACED
    if " or " in rule.vr:  # a look-up table keeps its length, which its descriptor states
        return bytes_element(
            element.tag, _one_vr(element, rule), bytes(len(element.value or b"\0\0"))
        ), Outcome.REPLACED
    if rule.vr[:2] in ("OB", "OW", "UN", "OF", "OD", "OL", "OV"):
        return bytes_element(element.tag, rule.vr[:2], b"\0\0"), Outcome.REPLACED
    return ascii_element(element.tag, rule.vr, _DUMMIES.get(rule.vr, REMOVED)), Outcome.REPLACED


def _one_vr(element: Element, rule: Rule) -> str:
    """The VR to write where the dictionary names several."""
    return rule.vr if len(rule.vr) == 2 else element.VR if element.VR in rule.vr.split(" or ") else rule.vr[:2]


def _keep(context: Context, element: Element, rule: Rule) -> Result:
    """Binary values pass unread, if their VR and length are what the dictionary says."""
    if element.VR == "UN" or (element.VR is not None and element.VR not in rule.vr):
        if element.VR != "UN" or not isinstance(element, RawDataElement):
            return _fallback(context, element, rule)
        element = with_vr(element, rule.vr[:2])
    value = element.value
    if rule.longest and isinstance(value, bytes) and (len(value) > rule.longest or len(value) % 2):
        return _fallback(context, element, rule)
    if not rule.longest and element.tag not in PIXEL_TAGS and isinstance(value, bytes) and _reads_as_text(value):
        return _fallback(context, element, rule)
    return element, Outcome.KEPT


def _reads_as_text(value: bytes) -> bool:
    """Whether a table of numbers holds ten characters of text in a row that are no ramp (look-up tables are ramps)."""
    for run in _WRITTEN.finditer(value):
        steps = {after - before for before, after in pairwise(run[0])}
        if len(steps) > 4 and max(steps) - min(steps) > 8:
            return True
    return False


def _keep_number_string(context: Context, element: Element, rule: Rule) -> Result:
    value = text_of(element)
    numbers = _LONG_NUMBER.findall(value)
    too_long = _LONGEST_INTEGER.get(rule.vr, 16)
    if not _NUMBERS.fullmatch(value) or any(number in context.words for number in numbers):
        return _fallback(context, element, rule)
    if any(len(part.strip(" +-")) > too_long and part.strip(" +-").isdigit() for part in value.split("\\")):
        return _fallback(context, element, rule)
    return _unchanged(element, rule), Outcome.KEPT


def _unchanged(element: Element, rule: Rule) -> Element:
    if isinstance(element, RawDataElement) and element.VR not in (None, rule.vr):
        return with_vr(element, rule.vr)
    return element


def _keep_term(context: Context, element: Element, rule: Rule) -> Result:
    """Terms as sent; one that cannot be a term, or names the subject, goes."""
    values = [value.strip() for value in text_of(element).split("\\")]
    safe = [value if _is_term(value, context.words) else "" for value in values]
    if safe == values:
        return _unchanged(element, rule), Outcome.KEPT
    if not safe[0]:
        return _fallback(context, element, rule)
    return ascii_element(element.tag, "CS", safe), Outcome.CLEANED


def _is_term(value: str, words: frozenset[str]) -> bool:
    return bool(_TERM.fullmatch(value)) and text.is_term(value) and not text.names_subject(value, words)


def _keep_time(context: Context, element: Element, rule: Rule) -> Result:
    return _each(context, element, rule, dates.keep_time, Outcome.KEPT)


def _shift_date(context: Context, element: Element, rule: Rule) -> Result:
    return _each(context, element, rule, lambda value: dates.shift_date(value, context.shift_days), Outcome.SHIFTED)


def _shift_datetime(context: Context, element: Element, rule: Rule) -> Result:
    return _each(context, element, rule, lambda value: dates.shift_datetime(value, context.shift_days), Outcome.SHIFTED)


def _cap_age(context: Context, element: Element, rule: Rule) -> Result:
    return _each(context, element, rule, dates.cap_age, Outcome.KEPT)


def _each(
    context: Context, element: Element, rule: Rule, change: Callable[[str], str | None], outcome: Outcome
) -> Result:
    """Change every value of a multi-valued text; if one cannot be changed, none stays."""
    value = text_of(element).strip()
    if not value:
        return _empty(context, element, rule)
    changed = [change(part) for part in value.split("\\")]
    present = [part for part in changed if part is not None]
    if len(present) < len(changed):
        return _fallback(context, element, rule)
    return ascii_element(element.tag, rule.vr, present), outcome


def _map_uid(context: Context, element: Element, rule: Rule) -> Result:
    values = [value.strip(" \0") for value in text_of(element).split("\\")]
    if not any(values):
        return _empty(context, element, rule)
    mapped = [context.map_uid(value) if value else "" for value in values]
    return ascii_element(element.tag, "UI", mapped), Outcome.KEPT if mapped == values else Outcome.MAPPED


def _text_action(change: Callable[[Context, str], str]) -> Callable[[Context, Element, Rule], Result]:
    def action(context: Context, element: Element, rule: Rule) -> Result:
        value = text.visible(text_of(element))
        if not value:
            return _empty(context, element, rule)
        changed = [change(context, part.strip()) for part in value.split("\\")]
        if not any(changed):
            return _fallback(context, element, rule)
        limited = [part[: _SHORT.get(rule.vr, 1024)] for part in changed]
        return ascii_element(element.tag, rule.vr, limited), Outcome.KEPT if limited == value.split(
            "\\"
        ) else Outcome.CLEANED

    return action


def _presence(_context: Context, element: Element, rule: Rule) -> Result:
    """Whether there is one matters (post-contrast), which one does not."""
    value = text_of(element).strip(" \0").upper()
    if value in _NO_CONTRAST:
        return _empty(_context, element, rule)
    return ascii_element(element.tag, rule.vr, "CONTRAST"), Outcome.REPLACED


def _pseudonym(context: Context, element: Element, rule: Rule) -> Result:
    return ascii_element(element.tag, rule.vr, context.pseudonym), Outcome.REPLACED


def _character_set(_context: Context, element: Element, rule: Rule) -> Result:
    return ascii_element(element.tag, rule.vr, "ISO_IR 192"), Outcome.REPLACED


HANDLERS: dict[Action, Callable[[Context, Element, Rule], Result]] = {
    Action.KEEP: _keep,
    Action.KEEP_NUMBER_STRING: _keep_number_string,
    Action.KEEP_TERM: _keep_term,
    Action.KEEP_TIME: _keep_time,
    Action.MAP_UID: _map_uid,
    Action.SHIFT_DATE: _shift_date,
    Action.SHIFT_DATETIME: _shift_datetime,
    Action.CAP_AGE: _cap_age,
    Action.CLEAN: _text_action(lambda context, value: text.clean(value, context.words, context.profile.extra_words)),
    Action.PUBLIC: _text_action(lambda context, value: text.public(value, context.words)),
    Action.SEQUENCE_NAME: _text_action(lambda context, value: text.sequence_name(value, context.words)),
    Action.PRESENCE: _presence,
    Action.SHORT_TERM: _text_action(lambda context, value: text.short_term(value, context.words)),
    Action.TOKEN: _text_action(lambda context, value: context.known_or_token(value)),
    Action.PSEUDONYM: _pseudonym,
    Action.CHARACTER_SET: _character_set,
    Action.REMOVE: _remove,
    Action.EMPTY: _empty,
    Action.DUMMY: _dummy,
}

"""ADT messages as far as patient identity needs them (HL7 v2.3 to v2.8, chapter 3); parsed by python-hl7.

Names, addresses and visits are not looked at and not kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hl7
from hl7.exceptions import HL7Exception

MERGES = frozenset({"A40", "A47"})
"""Merge patient and change of the patient identifier list: in both the ID in MRG-1 is no longer used."""
UPDATES = frozenset({"A08", "A31"})
"""Update patient, or person, information."""

UNLINKS = frozenset({"A37"})
"""Unlink patient information: two PID segments, no MRG."""
MOVES = frozenset({"A43", "A45"})
"""Move of an identifier, or of visits, from the patient of MRG-1 to that of PID-3; visits each with an MRG."""
EVENTS = MERGES | UPDATES | UNLINKS | MOVES
_WITH_MRG = MERGES | MOVES

_ENCODINGS = {
    "": "utf-8",
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "UNICODE UTF-8": "utf-8",
    "ISO IR87": "iso2022_jp_2",
    "ISO IR159": "iso2022_jp_2",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
"""HL7 table 0211."""


class BadMessage(Exception):
    """A message that is not acted on. `answer` is AE (its content) or AR (its kind); no patient data in the text."""

    def __init__(self, text: str, answer: str = "AE", code: str = "207") -> None:
        super().__init__(text)
        self.answer = answer
        self.code = code
        """HL7 table 0357."""


@dataclass(frozen=True, slots=True)
class Header:
    """Who sent a message, and what it is; empty where it does not say."""

    sender: str = ""
    receiver: str = ""
    control_id: str = ""
    kind: str = ""
    event: str = ""
    processing: str = "P"
    version: str = "2.5"
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class StatedId:
    """A patient ID as a message states it (CX): the namespace of its assigning authority, else the universal ID."""

    patient_id: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of a message: the IDs of PID-3 and, where the event has one, those of MRG-1."""

    present: tuple[StatedId, ...]
    prior: tuple[StatedId, ...] = ()


@dataclass(frozen=True, slots=True)
class Adt:
    """An ADT message. `digest` covers everything but the time of the message: a repeat has the same."""

    header: Header
    digest: str
    patients: tuple[Patient, ...]


def read_header(block: bytes) -> Header:
    """The header of a message, as much of it as can be read; never an error."""
    line = block.split(b"\r", 1)[0].split(b"\n", 1)[0]
    if not line.startswith(b"MSH") or len(line) < 9:
        return Header()
    separator = line[3:4]
    fields = ["MSH", separator.decode("latin-1"), *(f.decode("latin-1") for f in line[4:].split(separator))]
    component = fields[2][:1] or "^"

    def field(number: int) -> str:
        return fields[number].strip() if number < len(fields) else ""

    kind = field(9).split(component)
    return Header(
        sender=f"{field(3)}|{field(4)}",
        receiver=f"{field(5)}|{field(6)}",
        control_id=field(10),
        kind=kind[0].upper(),
        event=kind[1].upper() if len(kind) > 1 else "",
        processing=field(11) or "P",
        version=field(12).split(component)[0] or "2.5",
        encoding=_ENCODINGS.get(field(18).split(fields[2][1:2] or "~")[0].strip().upper(), ""),
    )


def read_adt(block: bytes) -> Adt:
    """Read an ADT message.

    Raises:
        BadMessage: when it is none that is acted on here, or lacks what it needs.
    """
    header = read_header(block)
    if not header.control_id or len(header.control_id) > 199:
        raise BadMessage("MSH-10 message control ID is missing or too long", code="101")
    if header.kind != "ADT":
        raise BadMessage("only ADT messages are taken here", "AR", "200")
    if header.event not in EVENTS:
        known = ", ".join(sorted(EVENTS))
        raise BadMessage(f"this event is not acted on here; {known} are", "AR", "201")
    return Adt(header, _digest(block), tuple(_patients(_parse(block, header), header)))


def _parse(block: bytes, header: Header) -> hl7.Message:
    if not header.encoding:
        raise BadMessage("MSH-18 names a character set that is not supported", code="103")
    try:
        text = block.decode(header.encoding)
    except UnicodeDecodeError:
        raise BadMessage("the message is not in the character set that MSH-18 names", code="102") from None
    try:
        return hl7.parse(text.replace("\r\n", "\r").replace("\n", "\r"))
    except (HL7Exception, LookupError, ValueError, TypeError, AttributeError):
        raise BadMessage("the message cannot be parsed", code="100") from None


def _patients(message: hl7.Message, header: Header) -> Iterator[Patient]:
    """Every PID of a message; where the event has MRG segments, once for each that follows it."""
    present: tuple[StatedId, ...] = ()
    used = True
    for segment in message:
        name = str(segment[0])
        if name == "PID":
            _require_mrg(header, used)
            present, used = _ids(message, segment, 3), False
            if not present:
                raise BadMessage("PID-3 patient identifier list is empty", code="101")
            if header.event not in _WITH_MRG:
                yield Patient(present)
        elif name == "MRG" and header.event in _WITH_MRG:
            if not present or (used and header.event in MERGES):
                raise BadMessage("an MRG segment has no PID segment", code="100")
            prior = _ids(message, segment, 1)
            if not prior:
                raise BadMessage("MRG-1 prior patient identifier list is empty", code="101")
            yield Patient(present, prior)
            used = True
    if not present:
        raise BadMessage("the message has no PID segment", code="100")
    _require_mrg(header, used)


def _require_mrg(header: Header, used: bool) -> None:
    if header.event in _WITH_MRG and not used:
        raise BadMessage("a PID segment has no MRG segment", code="100")


def _ids(message: hl7.Message, segment: Any, number: int) -> tuple[StatedId, ...]:
    repetitions = segment[number] if number < len(segment) else ()
    stated = []
    for repetition in repetitions:
        patient_id = _text(message, repetition, 0, 0)
        if patient_id:
            issuer = _text(message, repetition, 3, 0) or _text(message, repetition, 3, 1)
            stated.append(StatedId(patient_id, issuer))
    return tuple(dict.fromkeys(stated))


def _text(message: hl7.Message, repetition: Any, component: int, subcomponent: int) -> str:
    """One value of a repetition, which the parser gives as plain text where it has one component only."""
    if isinstance(repetition, str):
        return message.unescape(repetition).strip() if component == subcomponent == 0 else ""
    if component >= len(repetition):
        return ""
    part = repetition[component]
    if isinstance(part, str):
        return message.unescape(part).strip() if subcomponent == 0 else ""
    return message.unescape(str(part[subcomponent])).strip() if subcomponent < len(part) else ""


def _digest(block: bytes) -> str:
    first, _, rest = block.strip().partition(b"\r")
    fields = first.split(first[3:4])
    if len(fields) > 6:
        fields[6] = b""  # MSH-7: MSH-1 is the separator itself
    return hashlib.sha256(b"|".join(fields) + b"\r" + rest).hexdigest()

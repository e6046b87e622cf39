"""The answer to a message: MSH, MSA and, where it was not accepted, ERR (HL7 v2, 2.9 and 2.15)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gateway.column_types import utc_now
from gateway.hl7.messages import Header

ACCEPTED, ERROR, REJECTED = "AA", "AE", "AR"


@dataclass(frozen=True, slots=True)
class Answer:
    """AA, AE or AR with a sentence in ASCII; `code` is of HL7 table 0357 (0 = accepted)."""

    answer: str
    text: str = ""
    code: str = "0"


def encode_answer(header: Header, answer: Answer) -> bytes:
    """The acknowledgement of the message with this header."""
    application, _, facility = header.receiver.partition("|")
    sender, _, sender_facility = header.sender.partition("|")
    event = f"ACK^{header.event}^ACK" if header.event else "ACK"
    stamp = f"{utc_now():%Y%m%d%H%M%S}+0000"
    message_id = secrets.token_hex(10)
    lines = [
        f"MSH|^~\\&|{application}|{facility}|{sender}|{sender_facility}|{stamp}||{event}|{message_id}"
        f"|{header.processing}|{header.version}",
        f"MSA|{answer.answer}|{header.control_id}|{_escaped(answer.text)}",
    ]
    if answer.answer != ACCEPTED:
        lines.append(f"ERR|||{answer.code}^^HL70357|E||||{_escaped(answer.text)}")
    return ("\r".join(lines) + "\r").encode("latin-1", errors="replace")


def _escaped(text: str) -> str:
    for character, name in (("\\", "E"), ("|", "F"), ("^", "S"), ("&", "T"), ("~", "R")):
        text = text.replace(character, f"\\{name}\\") if character in text else text
    return text.replace("\r", " ").replace("\n", " ")

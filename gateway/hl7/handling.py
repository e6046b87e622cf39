"""What a message does: once, in one transaction with the row that remembers its answer.

The same message again gets the same answer and does nothing. A message that cannot be acted on is answered with the
reason and kept in quarantine. What the database refuses for the moment is answered AE and forgotten: the sender's next
attempt is a first one.
"""

from __future__ import annotations

import structlog
from sqlmodel import Session, select

from gateway.blobs import BlobStore, open_blobs
from gateway.context import Gateway
from gateway.database import insert_or_ignore, session_scope
from gateway.errors import Retriable
from gateway.hl7.answers import ACCEPTED, ERROR, REJECTED, Answer, encode_answer
from gateway.hl7.effects import act
from gateway.hl7.messages import Adt, BadMessage, Header, read_adt, read_header
from gateway.identity_tables import Hl7Message
from gateway.quarantine import Finding, keep
from gateway.tables import QuarantineKind

AREA = "hl7"
_log = structlog.get_logger()


def answer_message(gateway: Gateway, block: bytes) -> bytes:
    """Act on a message and give the bytes of its answer; every message gets one."""
    header = read_header(block)
    try:
        answer = _answer(gateway, header, block)
    except Retriable as trouble:
        answer = Answer(ERROR, "The gateway cannot act on this now. Send it again later.", "207")
        _log.warning("an HL7 message could not be acted on", error=type(trouble).__name__)
    _log.info("HL7 message answered", hl7_event=header.event, answer=answer.answer)
    return encode_answer(header, answer)


def _answer(gateway: Gateway, header: Header, block: bytes) -> Answer:
    try:
        message = read_adt(block)
    except BadMessage as problem:
        return _refuse(gateway, header, block, problem)
    try:
        with session_scope(gateway.database) as session:
            known = _claim(session, message)
            return known or _act(gateway, session, message)
    except BadMessage as problem:
        return _refuse(gateway, header, block, problem)


def _claim(session: Session, message: Adt) -> Answer | None:
    """Take a message up; the answer that it was given where it is not the first of its name."""
    header = message.header
    row = Hl7Message(
        sender=header.sender[:256],
        control_id=header.control_id,
        digest=message.digest,
        event=header.event[:16],
        answer=ACCEPTED,
    )
    if insert_or_ignore(session, row):
        return None
    known = _known(session, header)
    if known.digest == message.digest:
        return Answer(known.answer, known.text)
    raise BadMessage("MSH-10: this control ID was used for another message before", REJECTED, "205")


def _known(session: Session, header: Header) -> Hl7Message:
    query = select(Hl7Message).where(
        Hl7Message.sender == header.sender[:256], Hl7Message.control_id == header.control_id
    )
    return session.exec(query).one()


def _act(gateway: Gateway, session: Session, message: Adt) -> Answer:
    text = act(gateway, session, message)
    row = _known(session, message.header)
    row.text = text
    session.add(row)
    return Answer(ACCEPTED, text)


def _refuse(gateway: Gateway, header: Header, block: bytes, problem: BadMessage) -> Answer:
    """Keep a message that was not acted on, with the reason; its kind (AR) alone is not worth a person's look."""
    if problem.answer == ERROR or problem.code == "205":
        blob = message_store(gateway).put(block)
        with session_scope(gateway.database) as session:
            reason = f"An HL7 message ({header.event or 'of unknown kind'}) was not acted on: {problem}."
            keep(session, Finding(QuarantineKind.HL7_MESSAGE, reason, dedup=blob, blob=blob))
    return Answer(problem.answer, str(problem), problem.code)


def message_store(gateway: Gateway) -> BlobStore:
    """Where messages in quarantine lie: apart from images, which are indexed again from their own area."""
    storage = gateway.settings.storage
    return open_blobs(storage.url, AREA, storage.min_free_mb)

"""What a message does: once, in one transaction with the row that remembers its answer.

The same message again gets the same answer and does nothing. A message that cannot be acted on is answered with the
reason and kept in quarantine. What the database refuses for the moment is answered AE and forgotten: the sender's next
attempt is a first one.
"""

from __future__ import annotations

import structlog
from sqlmodel import Session, select

from gateway import audit
from gateway.blobs import BlobStore, open_blobs
from gateway.context import Gateway
from gateway.database import insert_or_ignore, session_scope
from gateway.errors import NotAllowed, Retriable
from gateway.hl7.answers import ACCEPTED, ERROR, REJECTED, Answer, encode_answer
from gateway.hl7.messages import MERGES, Adt, BadMessage, Header, Patient, StatedId, read_adt, read_header
from gateway.identity import IssuerRules, PatientId, first_contact, stated_person, survivor_of
from gateway.identity_tables import Hl7Message
from gateway.instance_facts import Identity
from gateway.merges import merge
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
    if message.header.event in MERGES:
        merges = [pair for patient in message.patients for pair in _pairs(gateway, patient)]
        text = " ".join(dict.fromkeys(_merge(gateway, session, message.header, *pair) for pair in merges))
    else:
        text = _note_update(gateway, session, message)
    row = _known(session, message.header)
    row.text = text
    session.add(row)
    return Answer(ACCEPTED, text)


def _pairs(gateway: Gateway, patient: Patient) -> list[tuple[PatientId, PatientId]]:
    """Each prior ID of a patient with the present one that takes its place: that of the same authority, else the only
    one there is."""
    present = [_normalised(gateway, stated) for stated in patient.present]
    pairs = []
    for prior in (_normalised(gateway, stated) for stated in patient.prior):
        same = [one for one in present if one.issuer == prior.issuer] or present
        if len(same) != 1:
            raise BadMessage("it is not clear which ID of PID-3 takes the place of an ID of MRG-1", code="207")
        if same[0] == prior:
            raise BadMessage("MRG-1 and PID-3 state the same ID", code="207")
        pairs.append((same[0], prior))
    return pairs


def _normalised(gateway: Gateway, stated: StatedId) -> PatientId:
    rules = IssuerRules.from_settings(gateway.settings.dicom, gateway.settings.identity)
    who = rules.normalise(Identity(stated.patient_id, stated.issuer), "")
    if who is None:
        raise BadMessage("the assigning authority of an ID is missing or not trusted", code="207")
    return who


def _merge(gateway: Gateway, session: Session, header: Header, present: PatientId, prior: PatientId) -> str:
    surviving, retired = first_contact(session, present), first_contact(session, prior)
    if survivor_of(session, surviving) == survivor_of(session, retired):
        return "These records are one already."
    if not _may_act(gateway, present, prior):
        _ask(session, surviving, retired)
        return "This merge waits for a decision in the gateway."
    try:
        merge(session, surviving, retired, f"hl7:{header.sender}"[:64])
    except NotAllowed as problem:
        raise BadMessage(f"the merge cannot be made: {problem}", code="207") from problem
    return "Merged."


def _may_act(gateway: Gateway, *ids: PatientId) -> bool:
    rules = IssuerRules.from_settings(gateway.settings.dicom, gateway.settings.identity)
    trusted = {rules.canonical(issuer) for issuer in gateway.settings.hl7.merge_issuers}
    return all(one.issuer and one.issuer in trusted for one in ids)


def _ask(session: Session, surviving: str, retired: str) -> None:
    keep(
        session,
        Finding(
            QuarantineKind.PATIENT_MERGE,
            "An HL7 message says that two records are one patient.",
            dedup=f"{surviving}:{retired}",
            detail={"surviving": surviving, "retired": retired},
        ),
    )


def _note_update(gateway: Gateway, session: Session, message: Adt) -> str:
    """An update changes nothing here: results state the patient as the images do. That it came is in the audit."""
    keys = set()
    for patient in message.patients:
        for stated in patient.present:
            who = _normalised(gateway, stated)
            keys.add(stated_person(session, who.patient_id, who.issuer))
    for key in sorted(key for key in keys if key):
        audit.append(session, actor=f"hl7:{message.header.sender}", action="patient.update-told", subject=key)
    return "Noted." if any(keys) else "No study of this patient is known here."


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

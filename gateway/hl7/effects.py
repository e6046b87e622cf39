"""What each event does to the records, within the transaction of its message; the text of the answer comes back.

- A40, A47: the ID of MRG-1 is one with that of PID-3: merged.
- A37: two records are not one after all: unmerged.
- A43, A45: an identifier or a visit of the patient of MRG-1 is that of PID-3. Images do not reliably say which
  studies those are, so a person moves them.
- A08, A31: noted; results state the patient as the images do.
"""

from __future__ import annotations

from sqlmodel import Session, select

from gateway import audit
from gateway.context import Gateway
from gateway.errors import NotAllowed
from gateway.hl7.messages import MERGES, MOVES, UNLINKS, Adt, BadMessage, Header, Patient, StatedId
from gateway.identity import IssuerRules, PatientId, find_record, first_contact, stated_person, survivor_of
from gateway.instance_facts import Identity
from gateway.merges import merge, unmerge
from gateway.quarantine import Finding, keep
from gateway.tables import Patient as PatientRecord
from gateway.tables import QuarantineKind, Study

NOT_KNOWN = "No study of this patient is known here."


def act(gateway: Gateway, session: Session, message: Adt) -> str:
    """Do what a message says; the caller commits.

    Raises:
        BadMessage: when it cannot be done, with the reason.
    """
    if message.header.event in MERGES:
        return _merge_all(gateway, session, message)
    if message.header.event in UNLINKS:
        return _unlink(gateway, session, message)
    if message.header.event in MOVES:
        return _ask_for_moves(gateway, session, message)
    return _note_update(gateway, session, message)


def _merge_all(gateway: Gateway, session: Session, message: Adt) -> str:
    pairs = [pair for patient in message.patients for pair in _pairs(gateway, patient)]
    return " ".join(dict.fromkeys(_merge(gateway, session, message.header, *pair) for pair in pairs))


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


def _may_act(gateway: Gateway, *ids: PatientId) -> bool:
    rules = IssuerRules.from_settings(gateway.settings.dicom, gateway.settings.identity)
    trusted = {rules.canonical(issuer) for issuer in gateway.settings.hl7.merge_issuers}
    return all(one.issuer and one.issuer in trusted for one in ids)


def _merge(gateway: Gateway, session: Session, header: Header, present: PatientId, prior: PatientId) -> str:
    surviving, retired = first_contact(session, present), first_contact(session, prior)
    if survivor_of(session, surviving) == survivor_of(session, retired):
        return "These records are one already."
    if not _may_act(gateway, present, prior):
        reason = "An HL7 message says that two records are one patient."
        detail = {"surviving": surviving, "retired": retired}
        dedup = f"{surviving}:{retired}"
        keep(session, Finding(QuarantineKind.PATIENT_MERGE, reason, dedup=dedup, detail=detail))
        return "This merge waits for a decision in the gateway."
    try:
        merge(session, surviving, retired, _actor(header))
    except NotAllowed as problem:
        raise BadMessage(f"the merge cannot be made: {problem}", code="207") from problem
    return "Merged."


def _unlink(gateway: Gateway, session: Session, message: Adt) -> str:
    if len(message.patients) != 2:
        raise BadMessage("an unlink names two patients, in two PID segments", code="100")
    first, second = ([_normalised(gateway, stated) for stated in patient.present] for patient in message.patients)
    if set(first) & set(second):
        raise BadMessage("both PID segments state the same ID", code="207")
    pairs = [(a, b) for a in _records(session, first) for b in _records(session, second) if _are_one(session, a, b)]
    if not pairs:
        return "These records are not one here."
    if not _may_act(gateway, *first, *second):
        for a, b in pairs:
            _ask_to_unmerge(session, a, b)
        return "This unlink waits for a decision in the gateway."
    for a, b in pairs:
        unmerge(session, _retired_of(session, a, b), _actor(message.header))
    return "Unmerged."


def _records(session: Session, ids: list[PatientId]) -> list[str]:
    found = (find_record(session, who) for who in ids)
    return list(dict.fromkeys(key for key in found if key is not None))


def _are_one(session: Session, first: str, second: str) -> bool:
    return survivor_of(session, first) == survivor_of(session, second)


def _retired_of(session: Session, first: str, second: str) -> str:
    for one, other in ((first, second), (second, first)):
        if session.get_one(PatientRecord, one).merged_into == other:
            return one
    raise BadMessage("the records were joined by way of others: unmerge them in the gateway", code="207")


def _ask_to_unmerge(session: Session, first: str, second: str) -> None:
    reason = "An HL7 message (A37) says that two records which were merged are two patients."
    remedy = "Compare both records: unmerge them (patients unmerge) when they are two people; discard this request."
    detail, dedup = {"records": [first, second]}, f"unlink:{first}:{second}"
    keep(session, Finding(QuarantineKind.HL7_MESSAGE, reason, dedup=dedup, remedy=remedy, detail=detail))


def _ask_for_moves(gateway: Gateway, session: Session, message: Adt) -> str:
    pairs = [pair for patient in message.patients for pair in _pairs(gateway, patient)]
    asked = [_ask_for_move(session, message.header.event, *pair) for pair in pairs]
    return "This move waits for a decision in the gateway." if any(asked) else NOT_KNOWN


def _ask_for_move(session: Session, event: str, present: PatientId, prior: PatientId) -> bool:
    wrong = find_record(session, prior)
    if wrong is None or session.exec(select(Study.study_key).where(Study.patient_key == wrong)).first() is None:
        return False
    right, what = first_contact(session, present), "an identifier" if event == "A43" else "a visit"
    reason = f"An HL7 message ({event}) says that {what} of one record is another patient's."
    remedy = "Find out which studies it concerns and move them (studies move), or merge the records; discard this."
    detail, dedup = {"from": wrong, "to": right}, f"{event}:{wrong}:{right}"
    keep(session, Finding(QuarantineKind.HL7_MESSAGE, reason, dedup=dedup, remedy=remedy, detail=detail))
    return True


def _note_update(gateway: Gateway, session: Session, message: Adt) -> str:
    """That it came is in the audit; nothing else changes."""
    keys = set()
    for patient in message.patients:
        for stated in patient.present:
            who = _normalised(gateway, stated)
            keys.add(stated_person(session, who.patient_id, who.issuer))
    for key in sorted(key for key in keys if key):
        audit.append(session, actor=f"hl7:{message.header.sender}", action="patient.update-told", subject=key)
    return "Noted." if any(keys) else NOT_KNOWN


def _actor(header: Header) -> str:
    return f"hl7:{header.sender}"[:64]

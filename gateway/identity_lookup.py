"""An identity server is asked about patient IDs, after receipt and never in its way.

Two questions, each about one ID and once: whether a new ID is another one of a person who is known here (PIXm, ITI-83),
and whose an ID is that came without issuer (PDQm, ITI-78). What the server leaves open stays with a person; while it
does not answer nothing waits but the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import structlog
from sqlmodel import Session, col, select

from gateway.arrivals import ArrivalRules
from gateway.blobs import BlobStore
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.errors import BlobDamaged, BlobMissing, NotAllowed, Unreadable
from gateway.identity import IssuerRules, PatientId, stated_person
from gateway.instance_facts import Identity, NotIndexable, read_facts
from gateway.merges import merge
from gateway.part10 import read_part10
from gateway.quarantine import Finding, keep, list_open
from gateway.quarantine_decisions import Action, Decision, resolve
from gateway.tables import Instance, PatientIdentifier, Quarantine, QuarantineKind
from timepoint_fhir.errors import FhirError, FhirRejected
from timepoint_fhir.patient_lookup import Identifier, KnownPatient, PatientLookup

ACTOR = "identity-server"
_ASKED = "asked_identity_server"
_log = structlog.get_logger()


def look_up_due(gateway: Gateway, limit: int = 20) -> int:
    """Ask about what was not asked yet; returns how many questions were answered. Off without `lookup.base_url`."""
    options = gateway.settings.lookup
    if not options.base_url:
        return 0
    with read_scope(gateway.database) as session:
        identifiers, items = _new_identifiers(gateway, session, limit), _without_issuer(session, limit)
    if not identifiers and not items:
        return 0
    token = options.token_file.read_text(encoding="utf-8").strip() if options.token_file else None
    answered = 0
    try:
        with PatientLookup(options.base_url, token, options.timeout_s) as server:
            for row in identifiers:
                _cross_reference(gateway, row, _same_person(gateway, server, row))
                answered += 1
            for item in items:
                _fill_in(gateway, item, server)
                answered += 1
    except FhirError as trouble:  # its message may quote what was asked
        _log.warning("the identity server does not answer", error=type(trouble).__name__, answered=answered)
    return answered


def _new_identifiers(gateway: Gateway, session: Session, limit: int) -> Sequence[PatientIdentifier]:
    known = list(_systems(gateway))
    query = (
        select(PatientIdentifier)
        .where(col(PatientIdentifier.looked_up_at).is_(None), col(PatientIdentifier.issuer).in_(known))
        .order_by(col(PatientIdentifier.id))
        .limit(limit)
    )
    return session.exec(query).all()


def _same_person(gateway: Gateway, server: PatientLookup, row: PatientIdentifier) -> tuple[PatientId, ...]:
    """The other IDs of the person, of issuers that this site knows; none where the server refuses the question."""
    systems = _systems(gateway)
    issuers = {system: issuer for issuer, system in systems.items()}
    try:
        told = server.same_person(Identifier(systems[row.issuer], row.patient_id))
    except FhirRejected:
        _log.warning("the identity server refused a question", question="ihe-pix")
        return ()
    return tuple(PatientId(one.value, issuers[one.system]) for one in told if one.system in issuers)


def _cross_reference(gateway: Gateway, row: PatientIdentifier, others: Sequence[PatientId]) -> None:
    with session_scope(gateway.database) as session:
        asked = session.get_one(PatientIdentifier, row.id)
        asked.looked_up_at = utc_now()
        session.add(asked)
        session.flush()
        for other in others:
            mine = stated_person(session, row.patient_id, row.issuer)
            known = stated_person(session, other.patient_id, other.issuer)
            if mine is None or known is None or mine == known:
                continue
            surviving, retired = _older_first(session, mine, known)
            if gateway.settings.lookup.merge:
                merge(session, surviving, retired, ACTOR)
            else:
                _ask_a_person(session, surviving, retired)


def _older_first(session: Session, one: str, other: str) -> tuple[str, str]:
    """The record that was met first is the one that stays."""
    query = select(PatientIdentifier.patient_key).where(col(PatientIdentifier.patient_key).in_([one, other]))
    first = session.exec(query.order_by(col(PatientIdentifier.id)).limit(1)).one()
    return (one, other) if first == one else (other, one)


def _ask_a_person(session: Session, surviving: str, retired: str) -> None:
    reason = "The identity server says that two records are one patient."
    detail = {"surviving": surviving, "retired": retired}
    keep(session, Finding(QuarantineKind.PATIENT_MERGE, reason, dedup=f"{surviving}:{retired}", detail=detail))


def _without_issuer(session: Session, limit: int) -> list[Quarantine]:
    items = list_open(session, kind=QuarantineKind.MISSING_PATIENT_ID)
    return [item for item in items if item.study_key and not item.detail.get(_ASKED)][:limit]


def _fill_in(gateway: Gateway, item: Quarantine, server: PatientLookup) -> None:
    """Assign a study whose patient ID came without issuer, where the server knows one patient with that number and
    nothing speaks against it."""
    stated = _stated(gateway, str(item.study_key))
    found: PatientId | None = None
    if stated is not None and stated.patient_id and not stated.issuer:
        try:
            found = _only(_systems(gateway), server.patients_with(stated.patient_id), stated)
        except FhirRejected:
            _log.warning("the identity server refused a question", question="pdq")
    rules = ArrivalRules.from_settings(gateway.settings)
    with session_scope(gateway.database) as session:
        row = session.get_one(Quarantine, item.quarantine_key)
        row.detail = {**row.detail, _ASKED: utc_now().isoformat(timespec="seconds")}
        session.add(row)
        if found is None or row.resolved_at is not None:
            return
        decision = Decision(Action.ASSIGN, ACTOR, found.patient_id, found.issuer)
        try:
            resolve(session, row.quarantine_key, decision, gateway.received, rules)
        except NotAllowed:
            _log.warning("a study could not be assigned", study_key=item.study_key)
            raise


def _stated(gateway: Gateway, study_key: str) -> Identity | None:
    """The patient as the images of a study state it; None where they cannot be read or differ."""
    with read_scope(gateway.database) as session:
        blobs = session.exec(select(Instance.blob).where(Instance.study_key == study_key)).all()
    stated = {_read(gateway.received, blob) for blob in blobs}
    return stated.pop() if len(stated) == 1 else None


def _read(received: BlobStore, blob: str) -> Identity | None:
    try:
        return read_facts(read_part10(received.read(blob)))[0].identity
    except (NotIndexable, Unreadable, BlobMissing, BlobDamaged):
        return None


def _only(systems: dict[str, str], patients: Sequence[KnownPatient], stated: Identity) -> PatientId | None:
    """The one ID that the server has for a number; None where there are several, or the birth date is another."""
    issuers = {system: issuer for issuer, system in systems.items()}
    plain = " ".join(stated.patient_id.split())
    ids = set(chain.from_iterable(p.identifiers for p in patients))
    fitting = {i for i in ids if i.system in issuers and i.value == plain}
    born = {p.birth_date.replace("-", "") for p in patients if p.birth_date}
    if len(patients) != 1 or len(fitting) != 1 or (born and stated.birth_date and stated.birth_date not in born):
        return None
    (one,) = fitting
    return PatientId(one.value, issuers[one.system])


def _systems(gateway: Gateway) -> dict[str, str]:
    """Identifier systems of the server by normalised issuer."""
    rules = IssuerRules.from_settings(gateway.settings.dicom, gateway.settings.identity)
    return {rules.canonical(issuer): system for issuer, system in gateway.settings.lookup.systems.items()}

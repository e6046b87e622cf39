"""What a person may do with studies and patients, from the command line and from the pages alike; all audited."""

from __future__ import annotations

from typing import Any

from gateway import audit, clinical_facts
from gateway.arrivals import ArrivalRules
from gateway.completion import complete_study, hold_study
from gateway.context import Gateway
from gateway.courier import replay
from gateway.database import session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.identity import survivor_of
from gateway.overview import find_study
from gateway.ownership import family_of
from gateway.quarantine import show
from gateway.quarantine_decisions import Decision, resolve
from gateway.release_ledger import Recall, withdraw
from gateway.stages.refolding import refold
from gateway.tables import Outbox, Patient, Study, StudyState
from longitudinal.types import TumourType


def complete(gateway: Gateway, key_or_uid: str, actor: str) -> int:
    """Close a study as it is; returns its new revision."""
    with session_scope(gateway.database) as session:
        return complete_study(session, find_study(session, key_or_uid).study_key, actor)


def hold(gateway: Gateway, key_or_uid: str, actor: str, on: bool = True) -> None:
    """Hold a study back whatever its timer says, or let it go again."""
    with session_scope(gateway.database) as session:
        hold_study(session, find_study(session, key_or_uid).study_key, actor, on)


def replay_study(gateway: Gateway, key_or_uid: str, actor: str) -> str:
    """Try again what failed: the deliveries that were given up, else the study's whole way as a new revision.

    Returns a sentence that tells which.

    Raises:
        NotFound: for an unknown study.
        NotAllowed: for a study that is still on its way or waits for a decision.
    """
    with session_scope(gateway.database) as session:
        study = find_study(session, key_or_uid)
        study_key, state = study.study_key, study.state
        audit.append(session, actor=actor, action="study.replay", subject=study_key)
    again = replay(gateway, study_key)
    if again:
        return f"{again} deliveries are due again."
    if state not in (StudyState.FAILED, StudyState.PUBLISHED, StudyState.DELIVERED, StudyState.ENCODED):
        raise NotAllowed(f"Study {study_key} is {state.value}: there is nothing to replay.")
    with session_scope(gateway.database) as session:
        study = session.get_one(Study, study_key)
        study.revision += 1
        study.state, study.reason = StudyState.COMPLETE, ""
        session.add(study)
        session.add(
            Outbox(
                job=f"study-{study_key}-{study.revision}",
                kind="study",
                payload={"study_key": study_key, "revision": study.revision},
            )
        )
    return f"Study {study_key} goes its whole way again as revision {study.revision}."


def opt_out(gateway: Gateway, patient_key: str, actor: str, out: bool = True) -> list[Recall]:
    """Keep a patient's history out of every future export, or let it in again.

    Returns the past releases that hold the person: they are to be recalled, and one without the person is queued.
    """
    with session_scope(gateway.database) as session:
        patient = session.get(Patient, patient_key)
        if patient is None:
            raise NotFound(f"patient {patient_key}")
        patient.opted_out = out
        session.add(patient)
        audit.append(session, actor=actor, action="patient.opt-out" if out else "patient.opt-in", subject=patient_key)
        session.flush()
        return withdraw(session, [p.patient_key for p in family_of(session, patient_key)], actor) if out else []


def set_tumour_type(gateway: Gateway, patient_key: str, kind: TumourType, actor: str) -> None:
    """State the tumour type of a patient: it decides which region is followed, so the record is folded anew."""
    with session_scope(gateway.database) as session:
        patient = session.get(Patient, patient_key)
        if patient is None:
            raise NotFound(f"patient {patient_key}")
        patient.tumour_type = kind.value
        session.add(patient)
        session.flush()
        audit.append(
            session, actor=actor, action="patient.tumour-type", subject=patient_key, detail={"type": kind.value}
        )
        refold(session, survivor_of(session, patient_key), changed=None)


def add_treatment(gateway: Gateway, patient_key: str, values: dict[str, Any], actor: str) -> str:
    """State a treatment of a patient; returns its key (see `clinical_facts.add_treatment`)."""
    with session_scope(gateway.database) as session:
        key = clinical_facts.add_treatment(session, patient_key, values, actor)
        refold(session, patient_key, changed=None)
    return key


def take_back_treatment(gateway: Gateway, treatment_key: str, actor: str) -> None:
    """Take back a treatment that was stated wrongly.

    Raises:
        NotFound: when there is none of this key.
    """
    with session_scope(gateway.database) as session:
        refold(session, survivor_of(session, clinical_facts.take_back_treatment(session, treatment_key, actor)), None)


def state_facts(gateway: Gateway, patient_key: str, values: dict[str, Any], actor: str) -> None:
    """State tumour markers of a patient (see `clinical_facts.state_facts`)."""
    with session_scope(gateway.database) as session:
        clinical_facts.state_facts(session, patient_key, values, actor)
        refold(session, patient_key, changed=None)


def resolve_item(gateway: Gateway, quarantine_key: str, decision: Decision) -> None:
    """Carry out a person's decision on an item, with everything that follows from it.

    Raises:
        NotFound: for an unknown key.
        NotAllowed: when the item is settled already, or its kind does not admit the action.
    """
    rules = ArrivalRules.from_settings(gateway.settings)
    with session_scope(gateway.database) as session:
        resolve(session, quarantine_key, decision, gateway.received, rules)


def complete_item(gateway: Gateway, quarantine_key: str, actor: str) -> int:
    """Settle an item by closing its study as it is; returns the new revision.

    Raises:
        NotAllowed: when the item belongs to no study, or waits for another decision.
    """
    with session_scope(gateway.database) as session:
        item = show(session, quarantine_key)
        if item.resolved_at is not None:
            raise NotAllowed(f"Item {quarantine_key} was settled already ({item.resolution}).")
        if item.study_key is None:
            raise NotAllowed(f"Item {quarantine_key} belongs to no study: it can only be discarded.")
        return complete_study(session, item.study_key, actor)

"""Whose a study is: by a person's decision, else by the identifier it arrived with, in both cases through all merges.

Nothing moves when records are merged: identifiers and decisions stay where they were made, a merge is an edge from one
patient to another, and `study.patient_key` is computed from the three. Taking the edge away therefore restores what
was there before, and gives each study that came in between to the patient whose identifier it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from gateway.errors import NotFound
from gateway.identity import survivor_of
from gateway.identity_tables import StudyAssignment
from gateway.tables import Patient, PatientIdentifier, Study


def lock_patients(session: Session, patient_keys: Iterable[str]) -> list[Patient]:
    """The rows of patients, read anew and held until the end of the transaction, always in the same order.

    Whoever changes what belongs to a patient holds its row; arrivals read it under a lock that waits for this one.

    Raises:
        NotFound: for an unknown key.
    """
    found = []
    for key in sorted(set(patient_keys)):
        query = select(Patient).where(Patient.patient_key == key).with_for_update(key_share=True)
        patient = session.exec(query.execution_options(populate_existing=True)).one_or_none()
        if patient is None:
            raise NotFound(f"patient {key}")
        found.append(patient)
    return found


def home_of(session: Session, study: Study) -> str | None:
    """The patient a study belongs to without any merge; None where its images state no patient."""
    decided = session.get(StudyAssignment, study.study_key)
    return decided.patient_key if decided else stated_patient(session, study)


def stated_patient(session: Session, study: Study) -> str | None:
    """The patient whose identifier the images state (or a person filled in where they state none)."""
    stated = study.identity.get("normalised")
    if not stated:
        return None
    patient_id, issuer = stated
    query = select(PatientIdentifier.patient_key).where(
        PatientIdentifier.patient_id == patient_id, PatientIdentifier.issuer == issuer
    )
    return session.exec(query).first()


def owner_of(session: Session, study: Study) -> str | None:
    """The patient a study belongs to now."""
    home = home_of(session, study)
    return survivor_of(session, home) if home else study.patient_key


def family_of(session: Session, patient_key: str) -> list[Patient]:
    """The record that stands and all that were merged into it, the surviving one first, then in order of their keys."""
    root = survivor_of(session, patient_key)
    family, waiting = [session.get_one(Patient, root)], [root]
    while waiting:
        query = select(Patient).where(Patient.merged_into == waiting.pop()).order_by(col(Patient.patient_key))
        merged = session.exec(query).all()
        family += merged
        waiting += [p.patient_key for p in merged]
    return family


def identifiers_in(session: Session, patient_keys: Iterable[str]) -> Sequence[PatientIdentifier]:
    """The identifiers that patients came with, in the order they were met."""
    query = select(PatientIdentifier).where(col(PatientIdentifier.patient_key).in_(list(patient_keys)))
    return session.exec(query.order_by(col(PatientIdentifier.id))).all()


def opted_out(session: Session, patient_key: str) -> bool:
    """Consent is a person's: a record of the person that opted out keeps all of them out."""
    return any(patient.opted_out for patient in family_of(session, patient_key))

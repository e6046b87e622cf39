"""The vault: what leads from a pseudonym or a mapped study UID back to the person, sealed, and audited at each opening.

A row is written with every de-identified study, under the id of the de-identification key that made its pseudonyms.
So a release stays resolvable after the key was rotated, and for good unresolvable once that key and its rows were
destroyed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, func, select

from deidentify.keys import KeyRing
from gateway import audit
from gateway.context import Gateway
from gateway.database import insert_or_ignore, session_scope
from gateway.errors import NotAllowed, NotFound, SettingsError
from gateway.ownership import identifiers_in
from gateway.tables import Patient, VaultEntry
from gateway.vault_key import VaultKey

PERSON, STUDY = "person", "study"
_BATCH = 500


def remember(
    session: Session, key: VaultKey, keys: KeyRing, patient: Patient, study_uid: str, uids: Mapping[str, str]
) -> None:
    """Record a de-identified study: whose pseudonym it has, and its UIDs. `uids`: new UID to original. Repeating it
    changes nothing."""
    surrogate = bytes.fromhex(patient.surrogate)
    person = {"patient_key": patient.patient_key, "shift_days": keys.date_shift_days(surrogate)}
    _put(session, key, keys, patient, PERSON, keys.pseudonym(surrogate), person)
    study = {"patient_key": patient.patient_key, "study_instance_uid": study_uid, "uids": dict(uids)}
    _put(session, key, keys, patient, STUDY, keys.uid(study_uid), study)


def _put(
    session: Session, key: VaultKey, keys: KeyRing, patient: Patient, kind: str, pseudonym: str, content: dict[str, Any]
) -> None:
    name = _name(keys)
    plain = json.dumps(content, sort_keys=True).encode()
    where = (VaultEntry.key_id == name, VaultEntry.kind == kind, VaultEntry.pseudonym == pseudonym)
    known = session.exec(select(VaultEntry).where(*where)).one_or_none()
    if known is None:
        sealed = key.seal(plain, _context(name, kind, pseudonym))
        row = VaultEntry(patient_key=patient.patient_key, key_id=name, kind=kind, pseudonym=pseudonym, sealed=sealed)
        if insert_or_ignore(session, row):
            return
        known = session.exec(select(VaultEntry).where(*where)).one()
    if key.open(known.sealed, _context(name, kind, pseudonym)) != plain:
        known.sealed, known.patient_key = key.seal(plain, _context(name, kind, pseudonym)), patient.patient_key
        session.add(known)


def _name(keys: KeyRing) -> str:
    """Key version and project: what a pseudonym is unique under."""
    return f"{keys.key_id}/{keys.project}"[:64]


def _context(key_id: str, kind: str, pseudonym: str) -> str:
    return f"{key_id}\0{kind}\0{pseudonym}"


@dataclass(frozen=True)
class Reidentified:
    """Whom a pseudonym or a mapped study UID stands for."""

    patient_key: str
    key_id: str
    kind: str
    identifiers: tuple[tuple[str, str], ...]
    study_instance_uid: str = ""


def reidentify(gateway: Gateway, pseudonym: str, actor: str, reason: str) -> list[Reidentified]:
    """The person behind a pseudonym or a mapped Study Instance UID, under each key version that knows it.

    The attempt is in the audit trail whether it finds anybody or not. Raises `NotAllowed` without a reason, `NotFound`.
    """
    if not reason.strip():
        raise NotAllowed("A reason is needed to look up who is behind a pseudonym; it stays in the audit trail.")
    with session_scope(gateway.database) as session:
        rows = session.exec(select(VaultEntry).where(VaultEntry.pseudonym == pseudonym)).all()
        found = [_opened(session, gateway.vault_key, row) for row in rows]
        detail = {"reason": reason[:200], "found": len(found), "keys": sorted({f.key_id for f in found})}
        subject = found[0].patient_key if found else ""
        audit.append(session, actor=actor, action="vault.reidentify", subject=subject, detail=detail)
    if not found:
        raise NotFound("this pseudonym")
    return found


def _opened(session: Session, key: VaultKey, row: VaultEntry) -> Reidentified:
    content = json.loads(key.open(row.sealed, _context(row.key_id, row.kind, row.pseudonym)))
    owner = str(content["patient_key"])
    identifiers = tuple((who.patient_id, who.issuer) for who in identifiers_in(session, [owner]))
    return Reidentified(owner, row.key_id, row.kind, identifiers, str(content.get("study_instance_uid", "")))


def status(gateway: Gateway) -> dict[str, Any]:
    """Counts by key version, and which keys are in use; no values."""
    with session_scope(gateway.database) as session:
        counted = session.exec(
            select(VaultEntry.key_id, VaultEntry.kind, func.count()).group_by(VaultEntry.key_id, VaultEntry.kind)
        ).all()
    versions: dict[str, dict[str, int]] = {}
    for key_id, kind, count in counted:
        versions.setdefault(key_id, {})[kind] = count
    return {"key": _name(gateway.keys), "vault_key": gateway.vault_key.current, "versions": versions}


def reseal(gateway: Gateway, actor: str) -> int:
    """A new vault key for all rows; pseudonyms and surrogates stay. Returns how many rows were sealed anew.

    First the file holds both keys, last the new one alone: cut off in between, it is finished by another run.
    """
    key = gateway.vault_key.with_successor()
    count, after = 0, 0
    with session_scope(gateway.database) as session:
        query = select(VaultEntry).order_by(col(VaultEntry.id)).limit(_BATCH)
        while rows := session.exec(query.where(col(VaultEntry.id) > after)).all():
            for row in rows:
                context = _context(row.key_id, row.kind, row.pseudonym)
                row.sealed = key.seal(key.open(row.sealed, context), context)
                session.add(row)
                count, after = count + 1, row.id or 0
            session.flush()
        audit.append(session, actor=actor, action="vault.reseal", subject=key.current, detail={"rows": count})
    gateway.replace_vault_key(key.without_predecessors())
    return count


def rotate(gateway: Gateway, actor: str) -> tuple[str, str]:
    """A new de-identification key for what is released from now on; returns the ids of the former and the new one.

    The former key file is kept beside it as `<name>.<key id>`: its releases stay resolvable until it is destroyed.
    """
    file = gateway.settings.deidentify.key_file
    if file is None:
        raise SettingsError("deidentify.key_file is empty.")
    former = gateway.keys.key_id
    file.rename(retired_file(gateway, former))
    made = KeyRing.create(file)
    with session_scope(gateway.database) as session:
        audit.append(session, actor=actor, action="keys.rotate", subject=made.key_id, detail={"former": former})
    gateway.forget_keys()
    return former, made.key_id


def destroy(gateway: Gateway, key_id: str, actor: str) -> int:
    """Destroy a retired de-identification key and every row of the vault under it: what was released with it is
    anonymous from then on. Returns how many rows went.

    Raises `NotAllowed` for the key in use, `NotFound` for one that was never used here.
    """
    if key_id == gateway.keys.key_id:
        raise NotAllowed("This key is in use: rotate first, then destroy the former one.")
    file = retired_file(gateway, key_id)
    with session_scope(gateway.database) as session:
        own = col(VaultEntry.key_id).startswith(f"{key_id}/", autoescape=True)
        count = int(session.exec(select(func.count()).select_from(VaultEntry).where(own)).one())
        if count == 0 and not file.exists():
            raise NotFound("this key")
        session.connection().execute(sa.delete(VaultEntry).where(own))
        audit.append(session, actor=actor, action="keys.destroy", subject=key_id, detail={"rows": count})
        if file.exists():
            file.chmod(0o600)
            file.write_bytes(bytes(file.stat().st_size))
            file.unlink()
    gateway.forget_keys()
    return count


def retired_file(gateway: Gateway, key_id: str) -> Any:
    """Where a de-identification key lies after its rotation."""
    file = gateway.settings.deidentify.key_file
    if file is None:
        raise SettingsError("deidentify.key_file is empty.")
    return file.with_name(f"{file.name}.{key_id}")

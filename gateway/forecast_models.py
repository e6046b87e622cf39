"""Which forecaster is in use: install, promote after a passed gate, go back, fall back. One row of a kind is active.

A promotion needs the report of a gate that says so and a named person; the switch is one transaction and the folder
of the model before stays, so going back is one command. No active row means the forecaster that ships.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from gateway.audit import append
from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.tables import Model
from inference.forecast.model import KIND
from inference.model_folder import SHIPPED_MODELS, read_model_folder

FALLBACK = "forecast-fallback"
"""The shipped forecaster that is the last value with empirical quantiles."""

FEWEST_SHADOWED = 30
_PROMOTE = "promote"


def install(gateway: Gateway, folder: Path, actor: str) -> Model:
    """Copy a forecaster's folder into the data folder and enter it, not active.

    Raises:
        ModelFolderError: when the folder is incomplete, damaged or of another kind.
        NotAllowed: when a model of this name and version is installed with other weights.
    """
    found = read_model_folder(folder, KIND)
    name, version, digest = found.identity.name, found.identity.version, found.identity.weights_sha256
    with session_scope(gateway.database) as session:
        row = _find(session, name, version)
        if row is not None:
            if row.weights_sha256 != digest:
                raise NotAllowed(f"{name} {version} is installed with other weights: give the new one another version.")
            return row
        kept = _keep(gateway, folder, f"{name}-{version}-{digest[:8]}")
        row = Model(kind=KIND, name=name, version=version, weights_sha256=digest, folder=str(kept), card={"gates": []})
        session.add(row)
        append(session, actor=actor, action="model.install", subject=name, detail={"version": version})
        return row


def record_gate(gateway: Gateway, name: str, report: Mapping[str, Any], actor: str) -> None:
    """Keep the report of a gate with its challenger; every one counts in the next test.

    Raises:
        NotFound: when the challenger is not installed.
        NotAllowed: when the report is about other weights.
    """
    with session_scope(gateway.database) as session:
        row = _named(session, name)
        if report["challenger"]["weights_sha256"] != row.weights_sha256:
            raise NotAllowed(f"The gate's report is about other weights than those of {name}.")
        row.card = {**row.card, "gates": [*row.card.get("gates", []), dict(report)]}
        session.add(row)
        append(session, actor=actor, action="model.gate", subject=name, detail={"verdict": report["verdict"]})


def tests_so_far(session: Session) -> int:
    """How many gates have been held over all forecasters."""
    rows = session.exec(select(Model).where(Model.kind == KIND)).all()
    return sum(len(row.card.get("gates", [])) for row in rows)


def promote(gateway: Gateway, name: str, actor: str, shadowed: int) -> Model:
    """Put an installed forecaster into use.

    `shadowed` is the number of outcomes that it was run beside the one in use for.

    Raises:
        NotFound: when it is not installed.
        NotAllowed: without a gate that says "promote", or with fewer than 30 outcomes in its shadow run.
    """
    with session_scope(gateway.database) as session:
        row = _named(session, name)
        gates = row.card.get("gates", [])
        if not gates or gates[-1]["verdict"] != _PROMOTE:
            said = f"its last gate says {gates[-1]['verdict']!r}" if gates else "no gate was held for it"
            raise NotAllowed(f"{name} is not promoted: {said}. Run: timepoint models gate {name} --data FILE")
        if shadowed < FEWEST_SHADOWED:
            raise NotAllowed(
                f"{name} is not promoted: its shadow run has {shadowed} outcomes, {FEWEST_SHADOWED} are needed."
            )
        return _activate(session, row, actor, "model.promote")


def rollback(gateway: Gateway, actor: str) -> str:
    """Go back to the forecaster that was in use before; returns its name.

    Raises:
        NotAllowed: when the one that ships is in use already.
    """
    with session_scope(gateway.database) as session:
        now = active(session)
        if now is None:
            raise NotAllowed("The forecaster that ships is in use: there is nothing to go back to.")
        earlier = select(Model).where(Model.kind == KIND, col(Model.promoted_at) < now.promoted_at)
        before = session.exec(earlier.order_by(col(Model.promoted_at).desc())).first()
        now.active, now.promoted_at = False, None
        session.add(now)
        session.flush()
        if before is not None:
            before.active = True
            session.add(before)
        name = before.name if before else "the one that ships"
        append(session, actor=actor, action="model.rollback", subject=now.name, detail={"to": name})
        return name


def fall_back(gateway: Gateway, reason: str, actor: str = "gateway") -> None:
    """Take the forecaster in use out of it and forecast by the last value until a person decides otherwise."""
    found = read_model_folder(SHIPPED_MODELS / FALLBACK, KIND)
    with session_scope(gateway.database) as session:
        row = _find(session, found.identity.name, found.identity.version)
        if row is None:
            row = Model(
                kind=KIND,
                name=found.identity.name,
                version=found.identity.version,
                weights_sha256=found.identity.weights_sha256,
                folder=str(SHIPPED_MODELS / FALLBACK),
                card={"gates": []},
            )
            session.add(row)
        _activate(session, row, actor, "model.demote", {"reason": reason[:200]})


def folder_of(session: Session, name: str) -> Path:
    """The folder of an installed forecaster.

    Raises:
        NotFound: when it is not installed.
    """
    return Path(_named(session, name).folder)


def active(session: Session) -> Model | None:
    """The forecaster in use; None is the one that ships."""
    return session.exec(select(Model).where(Model.kind == KIND, col(Model.active).is_(True))).first()


def _activate(session: Session, row: Model, actor: str, action: str, detail: Mapping[str, Any] | None = None) -> Model:
    for other in session.exec(select(Model).where(Model.kind == KIND, col(Model.active).is_(True))).all():
        other.active = False
        session.add(other)
    session.flush()
    row.active, row.promoted_at = True, utc_now()
    session.add(row)
    append(session, actor=actor, action=action, subject=row.name, detail={"version": row.version, **(detail or {})})
    return row


def _named(session: Session, name: str) -> Model:
    rows = select(Model).where(Model.kind == KIND, Model.name == name).order_by(col(Model.created_at).desc())
    row = session.exec(rows).first()
    if row is None:
        raise NotFound(f"model {name}: install it with `timepoint models add FOLDER`")
    return row


def _find(session: Session, name: str, version: str) -> Model | None:
    return session.exec(select(Model).where(Model.kind == KIND, Model.name == name, Model.version == version)).first()


def _keep(gateway: Gateway, folder: Path, name: str) -> Path:
    """A copy in the data folder, whole or not at all."""
    target = gateway.models_folder / name
    gateway.models_folder.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        part = target.with_name(f".{name}.partial-copy")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder, part)
        part.replace(target)
    return target

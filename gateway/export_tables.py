"""Tables of what left the hospital: each release a link of a chain, and what was withdrawn from it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Field

from gateway.column_types import Json, UtcDateTime, utc_now
from gateway.tables import Row


class Release(Row, table=True):
    """One link of the chain of releases; `hash` covers the link and the hash before it (`gateway.release_ledger`).

    `statement` is what the manifest says of the release. `members` maps patient keys to their ids in the file: it
    stays in the hospital.
    """

    __tablename__ = "history_release"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    export_key: str = Field(unique=True, max_length=16, foreign_key="export_ledger.export_key")
    members: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    statement: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    previous: str = Field(max_length=64)
    hash: str = Field(max_length=64)


class Withdrawal(Row, table=True):
    """A release that holds a patient who withdrew; one row for each release, never taken back."""

    __tablename__ = "release_withdrawal"

    id: int | None = Field(default=None, primary_key=True)
    export_key: str = Field(index=True, max_length=16, foreign_key="export_ledger.export_key")
    patient_key: str = Field(index=True, max_length=16)
    pid: str = Field(max_length=32)
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    actor: str = Field(max_length=64)

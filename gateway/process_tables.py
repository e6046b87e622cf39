"""Rows about what runs: open associations and living processes."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field

from gateway.column_types import UtcDateTime, utc_now
from gateway.tables import Row


class OpenAssociation(Row, table=True):
    """An association that carries images of a study; `broke_at` is set when it ended without a release."""

    __tablename__ = "open_association"

    association_key: str = Field(primary_key=True, max_length=16)
    study_key: str = Field(primary_key=True, foreign_key="study.study_key", max_length=16, index=True)
    source_ae: str = Field(default="", max_length=16)
    host: str = Field(default="", max_length=255)
    pid: int = 0
    opened_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    broke_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class WorkerBeat(Row, table=True):
    """Sign of life of a process; work of one that fell silent is taken over.

    `indexed_until` of a receiver: everything that it acknowledged before this moment is in the rows.
    """

    __tablename__ = "worker_beat"

    executor_id: str = Field(primary_key=True, max_length=64)
    role: str = Field(default="", max_length=32)
    host: str = Field(default="", max_length=255)
    pid: int = 0
    at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    started_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    indexed_until: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)

"""Rows about what archives say and are asked: storage commitment, image counts, priors.

They belong to the same schema as `gateway.tables`.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from gateway.column_types import Json, UtcDateTime, utc_now, words
from gateway.tables import Row


class CommitmentState(StrEnum):
    """How far a storage commitment transaction has come."""

    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


class Commitment(Row, table=True):
    """A storage commitment transaction: the instances that one destination was asked to take responsibility for.

    Written before the request goes out, so that a report finds it whichever process it reaches, and after a restart.
    """

    __tablename__ = "commitment"
    __table_args__ = (Index("ix_commitment_study_key_revision", "study_key", "revision"),)

    transaction_uid: str = Field(primary_key=True, max_length=64)
    destination: str = Field(max_length=64)
    study_key: str = Field(foreign_key="study.study_key")
    revision: int
    instances: list[str] = Field(default_factory=list, sa_type=Json)
    state: CommitmentState = Field(default=CommitmentState.ASKED, sa_type=words(CommitmentState))
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    asked_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    answered_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ArchiveCount(Row, table=True):
    """How many MR images of a study the sender's archive says it holds: `series` maps Series Instance UIDs to counts,
    None until it has answered. `ask_at` is the time of the next question, None where none is due.
    """

    __tablename__ = "archive_count"

    study_key: str = Field(primary_key=True, foreign_key="study.study_key", max_length=16)
    archive: str = Field(default="", max_length=64)
    series: dict[str, int] | None = Field(default=None, sa_type=Json)
    problem: str = ""
    first_asked_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    asked_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ask_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class PriorState(StrEnum):
    """How far an earlier study of a patient has come on its way here."""

    WANTED = "wanted"
    ASKED = "asked"
    ARRIVED = "arrived"
    INCOMPLETE = "incomplete"


class SearchState(StrEnum):
    """How far the search for the earlier studies of a patient has come."""

    DUE = "due"
    FETCHING = "fetching"
    DONE = "done"
    FAILED = "failed"


class PriorSearch(Row, table=True):
    """The one search for the earlier studies of a patient who was new with `study_key`. `counts` tells what the
    archive has and why it was or was not fetched."""

    __tablename__ = "prior_search"
    __table_args__ = (Index("ix_prior_search_state_next_try", "state", "next_try"),)

    patient_key: str = Field(primary_key=True, foreign_key="patient.patient_key", max_length=16)
    study_key: str = Field(foreign_key="study.study_key", max_length=16, index=True)
    state: SearchState = Field(default=SearchState.DUE, sa_type=words(SearchState))
    counts: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    problem: str = ""
    attempts: int = 0
    next_try: dt.datetime | None = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class PriorStudy(Row, table=True):
    """An earlier study that is fetched: `series` maps the Series Instance UIDs that are asked for to their counts."""

    __tablename__ = "prior_study"
    __table_args__ = (Index("ix_prior_study_state_next_try", "state", "next_try"),)

    study_instance_uid: str = Field(primary_key=True, max_length=64)
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    acquired: dt.date
    series: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    state: PriorState = Field(default=PriorState.WANTED, sa_type=words(PriorState))
    arrived: int = 0
    problem: str = ""
    attempts: int = 0
    next_try: dt.datetime | None = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

"""Rows about who is who: merged records, studies that changed their patient, and the HL7 messages that said so.

They belong to the same schema as `gateway.tables`.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from gateway.column_types import Json, UtcDateTime, new_key, utc_now, words
from gateway.tables import Row


class Cause(StrEnum):
    """Why a study changed its patient."""

    MERGE = "merge"
    UNMERGE = "unmerge"
    MOVE = "move"

    @property
    def was_wrong(self) -> bool:
        """Whether the patient that the study had until now is another person."""
        return self is not Cause.MERGE


class PatientMerge(Row, table=True):
    """Two records of one person made one. The rows of both stay; `patient.merged_into` leads to the survivor until
    the merge is unmade."""

    __tablename__ = "patient_merge"

    merge_key: str = Field(primary_key=True, max_length=16, default_factory=lambda: new_key("m"))
    surviving_key: str = Field(foreign_key="patient.patient_key", index=True)
    retired_key: str = Field(foreign_key="patient.patient_key", index=True)
    made_by: str = Field(max_length=64)
    made_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    unmade_by: str = Field(default="", max_length=64)
    unmade_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class StudyAssignment(Row, table=True):
    """A person's decision whose study it is, whatever its images state; without one their identifier decides."""

    __tablename__ = "study_assignment"

    study_key: str = Field(primary_key=True, foreign_key="study.study_key")
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    made_by: str = Field(max_length=64)
    made_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Rehoming(Row, table=True):
    """A study changed its patient: from `revision` on it is the other one's. `taken_back` are the deliveries of
    earlier revisions that were about the wrong person and are retracted."""

    __tablename__ = "rehoming"
    __table_args__ = (UniqueConstraint("study_key", "revision"),)

    id: int | None = Field(default=None, primary_key=True)
    study_key: str = Field(foreign_key="study.study_key")
    from_key: str = Field(foreign_key="patient.patient_key")
    to_key: str = Field(foreign_key="patient.patient_key")
    revision: int
    cause: Cause = Field(sa_type=words(Cause))
    taken_back: list[int] = Field(default_factory=list, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class MergedLesion(Row, table=True):
    """A lesion that came into a record by a merge: it keeps its tracking UID, and has a number of its own there."""

    __tablename__ = "merged_lesion"
    __table_args__ = (UniqueConstraint("patient_key", "number"),)

    patient_key: str = Field(primary_key=True, foreign_key="patient.patient_key")
    tracking_uid: str = Field(primary_key=True, foreign_key="lesion.tracking_uid", max_length=64)
    number: int
    tracking_id: str = Field(max_length=64)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Hl7Message(Row, table=True):
    """An HL7 v2 message that was answered. `sender` and `control_id` name it, `digest` tells the same message again
    from another one under the same control ID."""

    __tablename__ = "hl7_message"
    __table_args__ = (UniqueConstraint("sender", "control_id"),)

    id: int | None = Field(default=None, primary_key=True)
    sender: str = Field(max_length=256)
    control_id: str = Field(max_length=199)
    digest: str = Field(max_length=64)
    event: str = Field(default="", max_length=16)
    answer: str = Field(max_length=2)
    text: str = ""
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    received_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)

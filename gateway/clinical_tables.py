"""Rows about what a person has stated of a patient beside the images; they belong to the schema of `gateway.tables`."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Field

from gateway.column_types import UtcDateTime, new_key, utc_now
from gateway.tables import Row


class TreatmentRow(Row, table=True):
    """One treatment (`longitudinal.patient_history.TreatmentEvent`); one that was stated wrongly stays, with who took
    it back and when."""

    __tablename__ = "treatment"

    treatment_key: str = Field(primary_key=True, max_length=16, default_factory=lambda: new_key("t"))
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    kind: str = Field(max_length=16)
    start: dt.date
    stop: dt.date | None = None
    decided: dt.date | None = None
    agent: str | None = Field(default=None, max_length=64)
    extent: str | None = Field(default=None, max_length=8)
    planned: bool = False
    stated_by: str = Field(max_length=64)
    stated_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    taken_back_by: str = Field(default="", max_length=64)
    taken_back_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ClinicalFactsRow(Row, table=True):
    """Markers of the tumour as far as they are known."""

    __tablename__ = "clinical_facts"

    patient_key: str = Field(primary_key=True, foreign_key="patient.patient_key")
    who_grade: int | None = None
    idh: str | None = Field(default=None, max_length=8)
    mgmt: str | None = Field(default=None, max_length=8)
    codel_1p19q: bool | None = None
    stated_by: str = Field(max_length=64)
    stated_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

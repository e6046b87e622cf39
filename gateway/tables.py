"""The rows of the clinical zone (DESIGN sections 4 and 6).

`study_key` and `patient_key` are our own random keys: URLs, logs and file names use them, never a DICOM value.
Every row carries UTC times. What must happen once is held by a unique constraint, not by care.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, Integer, MetaData, UniqueConstraint
from sqlmodel import Field, SQLModel

from gateway.column_types import Json, UtcDateTime, new_key, utc_now, words
from gateway.states import DeliveryState as DeliveryState
from gateway.states import InstanceRole as InstanceRole
from gateway.states import QuarantineKind as QuarantineKind
from gateway.states import StudyState as StudyState

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts rows up only in INTEGER keys


class Row(SQLModel):
    """Base of all tables."""

    metadata: ClassVar[MetaData] = METADATA


class Patient(Row, table=True):
    """A person. `surrogate` is 128 random bits in hex: pseudonym and date shift derive from it, identifiers do not.

    `merged_into` names the surviving record after a merge; the row stays, so that a merge can be undone.
    """

    __tablename__ = "patient"

    patient_key: str = Field(primary_key=True, max_length=16, default_factory=lambda: new_key("p"))
    surrogate: str = Field(unique=True, max_length=32)
    merged_into: str | None = Field(default=None, foreign_key="patient.patient_key", index=True)
    opted_out: bool = False
    tumour_type: str | None = Field(default=None, max_length=16)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(
        default_factory=utc_now, sa_type=UtcDateTime, sa_column_kwargs={"onupdate": utc_now}
    )


class PatientIdentifier(Row, table=True):
    """A patient ID under its issuer, both normalised (`gateway.identity`); the unique key makes first contact safe.

    `patient_key` is whose it was at first contact and never changes: merges are edges between patients, so that they
    can be undone. `looked_up_at` is when an identity server was asked about it (`gateway.identity_lookup`).
    """

    __tablename__ = "patient_identifier"
    __table_args__ = (UniqueConstraint("patient_id", "issuer"),)

    id: int | None = Field(default=None, primary_key=True)
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    patient_id: str = Field(max_length=64)
    issuer: str = Field(default="", max_length=255)
    looked_up_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class VaultEntry(Row, table=True):
    """What leads from a pseudonymous value back to the original (UIDs, snapshots); `sealed` is encrypted, its key is
    not in this database. `kind` and `pseudonym` are unique together under `key_id`."""

    __tablename__ = "vault"
    __table_args__ = (UniqueConstraint("key_id", "kind", "pseudonym"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    key_id: str = Field(max_length=64)
    kind: str = Field(max_length=32)
    pseudonym: str = Field(max_length=64)
    sealed: bytes
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Study(Row, table=True):
    """A study and the state of its current revision.

    `due` is the restartable quiet-period timer: the time of the next decision about completeness; `force_due` ends the
    wait by policy. `evidence` records what made the study complete. `identity` holds the patient values as the images
    state them (clinical zone only).
    """

    __tablename__ = "study"
    __table_args__ = (Index("ix_study_state_due", "state", "due"),)

    study_key: str = Field(primary_key=True, max_length=16, default_factory=lambda: new_key("s"))
    study_instance_uid: str = Field(unique=True, max_length=64)
    patient_key: str | None = Field(default=None, foreign_key="patient.patient_key", index=True)
    state: StudyState = Field(default=StudyState.RECEIVING, sa_type=words(StudyState))
    revision: int = 0
    reason: str = ""
    evidence: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    identity: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    acquired: dt.date | None = None
    source_ae: str = Field(default="", max_length=16)
    on_hold: bool = False
    instance_count: int = 0
    first_arrival: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_arrival: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    due: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    force_due: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(
        default_factory=utc_now, sa_type=UtcDateTime, sa_column_kwargs={"onupdate": utc_now}
    )


class Series(Row, table=True):
    """A series of a study; `header` holds the facts that are the same in all its instances."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("study_key", "series_instance_uid"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    study_key: str = Field(foreign_key="study.study_key")
    series_instance_uid: str = Field(max_length=64, index=True)
    modality: str = Field(default="", max_length=16)
    header: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    instance_count: int = 0
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(
        default_factory=utc_now, sa_type=UtcDateTime, sa_column_kwargs={"onupdate": utc_now}
    )


class Instance(Row, table=True):
    """An instance as received: `blob` is the SHA-256 of the Part 10 file in the image store, `dataset_sha256` that of
    the encoded data set alone (the same instance from two senders has one of these and two of those)."""

    __tablename__ = "instance"

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    sop_instance_uid: str = Field(unique=True, max_length=64)
    sop_class_uid: str = Field(max_length=64)
    transfer_syntax_uid: str = Field(max_length=64)
    study_key: str = Field(foreign_key="study.study_key", index=True)
    series_id: int = Field(foreign_key="series.id", index=True, sa_type=_BigId)
    role: InstanceRole = Field(default=InstanceRole.IMAGE, sa_type=words(InstanceRole))
    blob: str = Field(max_length=64, index=True)
    dataset_sha256: str = Field(max_length=64)
    size_bytes: int = Field(sa_type=BigInteger)
    source_ae: str = Field(default="", max_length=16)
    header: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    received_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Quarantine(Row, table=True):
    """Something that waits for a person, with the reason and the remedy in words; the bytes, where there are any, are
    in the image store under `blob`."""

    __tablename__ = "quarantine"
    __table_args__ = (
        UniqueConstraint("dedup"),
        Index("ix_quarantine_resolved_at_created_at", "resolved_at", "created_at"),
    )

    quarantine_key: str = Field(primary_key=True, max_length=16, default_factory=lambda: new_key("q"))
    kind: QuarantineKind = Field(sa_type=words(QuarantineKind))
    reason: str
    remedy: str
    dedup: str = Field(max_length=160)
    study_key: str | None = Field(default=None, foreign_key="study.study_key", index=True)
    sop_instance_uid: str = Field(default="", max_length=64)
    blob: str | None = Field(default=None, max_length=64, index=True)
    source_ae: str = Field(default="", max_length=16)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    resolved_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    resolved_by: str = Field(default="", max_length=64)
    resolution: str = Field(default="", max_length=32)


class Analysis(Row, table=True):
    """The analysis of one study revision; masks and measurements lie in the research zone, `labels_sha256` is the
    hash of the label map there. `detail` names the de-identified series that were used, by contrast."""

    __tablename__ = "analysis"
    __table_args__ = (UniqueConstraint("study_key", "revision"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    study_key: str = Field(foreign_key="study.study_key")
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    revision: int
    labels_sha256: str = Field(max_length=64)
    backend: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    notes: list[str] = Field(default_factory=list, sa_type=Json)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Lesion(Row, table=True):
    """A lesion of a patient under its tracking UID, minted once; `parent_uid` after a split, `closed_into` after a
    merge of lesions."""

    __tablename__ = "lesion"
    __table_args__ = (UniqueConstraint("patient_key", "number"),)

    tracking_uid: str = Field(primary_key=True, max_length=64)
    patient_key: str = Field(foreign_key="patient.patient_key")
    number: int
    tracking_id: str = Field(max_length=64)
    first_study_key: str = Field(foreign_key="study.study_key", index=True)
    parent_uid: str | None = Field(default=None, max_length=64)
    closed_into: str | None = Field(default=None, max_length=64)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class TimePoint(Row, table=True):
    """A study revision that was applied to the record: the unique key makes the update happen once. `current` is false
    once a later revision or a retraction took its place."""

    __tablename__ = "time_point"
    __table_args__ = (
        UniqueConstraint("study_key", "revision"),
        Index("ix_time_point_patient_key_acquired", "patient_key", "acquired"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    patient_key: str = Field(foreign_key="patient.patient_key")
    study_key: str = Field(foreign_key="study.study_key")
    revision: int
    acquired: dt.date
    current: bool = True
    preliminary: bool = False
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(
        default_factory=utc_now, sa_type=UtcDateTime, sa_column_kwargs={"onupdate": utc_now}
    )


class Measurement(Row, table=True):
    """One lesion at one study revision: `value` is a `LesionMeasurement` as JSON, None where it was not found."""

    __tablename__ = "measurement"
    __table_args__ = (UniqueConstraint("study_key", "revision", "tracking_uid"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    study_key: str = Field(foreign_key="study.study_key")
    revision: int
    tracking_uid: str = Field(foreign_key="lesion.tracking_uid", index=True)
    value: dict[str, Any] | None = Field(default=None, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ForecastRow(Row, table=True):
    """The forecast made at one study revision, as JSON of `longitudinal.types.Forecast`."""

    __tablename__ = "forecast"
    __table_args__ = (UniqueConstraint("study_key", "revision"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    patient_key: str = Field(foreign_key="patient.patient_key", index=True)
    study_key: str = Field(foreign_key="study.study_key")
    revision: int
    value: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Delivery(Row, table=True):
    """One object of one study revision for one destination. `object_name` is seg, sr, forecast-sr or a FHIR bundle."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("study_key", "revision", "destination", "object_name"),
        Index("ix_delivery_state_next_try", "state", "next_try"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    study_key: str = Field(foreign_key="study.study_key")
    revision: int
    destination: str = Field(max_length=64)
    object_name: str = Field(max_length=32)
    sop_instance_uid: str = Field(default="", max_length=64, index=True)
    blob: str | None = Field(default=None, max_length=64)
    state: DeliveryState = Field(default=DeliveryState.PENDING, sa_type=words(DeliveryState))
    attempts: int = 0
    last_error: str = ""
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    next_try: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: dt.datetime = Field(
        default_factory=utc_now, sa_type=UtcDateTime, sa_column_kwargs={"onupdate": utc_now}
    )


class Outbox(Row, table=True):
    """Work to hand to the engine, written in the transaction that decided on it; `job` is the engine's job id."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_sent_at_id", "sent_at", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_BigId)
    job: str = Field(unique=True, max_length=128)
    kind: str = Field(max_length=32)
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    sent_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class Audit(Row, table=True):
    """One link of the audit trail; `hash` covers the link and the hash before it (`gateway.audit`)."""

    __tablename__ = "audit"

    seq: int = Field(primary_key=True, sa_type=_BigId, sa_column_kwargs={"autoincrement": False})
    at: dt.datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(max_length=64)
    action: str = Field(max_length=64)
    subject: str = Field(default="", max_length=64, index=True)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    previous: str = Field(max_length=64)
    hash: str = Field(max_length=64)


class Model(Row, table=True):
    """An installed model; at most one of a kind is `active`."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("kind", "name", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(max_length=32)
    name: str = Field(max_length=64)
    version: str = Field(max_length=32)
    weights_sha256: str = Field(max_length=64)
    folder: str
    active: bool = False
    card: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    promoted_at: dt.datetime | None = Field(default=None, sa_type=UtcDateTime)


class ExportLedger(Row, table=True):
    """One anonymised export: what left, in which counts, and the pseudonyms that it held."""

    __tablename__ = "export_ledger"

    export_key: str = Field(primary_key=True, max_length=16, default_factory=lambda: new_key("e"))
    since: dt.date | None = None
    folder: str = ""
    sha256: str = Field(default="", max_length=64)
    counts: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    pseudonyms: list[str] = Field(default_factory=list, sa_type=Json)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CronSlot(Row, table=True):
    """A scheduled time of a job: whoever inserts the row first runs it."""

    __tablename__ = "cron_slot"
    __table_args__ = (UniqueConstraint("job", "slot"),)

    id: int | None = Field(default=None, primary_key=True)
    job: str = Field(max_length=64)
    slot: dt.datetime = Field(sa_type=UtcDateTime)
    created_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

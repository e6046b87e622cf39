"""The words that rows use for where something stands."""

from __future__ import annotations

from enum import StrEnum


class StudyState(StrEnum):
    """Where a study revision stands (DESIGN section 4)."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    IDENTIFIED = "identified"
    DEIDENTIFIED = "deidentified"
    SEGMENTED = "segmented"
    MEASURED = "measured"
    RECORDED = "recorded"
    FORECAST = "forecast"
    ENCODED = "encoded"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    PUBLISHED = "published"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    RETRACTED = "retracted"
    DISCARDED = "discarded"


class InstanceRole(StrEnum):
    """What an instance is to us: MR image to analyse, or other material of the study that is only kept."""

    IMAGE = "image"
    MATERIAL = "material"


class DeliveryState(StrEnum):
    """How far one object is on its way to one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class QuarantineKind(StrEnum):
    """Why something waits for a person."""

    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    NO_PIXEL_DATA = "no-pixel-data"
    MISSING_UID = "missing-uid"
    CLASS_MISMATCH = "class-mismatch"
    CONFLICTING_COPY = "conflicting-copy"
    MISSING_PATIENT_ID = "missing-patient-id"
    CONFLICTING_PATIENT = "conflicting-patient"
    INCOMPLETE = "incomplete"
    UNUSABLE = "unusable"
    PATIENT_MERGE = "patient-merge"
    HL7_MESSAGE = "hl7-message"

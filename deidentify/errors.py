"""Why an object is not de-identified: reason codes for machines and one sentence for a person."""

from __future__ import annotations

from enum import StrEnum


class RefusalCode(StrEnum):
    """Reason code of a refusal; kept stable, for the quarantine and its filters."""

    NOT_DICOM = "not-dicom"
    UNREADABLE = "unreadable"
    SOP_CLASS_UNKNOWN = "sop-class-unknown"
    SOP_CLASS_PRIVATE = "sop-class-private"
    SOP_CLASS_REFUSED = "sop-class-refused"
    SOP_CLASS_NOT_IN_PROFILE = "sop-class-not-in-profile"
    MISSING_ATTRIBUTE = "missing-attribute"
    CHARACTER_SET = "character-set"
    PIXELS_BURNED_IN = "pixels-burned-in"
    PIXELS_UNREAD = "pixels-unread"
    PIXELS_INCONSISTENT = "pixels-inconsistent"
    NESTING = "nesting"
    DUPLICATE = "duplicate-instance"
    VERIFICATION = "verification"


class Refused(Exception):
    """The object cannot be de-identified safely and nothing of it may leave. The message never quotes a value."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class KeyFileError(Exception):
    """The key file is missing, readable by others, or not a key file; the message says what to do."""


class ProfileError(Exception):
    """The profile cannot be used; the message names file and key and, for a misspelt key, the nearest known one."""


class FolderError(Exception):
    """The folders given cannot be used; the message says why."""

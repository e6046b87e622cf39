"""What a verification reports: where and of which kind, never a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingCode(StrEnum):
    """What kind of residue was found; kept stable."""

    NOT_DICOM = "not-dicom"
    PREAMBLE = "preamble"
    FILE_META = "file-meta"
    TRAILING_BYTES = "trailing-bytes"
    NOT_MARKED = "not-marked"
    IDENTIFIER = "identifier"
    ORIGINAL_UID = "original-uid"
    FOREIGN_UID = "foreign-uid"
    PERSON_NAME = "person-name"
    IDENTIFYING_ATTRIBUTE = "identifying-attribute"
    PRIVATE = "private-element"
    GRAPHICS = "graphics"
    FUTURE_DATE = "future-date"
    FOREIGN_TEXT = "foreign-text"
    FILE_NAME = "file-name"


@dataclass(frozen=True)
class Finding:
    """`where`: an attribute path or a byte offset; `file` is set by folder checks."""

    code: FindingCode
    where: str
    message: str
    file: str = ""

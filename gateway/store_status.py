"""What a C-STORE response says (PS3.4 B.2.3, PS3.7 C), and which finding is told the sender by which status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.tables import QuarantineKind

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
STATUS_OF: Mapping[QuarantineKind, int] = MappingProxyType(
    {
        QuarantineKind.UNREADABLE: CANNOT_UNDERSTAND,
        QuarantineKind.TRUNCATED: CANNOT_UNDERSTAND,
        QuarantineKind.NO_PIXEL_DATA: CANNOT_UNDERSTAND,
        QuarantineKind.MISSING_UID: DATA_SET_MISMATCH,
        QuarantineKind.CLASS_MISMATCH: DATA_SET_MISMATCH,
    }
)
"""Status of an instance that is refused on sight; every other one is success, because the instance is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and Error Comment (0000,0902) of a response; the comment never quotes a data set."""

    status: int
    comment: str = ""

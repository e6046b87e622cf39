"""What a check of the site comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; `remedy` is what to do where it is not ok."""

    check: str
    health: Health
    detail: str
    remedy: str = ""

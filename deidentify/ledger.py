"""What was done to one instance and why, by attribute path, never with a value."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of an attribute."""

    KEPT = "kept"
    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    CLEANED = "cleaned"
    SHIFTED = "shifted"
    MAPPED = "mapped"


Path = tuple[int, ...]


@dataclass
class Ledger:
    """The account of one instance. `sop_instance_uid` is the new one.

    Equal entries of repeated items (frames, content items) are counted, not listed; a path is the tags from the root
    down without item numbers. Private elements that are not on the reviewed list appear without their creator, which
    may itself identify.
    """

    sop_instance_uid: str
    sop_class_uid: str
    profile: str
    edition: str
    key_id: str
    counts: Counter[tuple[Path, Outcome, str]] = field(default_factory=Counter)

    def note(self, path: Path, outcome: Outcome, reason: str) -> None:
        self.counts[path, outcome, reason] += 1

    def entries(self) -> Iterator[dict[str, Any]]:
        """In tag order: `{"path", "outcome", "reason", "count"}`."""
        for (path, outcome, reason), count in sorted(self.counts.items()):
            yield {"path": path_text(path), "outcome": outcome.value, "reason": reason, "count": count}

    def count_of(self, outcome: Outcome) -> int:
        return sum(count for (_, entry, _), count in self.counts.items() if entry is outcome)

    def to_json(self) -> str:
        """One line."""
        head = {
            "sop_instance_uid": self.sop_instance_uid,
            "sop_class_uid": self.sop_class_uid,
            "profile": self.profile,
            "edition": self.edition,
            "key_id": self.key_id,
        }
        return json.dumps({**head, "attributes": list(self.entries())}, separators=(",", ":"))


def path_text(path: Path) -> str:
    """`(0040,A730)(0040,A160)`, the order of nesting."""
    return "".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in path)

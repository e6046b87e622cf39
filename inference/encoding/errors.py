"""What can go wrong when a result is written as DICOM; each message says what, where and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from inference.contracts import InferenceError


class EncodingError(InferenceError):
    """The result cannot be written as DICOM on the given source images."""


class InconsistentResultError(EncodingError):
    """The objects that were made contradict each other or their source; nothing of this result may leave."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("the encoded result is not consistent: " + "; ".join(self.problems))

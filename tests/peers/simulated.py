"""Simulated studies on disk, with their truth, for tests that send them somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.simulate.studies import StudyTruth


@dataclass(frozen=True)
class SimulatedStudies:
    """Studies in order of patient and time point."""

    folder: Path
    truths: list[StudyTruth]

    def files(self, truth: StudyTruth) -> list[Path]:
        return sorted((self.folder / truth.folder).rglob("*.dcm"))

    @property
    def uids(self) -> list[str]:
        return [truth.study_instance_uid for truth in self.truths]

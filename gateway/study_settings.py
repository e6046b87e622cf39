"""Configuration of how studies are judged, for all senders and for single ones, and of how long their data are kept."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator

from gateway.settings_section import AeTitle, Seconds, Section
from longitudinal.types import Contrast


class ForcePolicy(StrEnum):
    """What happens to a study that is still incomplete when the force time has passed."""

    HOLD = "hold"
    PRELIMINARY = "preliminary"
    DISCARD = "discard"


class StudySource(Section):
    """What is different for the studies that one sender brings, told by its calling AE title; a key that is left out
    is that of `[study]`. A study belongs to the sender of its first image."""

    ae_title: AeTitle
    quiet_s: float | None = Field(default=None, ge=0)
    retry_s: float | None = Field(default=None, ge=0)
    count_wait_s: float | None = Field(default=None, ge=0)
    force_s: Seconds | None = None
    required: tuple[Contrast, ...] | None = None
    force_policy: ForcePolicy | None = None
    allow_slice_gaps: bool | None = None


class Study(Section):
    """When a study counts as complete: quiet time, required contrasts, and what to do at the force time.

    `retry_s` is how long a sender whose association broke off is given to send again, `count_wait_s` how long an
    archive that is asked how many images there are may stay silent. `sources` override for single senders.
    """

    quiet_s: float = Field(default=60.0, ge=0)
    retry_s: float = Field(default=300.0, ge=0)
    count_wait_s: float = Field(default=300.0, ge=0)
    force_s: Seconds = 5400.0
    required: tuple[Contrast, ...] = (Contrast.T1C, Contrast.FLAIR)
    force_policy: ForcePolicy = ForcePolicy.HOLD
    allow_slice_gaps: bool = False
    sources: tuple[StudySource, ...] = ()

    @field_validator("sources")
    @classmethod
    def _told_apart(cls, value: tuple[StudySource, ...]) -> tuple[StudySource, ...]:
        titles = [source.ae_title.strip() for source in value]
        if len(set(titles)) != len(titles):
            raise ValueError("two sources have the same ae_title")
        return value

    def of_source(self, calling_ae: str) -> Study:
        """These rules as they are for the studies of one sender."""
        for source in self.sources:
            if source.ae_title.strip() == calling_ae.strip():
                stated = source.model_dump(exclude_none=True, exclude={"ae_title"})
                return self.model_copy(update=stated)
        return self

    @property
    def longest_quiet_s(self) -> float:
        """The longest quiet time of any sender."""
        return max(self.of_source(source.ae_title).quiet_s for source in (*self.sources, StudySource(ae_title="*")))


class Retention(Section):
    """Days that classes of data are kept after the last thing that happened to a published study; empty = for ever.

    `originals_days`: the images as received (their headers stay). `working_days`: de-identified images, and masks of
    earlier revisions that no later time point needs. `results_days`: results of earlier revisions.
    `logs_days`: notes on jobs that are done. `orphan_grace_hours` is how old a file that no row knows must be before
    it may be deleted on request.
    """

    originals_days: int | None = Field(default=None, ge=0)
    working_days: int | None = Field(default=None, ge=0)
    results_days: int | None = Field(default=None, ge=0)
    logs_days: int | None = Field(default=None, ge=0)
    orphan_grace_hours: float = Field(default=24.0, ge=0)

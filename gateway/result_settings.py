"""Configuration of what is made of a result beside its reports."""

from __future__ import annotations

from enum import StrEnum

from gateway.settings_section import Section
from inference.summary.words import Language


class SummaryKind(StrEnum):
    """As what the summary page is sent."""

    IMAGE = "image"
    PDF = "pdf"
    BOTH = "both"
    NONE = "none"


class SegmentationKind(StrEnum):
    """How masks are written: BINARY, or LABELMAP where every archive takes it."""

    BINARY = "binary"
    LABELMAP = "labelmap"


class Results(Section):
    """The summary page of a study (Secondary Capture image, Encapsulated PDF, both or none) and its language, and how
    the segmentation is written.

    Japanese needs the package `matplotlib-fontja` (extra `japanese`); without it the page is in English and says so.
    With `segmentation = "labelmap"` every destination is asked whether it takes Label Map Segmentation Storage; where
    one does not, does not answer, or is a `stow` destination, the study goes out as BINARY.
    """

    summary: SummaryKind = SummaryKind.IMAGE
    language: Language = Language.ENGLISH
    segmentation: SegmentationKind = SegmentationKind.BINARY

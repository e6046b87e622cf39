"""MIDI-B's ten kinds of actions, counted over what a program emitted: (passed, checked) by kind.

Unlike the scorer of that challenge a file that is missing passes nothing here; it is counted as refused instead. Needs
no key of the program: mappings are learned from the objects before and after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pydicom
from planted.corpus import Corpus
from planted.mr_objects import RETAINED
from planted.plants import Plant
from planted.scoring import leaks
from pydicom.dataset import Dataset

KINDS = (
    "tag_retained", "text_retained", "text_removed", "text_notnull", "date_shifted", "uid_changed", "uid_consistent",
    "patid_consistent", "pixels_hidden", "pixels_retained",
)  # fmt: skip
_NOT_NULL = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "StudyDate",
)
_SCIENCE = frozenset(("t1", "t2", "post", "gad", "ax", "flair", "mr", "brain", "tumor", "mprage", "sag", "follow", "up",
                      "segmentation", "measurement", "report", "lesion"))  # fmt: skip
_REFERENCES = ("ReferencedSOPInstanceUID", "FrameOfReferenceUID", "ReferencedFrameOfReferenceUID", "StudyInstanceUID",
               "SeriesInstanceUID", "SOPInstanceUID", "TrackingUID")  # fmt: skip


_GRAPHICS = ("GraphicAnnotationSequence", "GraphicLayerSequence")
"""Removed with all they hold (Clean Graphics); the image is referenced elsewhere in the presentation state too."""


@dataclass
class Score:
    """`leaked` are the plants that stand in an output, with its name; `live` those that stood in an emitted input."""

    passed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    checked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    leaked: list[tuple[str, Plant]] = field(default_factory=list)
    live: int = 0
    refused: int = 0
    references: tuple[int, int] = (0, 0)

    def note(self, kind: str, ok: bool, name: str, what: str) -> None:
        self.checked[kind] += 1
        self.passed[kind] += ok
        if not ok:
            self.failures.append((kind, name, what))

    @property
    def percent(self) -> float:
        return 100 * sum(self.passed.values()) / max(sum(self.checked.values()), 1)


def score(corpus: Corpus, outputs: Mapping[str, bytes]) -> Score:
    """Judge `outputs`, by the names of the inputs; a name that is missing was refused."""
    result = Score(refused=len(corpus.accepted) + len(corpus.refused) - len(outputs))
    inputs = {**corpus.accepted, **corpus.refused}
    before = {name: _read(inputs[name]) for name in outputs}
    after = {name: _read(data) for name, data in outputs.items()}
    _plants(result, corpus, {name: inputs[name] for name in outputs}, outputs)
    for name in outputs:
        if name.startswith("pixels-burned-in"):
            result.note("pixels_hidden", not _same_pixels(before[name], after[name]), name, "PixelData")
        elif name in corpus.accepted:
            _retained(result, name, before[name], after[name])
            if "PixelData" in before[name]:
                result.note("pixels_retained", _same_pixels(before[name], after[name]), name, "PixelData")
    _hidden(result, corpus, outputs)
    _dates(result, corpus, before, after)
    _people(result, corpus, after)
    _uids(result, corpus, before, after)
    return result


def _read(data: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(data), force=True)


def _plants(result: Score, corpus: Corpus, inputs: Mapping[str, bytes], outputs: Mapping[str, bytes]) -> None:
    live = {plant for _, plant in leaks(inputs, corpus.plants)}
    result.leaked = leaks(outputs, live)
    result.live = len(live)
    found = {plant for _, plant in result.leaked}
    kinds = {"date": "date_shifted", "uid": "uid_changed"}
    for plant in live:
        result.note(kinds.get(plant.category, "text_removed"), plant not in found, "", plant.where)


def _hidden(result: Score, corpus: Corpus, outputs: Mapping[str, bytes]) -> None:
    """Burned-in text is hidden, too, where the object is not emitted: that is what refusing is for."""
    for name in corpus.refused:
        if name.startswith("pixels-burned-in") and name not in outputs:
            result.note("pixels_hidden", True, name, "refused")


def _retained(result: Score, name: str, before: Dataset, after: Dataset) -> None:
    for keyword in _NOT_NULL:
        if before.get(keyword):
            result.note("text_notnull", bool(after.get(keyword)), name, keyword)
    planted = "/wide/slice0" in name  # terms of this one are plants themselves
    if before.get("SOPClassUID") == "1.2.840.10008.5.1.4.1.1.4" and not planted:
        for keyword in RETAINED:
            if keyword in before and not _is_planted(keyword, before):
                result.note("tag_retained", after.get(keyword) == before[keyword].value, name, keyword)
    for keyword in ("SeriesDescription", "StudyDescription", "ProtocolName"):
        if not planted:
            _words(result, name, keyword, before, after)
    for path, value in _numbers(before):
        result.note("tag_retained", path in dict(_numbers(after)), name, f"{path} {value}")


def _is_planted(keyword: str, before: Dataset) -> bool:
    return keyword == "SequenceName" and not str(before.SequenceName).startswith("*")


def _words(result: Score, name: str, keyword: str, before: Dataset, after: Dataset) -> None:
    kept = set(str(after.get(keyword, "")).lower().replace("_", " ").split())
    for word in str(before.get(keyword, "")).lower().replace("_", " ").split():
        if word in _SCIENCE:
            result.note("text_retained", word in kept, name, f"{keyword}: {word}")


_NUMBERS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EffectiveEchoTime", "DiffusionBValue",
            "NumericValue", "ContourData", "RescaleSlope")  # fmt: skip


def _numbers(ds: Dataset, path: str = "") -> Iterator[tuple[str, str]]:
    """Geometry and measurements in sequences, by path with item numbers; ages are capped on purpose."""
    for element in ds:
        if element.VR == "SQ" and not element.tag.is_private:
            for number, item in enumerate(element.value):
                yield from _numbers(item, f"{path}/{element.keyword}[{number}]")
        elif path and element.keyword in _NUMBERS and str(element.value) != "93":
            yield f"{path}/{element.keyword}={element.value}", str(element.value)


def _same_pixels(before: Dataset, after: Dataset) -> bool:
    try:
        return bool(np.array_equal(before.pixel_array, after.pixel_array))
    except Exception:  # noqa: BLE001 - a library may have made anything of it; then the pixels are not kept
        return False


def _dates(result: Score, corpus: Corpus, before: Mapping[str, Dataset], after: Mapping[str, Dataset]) -> None:
    """Dates moved, and by the same whole days in all objects of a person."""
    shifts: dict[str, set[int]] = defaultdict(set)
    for name, patient in corpus.patient_of.items():
        if name not in after:
            continue
        old, new = _day(before[name]), _day(after[name])
        moved = None if new is None or old is None else (old - new).astype(int)
        shifts[patient.key].add(int(moved) if moved is not None else 0)
        result.note("date_shifted", bool(moved) and len(shifts[patient.key]) == 1, name, "StudyDate")


def _day(ds: Dataset) -> np.datetime64 | None:
    text = str(ds.get("StudyDate", "") or "")
    try:
        return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}")
    except ValueError:
        return None


def _people(result: Score, corpus: Corpus, after: Mapping[str, Dataset]) -> None:
    """One pseudonym for a person, none for two."""
    owner: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for name, patient in corpus.patient_of.items():
        if name not in after:
            continue
        pseudonym = str(after[name].get("PatientID", "") or "")
        ok = chosen.setdefault(patient.key, pseudonym) == pseudonym != ""
        ok = ok and owner.setdefault(pseudonym, patient.key) == patient.key
        result.note("patid_consistent", ok and pseudonym != patient.patient_id, name, "PatientID")


def _uids(result: Score, corpus: Corpus, before: Mapping[str, Dataset], after: Mapping[str, Dataset]) -> None:
    """Every UID has one successor in all places; references between emitted objects resolve."""
    successor: dict[str, str] = {}
    resolved = asked = 0
    there = {str(ds.get("SOPInstanceUID", "")) for ds in after.values()}
    names = {str(before[name].get("SOPInstanceUID", "")) for name in after}
    for name in after:
        if name not in corpus.accepted:
            continue
        new = dict(_references(after[name]))
        for path, old in _references(before[name]):
            now = new.get(path, "")
            if "ReferencedSOPInstanceUID" in path and old in names:
                asked, resolved = asked + 1, resolved + (now in there)
                if now not in there:
                    result.failures.append(("reference", name, path))
            if now or path.count("/") == 1:
                same = successor.setdefault(old, now) == now
                result.note("uid_consistent", bool(now) and same and now != old, name, path)
    result.references = (resolved, asked)


def _references(ds: Dataset, path: str = "") -> Iterator[tuple[str, str]]:
    for element in ds:
        if element.VR == "SQ" and not element.tag.is_private and element.keyword not in _GRAPHICS:
            for number, item in enumerate(element.value):
                yield from _references(item, f"{path}/{element.keyword}[{number}]")
        elif element.keyword in _REFERENCES and element.value:
            yield f"{path}/{element.keyword}", str(element.value)

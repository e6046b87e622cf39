"""Private elements: only those of the reviewed list pass, by creator, and only as numbers or short terms."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from deidentify import text
from deidentify.elements import Element, ascii_element, text_of, with_vr

_SIZES = {"FD": 8, "FL": 4, "US": 2, "SS": 2, "UL": 4, "SL": 4}
NUMBERS = re.compile(r"[0-9+\-.eE \\\0]*")
_TERM = re.compile(r"[A-Z]{0,16}")


@dataclass(frozen=True)
class SafeElement:
    """An entry of the list: `element` is the low byte of the element number."""

    creator: str
    group: int
    element: int
    vr: str
    vm: int


@cache
def safe_elements() -> dict[tuple[str, int, int], SafeElement]:
    """`data/safe_private.json` by (creator, group, low byte)."""
    table = json.loads((files("deidentify") / "data" / "safe_private.json").read_text("ascii"))
    entries = (
        SafeElement(e["creator"], int(e["group"], 16), int(e["element"], 16), e["vr"], e["vm"])
        for e in table["elements"]
    )
    return {(entry.creator, entry.group, entry.element): entry for entry in entries}


def creators(source: Dataset, tags: Collection[BaseTag]) -> dict[tuple[int, int], str]:
    """Private creator by (group, block) among `tags`."""
    return {
        (tag.group, tag.element): text.visible(text_of(source.get_item(tag)))
        for tag in tags
        if 0x10 <= tag.element <= 0xFF
    }


def retain(source: Dataset, tags: Collection[BaseTag], identifiers: Collection[str], out: Dataset) -> set[BaseTag]:
    """Copy what is safe of the private `tags` of `source` into `out`; returns the tags that were copied."""
    blocks = creators(source, tags)
    kept: set[BaseTag] = set()
    for tag in tags:
        creator = blocks.get((tag.group, tag.element >> 8), "")
        entry = safe_elements().get((creator, tag.group, tag.element & 0xFF))
        if entry is None or tag.element <= 0xFF or text.names_subject(creator, identifiers):
            continue
        element = _safe_value(source.get_item(tag), entry, identifiers)
        if element is not None:
            out[tag] = element
            kept.add(tag)
    for group, block in {(tag.group, tag.element >> 8) for tag in kept}:
        tag = Tag(group, block)
        out[tag] = ascii_element(tag, "LO", blocks[group, block])
        kept.add(tag)
    return kept


def _safe_value(element: Element, entry: SafeElement, identifiers: Collection[str]) -> Element | None:
    if entry.vr in _SIZES:
        return _safe_binary(element, entry)
    value = text_of(element)
    shape = _TERM if entry.vr == "CS" else NUMBERS
    values = value.split("\\")
    if entry.vr == "CS" and not text.is_term(value.strip()):
        return None
    if len(values) > entry.vm or not shape.fullmatch(value.strip()) or text.names_subject(value, identifiers):
        return None
    return ascii_element(element.tag, entry.vr, values)


def _safe_binary(element: Element, entry: SafeElement) -> Element | None:
    if not isinstance(element, RawDataElement):
        fits = str(element.VR) == entry.vr and int(element.VM) <= entry.vm
        return element if fits else None
    if len(element.value or b"") > _SIZES[entry.vr] * entry.vm or element.VR not in (None, "UN", entry.vr):
        return None
    return with_vr(element, entry.vr)

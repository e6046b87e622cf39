"""Taking back what was published: `entered-in-error`, in Bundles that may be posted twice like any other.

A published resource is never deleted: others may refer to it, and its history is evidence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from timepoint_fhir.checks import check_bundle
from timepoint_fhir.datatypes import Json
from timepoint_fhir.errors import BundleInvalid

RETRACTED = "entered-in-error"
_RETRACTABLE = frozenset({"Observation", "DiagnosticReport", "ImagingSelection"})


def retraction_bundle(published: dict[str, Any]) -> dict[str, Any]:
    """The Bundle that takes back all Observations and the report of `published` (a Bundle of `build_bundle`).

    Patient, devices and lesions stay as they are: other studies use them. Raises BundleInvalid.
    """
    retracted = [entry for entry in published["entry"] if entry["resource"]["resourceType"] in _RETRACTABLE]
    return _bundle(published, [], retracted)


def revision_bundle(published: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """`current`, which replaces `published`, and with it the retraction of what it no longer says.

    A lesion that a later revision merges, or a horizon that is no longer forecast, would else stay as it was. Both are
    Bundles of `build_bundle` for the same study, written the same way. Raises BundleInvalid.
    """
    kept = {entry["fullUrl"] for entry in current["entry"]}
    gone = [
        entry
        for entry in published["entry"]
        if entry["resource"]["resourceType"] in _RETRACTABLE and entry["fullUrl"] not in kept
    ]
    return _bundle(published, current["entry"], gone)


def _bundle(published: Json, current: list[Json], retracted: list[Json]) -> dict[str, Any]:
    entries = copy.deepcopy(current)
    entries += [_retracted(entry) for entry in retracted]
    entries += _referents(entries, published)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    if findings := check_bundle(bundle):
        raise BundleInvalid(findings)
    return bundle


def _retracted(entry: Json) -> Json:
    taken_back = copy.deepcopy(entry)
    taken_back["resource"]["status"] = RETRACTED
    return taken_back


def _referents(entries: list[Json], published: Json) -> list[Json]:
    """Entries of `published` that `entries` refer to and do not hold, so that every reference can be resolved."""
    known = {entry["fullUrl"]: entry for entry in published["entry"]}
    present = {entry["fullUrl"] for entry in entries}
    added: list[Json] = []
    waiting = list(entries)
    while waiting:
        for address in _addresses(waiting.pop()["resource"]):
            if address not in present and address in known:
                present.add(address)
                added.append(copy.deepcopy(known[address]))
                waiting.append(known[address])
    return added


def _addresses(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _addresses(item)
    elif isinstance(node, dict):
        if str(node.get("reference", "")).startswith("urn:uuid:"):
            yield node["reference"]
        for value in node.values():
            yield from _addresses(value)

"""Our own semantic check of a Bundle, for what `fhir.resources` lets through.

`fhir.resources` checks structure and datatypes. Required value sets, invariants, reference targets and our own rules
(a forecast never looks like a measurement; everything can be posted twice) are checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from timepoint_fhir import codes
from timepoint_fhir.codes import AI_ASSERTED, FORECAST, UCUM, VOLUME

Json = dict[str, Any]

OBSERVATION_STATUS: Final = frozenset(
    {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"}
)
STATUS: Final = {"Observation": OBSERVATION_STATUS, "DiagnosticReport": OBSERVATION_STATUS | {"partial", "appended"}}
"""Required value sets (R4) of the elements that a result's state is written into."""

TARGETS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("Observation", "subject"): frozenset({"Patient", "Group", "Device", "Location"}),
    ("Observation", "partOf"): frozenset({"ImagingStudy", "Procedure"}),
    ("Observation", "basedOn"): frozenset({"ServiceRequest"}),
    ("Observation", "device"): frozenset({"Device", "DeviceMetric"}),
    ("Observation", "hasMember"): frozenset({"Observation"}),
    ("Observation", "derivedFrom"): frozenset({"Observation", "ImagingStudy", "ImagingSelection"}),
    ("Observation", "bodySite"): frozenset({"BodyStructure"}),
    ("DiagnosticReport", "subject"): frozenset({"Patient"}),
    ("DiagnosticReport", "basedOn"): frozenset({"ServiceRequest"}),
    ("DiagnosticReport", "result"): frozenset({"Observation"}),
    ("DiagnosticReport", "imagingStudy"): frozenset({"ImagingStudy"}),
    ("BodyStructure", "patient"): frozenset({"Patient"}),
    ("Device", "parent"): frozenset({"Device"}),
    ("Provenance", "target"): frozenset({"Observation", "DiagnosticReport"}),
    ("Provenance", "agent"): frozenset({"Device"}),
    ("Provenance", "entity"): frozenset({"ImagingStudy"}),
    # R5
    ("Observation", "bodyStructure"): frozenset({"BodyStructure"}),
    ("DiagnosticReport", "study"): frozenset({"ImagingStudy"}),
    ("ImagingSelection", "subject"): frozenset({"Patient"}),
    ("ImagingSelection", "derivedFrom"): frozenset({"ImagingStudy"}),
}
"""Types that the elements we write may refer to (R4), by resource type and first element of the path."""


def check_bundle(bundle: Json) -> tuple[str, ...]:
    """Everything wrong with a transaction Bundle, as sentences with the place; empty when nothing is."""
    entries = bundle.get("entry", [])
    types = {entry.get("fullUrl"): entry["resource"]["resourceType"] for entry in entries if "resource" in entry}
    findings = list(_repeats(entries))
    for index, entry in enumerate(entries):
        resource = entry.get("resource", {})
        place = f"entry {index} ({resource.get('resourceType', 'nothing')})"
        findings += [f"{place}: {text}" for text in (*_written_once(entry), *check_resource(resource, types))]
    return tuple(findings)


def check_resource(resource: Json, types: dict[str, str] | None = None) -> Iterator[str]:
    """Findings on one resource. `types` maps the full URLs of the Bundle to resource types; without it, references
    into a Bundle are not followed."""
    kind = resource.get("resourceType", "")
    yield from _status(resource)
    yield from _quantities(resource, kind)
    yield from _bundle_addresses(resource, kind)
    for path, reference in _references(resource):
        yield from _reference(kind, path, reference, types)
    if kind == "Observation":
        yield from _invariants(resource)
        yield from _forecast(resource)


def _repeats(entries: list[Json]) -> Iterator[str]:
    requests = [entry.get("request", {}) for entry in entries]
    seen: dict[str, list[Any]] = {
        "full URL": [entry.get("fullUrl") for entry in entries],
        "request": [(request.get("url"), request.get("ifNoneExist")) for request in requests],
    }
    for name, values in seen.items():
        if len(set(values)) != len(values):
            yield f"two entries have the same {name}"


def _written_once(entry: Json) -> Iterator[str]:
    """An entry that can be posted twice: PUT to an id or a search, or POST with ifNoneExist."""
    request, resource = entry.get("request", {}), entry.get("resource", {})
    kind, method, url = resource.get("resourceType"), request.get("method"), request.get("url", "")
    if method == "POST":
        if not request.get("ifNoneExist"):
            yield "would be created again at each post (no ifNoneExist)"
    elif method != "PUT":
        yield f"has request method {method}"
    elif url.startswith(f"{kind}?"):
        if "=" not in url or "|" not in url:
            yield "has a conditional update without system and value"
    elif url != f"{kind}/{resource.get('id')}":
        yield "is put to another address than its own id"


def _status(resource: Json) -> Iterator[str]:
    allowed = STATUS.get(resource.get("resourceType", ""))
    if allowed is not None and resource.get("status") not in allowed:
        yield f"status {resource.get('status')!r} is not in the required value set"


def _quantities(node: Any, path: str) -> Iterator[str]:
    """A Quantity with a code has the system of that code (qty-3), and ours are all UCUM."""
    if isinstance(node, list):
        for item in node:
            yield from _quantities(item, path)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "valueQuantity" and isinstance(value, dict):
                if "value" not in value or value.get("system") != UCUM or not value.get("code"):
                    yield f"{path}.valueQuantity needs a value, a UCUM code and its system"
            else:
                yield from _quantities(value, f"{path}.{name}")


def _bundle_addresses(node: Any, path: str) -> Iterator[str]:
    """A server replaces full URLs of the Bundle wherever they stand (R4 3.1.0.11.2), so only references hold any."""
    if isinstance(node, list):
        for item in node:
            yield from _bundle_addresses(item, path)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name != "reference":
                yield from _bundle_addresses(value, f"{path}.{name}")
    elif isinstance(node, str) and "urn:uuid:" in node:
        yield f"{path} holds a urn:uuid, which the server would replace"


def _references(resource: Json) -> Iterator[tuple[str, Json]]:
    """Every Reference of a resource with its first element name."""
    for name, value in resource.items():
        for found in _nested_references(value):
            yield name, found


def _nested_references(node: Any) -> Iterator[Json]:
    if isinstance(node, list):
        for item in node:
            yield from _nested_references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("reference"), str) or {"type", "identifier"} <= node.keys():
            yield node
        else:
            for value in node.values():
                yield from _nested_references(value)


def _reference(kind: str, path: str, reference: Json, types: dict[str, str] | None) -> Iterator[str]:
    address = reference.get("reference")
    target = reference.get("type")
    if address is not None and address.startswith("urn:"):
        if types is None:
            return
        target = types.get(address)
        if target is None and not (path == "subject" or path == "patient"):
            yield f"{path} refers to {address}, which is not in the Bundle"
            return
    elif address is not None:
        target = address.split("?")[0].split("/")[0]
    allowed = TARGETS.get((kind, path))
    if target is not None and allowed is not None and target not in allowed:
        yield f"{path} must not refer to {target}"


def _invariants(observation: Json) -> Iterator[str]:
    values = [name for name in observation if name.startswith("value")]
    if len(values) > 1:
        yield "has more than one value[x]"
    if values and "dataAbsentReason" in observation:
        yield "obs-6: has both a value and a dataAbsentReason"
    own = _codings(observation.get("code"))
    for component in observation.get("component", []):
        inner = [name for name in component if name.startswith("value")]
        if len(inner) > 1 or (inner and "dataAbsentReason" in component):
            yield "a component has more than one value, or a value and a dataAbsentReason"
        if not inner and "dataAbsentReason" not in component:
            yield "a component has neither a value nor a dataAbsentReason"
        if values and own & _codings(component.get("code")):
            yield "obs-7: a component has the code of the Observation, which has a value"
    if not values and not any(observation.get(name) for name in ("component", "hasMember", "dataAbsentReason")):
        yield "has no value, component, member or reason for their absence"


def _forecast(observation: Json) -> Iterator[str]:
    """A forecast has no value, no measurement code anywhere, is preliminary and labelled."""
    own = _codings(observation.get("code"))
    if not any(code == FORECAST.value for _, code in own):
        return
    if any(name.startswith("value") for name in observation):
        yield "a forecast must not carry a value[x]"
    standard = own | {pair for item in observation.get("component", []) for pair in _codings(item.get("code"))}
    if (VOLUME.system, VOLUME.value) in standard or any(system == codes.LOINC for system, _ in standard):
        yield "a forecast must not carry the code of a measurement"
    if observation.get("status") not in ("preliminary", "entered-in-error"):
        yield "a forecast must be preliminary"
    labels = {(label.get("system"), label.get("code")) for label in observation.get("meta", {}).get("security", [])}
    if (AI_ASSERTED.system, AI_ASSERTED.value) not in labels:
        yield "a forecast needs the security label AIAST"


def _codings(concept: Json | None) -> set[tuple[str | None, str | None]]:
    return {(coding.get("system"), coding.get("code")) for coding in (concept or {}).get("coding", [])}

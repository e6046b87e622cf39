"""What a server must be able to do for our Bundles, read from its CapabilityStatement before the first is sent."""

from __future__ import annotations

from typing import Any, Final

from timepoint_fhir.context import Version, Write

WRITTEN_TYPES: Final = ("BodyStructure", "Device", "DiagnosticReport", "Observation", "Provenance")


def shortcomings(statement: dict[str, Any], write: Write, wanted: Version = Version.R4) -> tuple[str, ...]:
    """Sentences on what `statement` lacks for Bundles written the way of `write`; empty when nothing is missing.

    A statement may be incomplete, so these are warnings: the server's answer to a Bundle decides.
    """
    findings = []
    version = str(statement.get("fhirVersion", "unknown"))
    if not version.startswith(_NUMBER[wanted]):
        findings.append(f"the server speaks FHIR {version}; {wanted} ({_NUMBER[wanted]}) is configured")
    rest: dict[str, Any] = next((r for r in statement.get("rest", []) if r.get("mode") == "server"), {})
    if "transaction" not in {i.get("code") for i in rest.get("interaction", [])}:
        findings.append(
            "the server does not say that it carries out transactions; a refused Bundle may be kept in part"
        )
    offered = {resource.get("type"): resource for resource in rest.get("resource", [])}
    written = WRITTEN_TYPES if wanted is Version.R4 else (*WRITTEN_TYPES, "ImagingSelection")
    if missing := [kind for kind in written if kind not in offered]:
        findings.append(f"the server does not keep {', '.join(missing)}")
    needed, other, way = _NEEDED[write]
    if lacking := [kind for kind in WRITTEN_TYPES if kind in offered and not offered[kind].get(needed)]:
        findings.append(f"the server does not say {needed} for {', '.join(lacking)}; try write = {other.value} ({way})")
    return tuple(findings)


_NUMBER: Final = {Version.R4: "4.0", Version.R5: "5.0"}

_NEEDED: Final = {
    Write.BY_ID: ("updateCreate", Write.CONDITIONAL, "it lets the server choose the ids"),
    Write.CONDITIONAL: ("conditionalUpdate", Write.BY_ID, "it chooses the ids itself"),
}

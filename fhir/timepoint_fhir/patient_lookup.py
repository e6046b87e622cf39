"""Asking an identity server which identifiers are one person's (IHE PIXm, ITI-83) and who has a number (PDQm, ITI-78).

The answers are read strictly: what is not exactly what the profiles say counts as no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from timepoint_fhir.client import FhirClient
from timepoint_fhir.errors import FhirRejected
from timepoint_fhir.identifiers import token

NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Identifier:
    """A patient ID under its identifier system."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A patient of the server: identifiers, and the birth date (YYYY-MM-DD) where it is stated in full."""

    identifiers: tuple[Identifier, ...]
    birth_date: str = ""


class PatientLookup(FhirClient):
    """A FHIR client with the two queries."""

    def same_person(self, known: Identifier) -> tuple[Identifier, ...]:
        """All other identifiers of the person with this one, empty where the server does not know it (ITI-83).

        Raises FhirRejected, FhirUnavailable.
        """
        address = f"{self._base_url}/Patient/$ihe-pix?sourceIdentifier={token(known.system, known.value)}"
        try:
            answer = self._send("GET", address, None)
        except FhirRejected as refusal:
            if refusal.status == NOT_FOUND:
                return ()
            raise
        if answer.get("resourceType") != "Parameters":
            raise FhirRejected("the identity server did not answer $ihe-pix with Parameters", 200)
        stated = [
            _identifier(parameter.get("valueIdentifier"))
            for parameter in answer.get("parameter") or ()
            if parameter.get("name") == "targetIdentifier"
        ]
        return tuple(one for one in dict.fromkeys(stated) if one is not None and one != known)

    def patients_with(self, value: str) -> tuple[KnownPatient, ...]:
        """The patients with a number, under whatever system (ITI-78). Raises FhirRejected, FhirUnavailable."""
        answer = self._send("GET", f"{self._base_url}/Patient?identifier={quote(value, safe='')}", None)
        if answer.get("resourceType") != "Bundle" or answer.get("type") != "searchset":
            raise FhirRejected("the identity server did not answer the search with a Bundle", 200)
        if any(link.get("relation") == "next" for link in answer.get("link") or ()):
            raise FhirRejected("the identity server knows more patients with this number than fit a page", 200)
        resources = [entry.get("resource") or {} for entry in answer.get("entry") or ()]
        return tuple(_patient(resource) for resource in resources if resource.get("resourceType") == "Patient")


def _patient(resource: dict[str, Any]) -> KnownPatient:
    stated = [_identifier(one) for one in resource.get("identifier") or ()]
    birth_date = str(resource.get("birthDate") or "")
    return KnownPatient(tuple(one for one in stated if one is not None), birth_date if len(birth_date) == 10 else "")


def _identifier(stated: Any) -> Identifier | None:
    if not isinstance(stated, dict) or not stated.get("system") or not stated.get("value"):
        return None
    if stated.get("use") == "old":
        return None
    return Identifier(str(stated["system"]), str(stated["value"]))

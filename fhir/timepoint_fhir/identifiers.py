"""Deterministic identifiers: the same thing always gets the same UUID, observation UID and search expression.

A resource is known by one UUID (version 5, RFC 9562) derived from what it describes. From it come the resource id
(where the server lets us choose it), the `urn:uuid:` full URL in the Bundle and, as `2.25.<integer>` (PS3.5 B.2), the
observation UID under `urn:dicom:uid`, the identifier that the HL7 mapping of DICOM SR to FHIR gives an Observation.
"""

from __future__ import annotations

import uuid
from typing import Final
from urllib.parse import quote

DICOM_UID: Final = "urn:dicom:uid"

_NAMESPACE: Final = uuid.UUID("d3b3cf39-9f43-5e0c-9d68-0a8b5c3f7e21")


def derived_uuid(kind: str, *parts: str | int) -> uuid.UUID:
    """The UUID of the `kind` of thing that the `parts` name; the parts are delimited, so none runs into the next."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join([kind, *map(str, parts)]))


def dicom_uid(value: uuid.UUID) -> str:
    """The DICOM UID of a UUID: `2.25.` and its integer value (PS3.5 B.2)."""
    return f"2.25.{value.int}"


def uid_identifier(uid: str) -> dict[str, str]:
    """A DICOM UID as a FHIR Identifier."""
    return {"system": DICOM_UID, "value": f"urn:oid:{uid}"}


def token(system: str, value: str) -> str:
    """The value of a FHIR token search for an identifier (R4 search, 3.1.1.4.10 and 3.1.1.5.7), safe in a URL.

    `$`, `,`, `|` and the backslash are escaped as FHIR wants, everything else that has a meaning in a URL by `%`.
    """
    return f"{quote(_escaped(system), safe=':/.-')}|{quote(_escaped(value), safe=':/.-')}"


def _escaped(text: str) -> str:
    for character in "\\$,|":
        text = text.replace(character, f"\\{character}")
    return text

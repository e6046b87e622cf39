"""Searches of the demonstration endpoint: tokens and references, each parameter of which must match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from timepoint_fhir.datatypes import Json

Match = Callable[[Json, str], bool]

_COMMA = re.compile(r"(?<!\\),")
_BAR = re.compile(r"(?<!\\)\|")
_RESULT = frozenset({"_count", "_summary", "_format"})
"""Parameters that shape the answer, not the search."""


class Search:
    """A list of search parameters (R4 3.1.1). Raises ValueError for one that is not supported."""

    def __init__(self, parameters: list[tuple[str, str]]) -> None:
        unknown = sorted({name for name, _ in parameters} - _PARAMETERS.keys() - _RESULT)
        if unknown:
            raise ValueError(f"search by {', '.join(unknown)} is not supported here; {', '.join(_PARAMETERS)} are")
        self._parameters = [(name, value) for name, value in parameters if name not in _RESULT]

    def matches(self, resource: Json) -> bool:
        return all(
            any(_PARAMETERS[name](resource, one) for one in _COMMA.split(value)) for name, value in self._parameters
        )


def _token(pairs: Callable[[Json], Iterator[tuple[str, str]]]) -> Match:
    """A token search: `code`, `system|code`, `|code` (no system) or `system|` (R4 3.1.1.4.10)."""

    def match(resource: Json, wanted: str) -> bool:
        system, bar, code = _split(wanted)
        return any(code in ("", has) and (not bar or system == has_system) for has_system, has in pairs(resource))

    return match


def _split(wanted: str) -> tuple[str, bool, str]:
    parts = [re.sub(r"\\(.)", r"\1", part) for part in _BAR.split(wanted, maxsplit=1)]
    return (parts[0], True, parts[1]) if len(parts) == 2 else ("", False, parts[0])


def _codings(*names: str) -> Callable[[Json], Iterator[tuple[str, str]]]:
    def pairs(resource: Json) -> Iterator[tuple[str, str]]:
        for name in names:
            value = resource.get(name) or []
            for concept in value if isinstance(value, list) else [value]:
                for coding in concept.get("coding", []):
                    yield coding.get("system", ""), coding.get("code", "")

    return pairs


def _identifiers(resource: Json) -> Iterator[tuple[str, str]]:
    for identifier in resource.get("identifier", []):
        yield identifier.get("system", ""), identifier.get("value", "")


def _meta(name: str) -> Callable[[Json], Iterator[tuple[str, str]]]:
    def pairs(resource: Json) -> Iterator[tuple[str, str]]:
        for coding in resource.get("meta", {}).get(name, []):
            yield coding.get("system", ""), coding.get("code", "")

    return pairs


def _plain(name: str) -> Callable[[Json], Iterator[tuple[str, str]]]:
    def pairs(resource: Json) -> Iterator[tuple[str, str]]:
        yield "", resource.get(name, "")

    return pairs


def _patient(resource: Json, wanted: str) -> bool:
    reference = resource.get("subject") or resource.get("patient") or {}
    address = reference.get("reference", "")
    return bool(address) and address == (wanted if "/" in wanted else f"Patient/{wanted}")


_PARAMETERS: Final[dict[str, Match]] = {
    "_id": _token(_plain("id")),
    "_security": _token(_meta("security")),
    "_tag": _token(_meta("tag")),
    "category": _token(_codings("category")),
    "code": _token(_codings("code")),
    "identifier": _token(_identifiers),
    "patient": _patient,
    "status": _token(_plain("status")),
    "subject": _patient,
}

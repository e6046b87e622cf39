"""The store behind the demonstration endpoint: resources as files, searches, transactions that are all or nothing."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from timepoint_fhir.datatypes import Json
from timepoint_fhir.endpoint_search import Search

TYPES: Final = (
    "BodyStructure",
    "Device",
    "DiagnosticReport",
    "ImagingStudy",
    "Observation",
    "Patient",
    "Provenance",
)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

Key = tuple[str, str]
"""Type and id of a resource."""


class Refused(Exception):
    """A request that the endpoint does not carry out: the HTTP status and the issue type say why."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class Store:
    """Resources in memory and as `<Type>-<id>.json` in `folder`, which is read again at the next start."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._resources: dict[Key, Json] = {}
        for path in sorted(folder.glob("*-*.json")):
            resource = json.loads(path.read_text(encoding="utf-8"))
            self._resources[resource["resourceType"], resource["id"]] = resource

    def read(self, kind: str, identity: str) -> Json:
        _known(kind)
        with self._lock:
            if (kind, identity) not in self._resources:
                raise Refused(404, "not-found", f"there is no {kind}/{identity}")
            return copy.deepcopy(self._resources[kind, identity])

    def search(self, kind: str, parameters: list[tuple[str, str]]) -> list[Json]:
        """Every resource of a type that matches all parameters, in the order of their ids."""
        _known(kind)
        with self._lock:
            return copy.deepcopy(_find(self._resources, kind, parameters))

    def write(self, entry: Json) -> tuple[int, Json]:
        """Carry out one PUT or POST as a transaction of one entry; give the HTTP status and the resource."""
        return self.transaction([entry])[0]

    def transaction(self, entries: list[Json]) -> list[tuple[int, Json]]:
        """Carry out all entries or none (R4 3.1.0.11.2): identities first, then references, validation, files.

        Gives the HTTP status and the stored resource of each entry. Raises Refused.
        """
        with self._lock:
            staged = dict(self._resources)
            targets = [_identify(staged, entry) for entry in entries]
            if len({target for target, _ in targets}) != len(targets):
                raise Refused(400, "invalid", "two entries of the Bundle are the same resource")
            addresses = {
                entry["fullUrl"]: "/".join(target)
                for entry, (target, _) in zip(entries, targets, strict=True)
                if entry.get("fullUrl")
            }
            answers = [
                _stage(staged, entry, target, kept, addresses)
                for entry, (target, kept) in zip(entries, targets, strict=True)
            ]
            for target, _ in targets:
                _resolve_conditional(staged, staged[target])
                validate(staged[target])
            self._save(staged)
            return [(status, copy.deepcopy(staged[target])) for status, target in answers]

    def _save(self, staged: dict[Key, Json]) -> None:
        for key, resource in staged.items():
            old = self._resources.get(key)
            if old is not None and _content(old) == _content(resource):
                staged[key] = old
                continue
            version = int(old["meta"]["versionId"]) + 1 if old else 1
            now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
            resource["meta"] = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": now}
            path = self._folder / f"{key[0]}-{key[1]}.json"
            draft = path.with_suffix(".part")
            draft.write_text(json.dumps(resource, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            draft.replace(path)
        self._resources = staged


def _known(kind: str) -> None:
    if kind not in TYPES:
        raise Refused(404, "not-supported", f"this endpoint keeps {', '.join(TYPES)}, not {kind}")


def validate(resource: Json) -> None:
    """Validate a resource with `fhir.resources` (R4B). Raises Refused, naming the places but not the values."""
    from fhir.resources.R4B import get_fhir_model_class  # 0.4 s
    from pydantic import ValidationError

    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise Refused(422, "invariant", f"{resource['resourceType']}: {found}") from error


def _find(resources: dict[Key, Json], kind: str, parameters: list[tuple[str, str]]) -> list[Json]:
    try:
        search = Search(parameters)
    except ValueError as error:
        raise Refused(400, "not-supported", str(error)) from error
    return [resource for key, resource in sorted(resources.items()) if key[0] == kind and search.matches(resource)]


def _identify(resources: dict[Key, Json], entry: Json) -> tuple[Key, bool]:
    """Which resource an entry writes, and whether what is there is kept (a conditional create that finds one)."""
    resource, request = entry.get("resource") or {}, entry.get("request") or {}
    kind, method, url = resource.get("resourceType"), request.get("method"), request.get("url", "")
    if kind not in TYPES:
        raise Refused(422, "not-supported", f"this endpoint keeps {', '.join(TYPES)}, not {kind}")
    path, _, query = url.partition("?")
    if method == "PUT" and path == kind and query:
        return _only(resources, kind, query) or (kind, _new_id(resources, kind, entry)), False
    if method == "PUT" and path.startswith(f"{kind}/"):
        identity = path.removeprefix(f"{kind}/")
        if not _ID.fullmatch(identity) or resource.get("id") != identity:
            raise Refused(400, "invalid", "the id in the address is not a FHIR id, or not that of the resource")
        return (kind, identity), False
    if method == "POST" and path == kind:
        found = _only(resources, kind, request["ifNoneExist"]) if request.get("ifNoneExist") else None
        return (found, True) if found else ((kind, _new_id(resources, kind, entry)), False)
    raise Refused(400, "not-supported", f"{method} {path} cannot be carried out here")


def _only(resources: dict[Key, Json], kind: str, query: str) -> Key | None:
    found = _find(resources, kind, parse_qsl(query))
    if len(found) > 1:
        raise Refused(412, "multiple-matches", f"{len(found)} {kind} resources match the condition")
    return (kind, found[0]["id"]) if found else None


def _new_id(resources: dict[Key, Json], kind: str, entry: Json) -> str:
    """A free id: the UUID of the full URL where it has one, so that the same demonstration gives the same files."""
    wanted = entry.get("fullUrl", "").removeprefix("urn:uuid:")
    if _ID.fullmatch(wanted) and (kind, wanted) not in resources:
        return str(wanted)
    return str(uuid.uuid4())


def _stage(staged: dict[Key, Json], entry: Json, target: Key, kept: bool, addresses: dict[str, str]) -> tuple[int, Key]:
    existed = target in staged
    if not kept:
        staged[target] = _rewritten(entry["resource"], addresses) | {"id": target[1]}
    return (200 if existed else 201), target


def _rewritten(node: Any, addresses: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _rewritten(value, addresses) for name, value in node.items()}
    if isinstance(node, list):
        return [_rewritten(item, addresses) for item in node]
    return addresses.get(node, node) if isinstance(node, str) else node


def _resolve_conditional(resources: dict[Key, Json], resource: Json) -> None:
    for reference in _references(resource):
        kind, _, query = reference["reference"].partition("?")
        if not query:
            continue
        found = _find(resources, kind, parse_qsl(query))
        if len(found) != 1:
            raise Refused(412, "not-found", f"a conditional reference matches {len(found)} {kind} resources, not one")
        reference["reference"] = f"{kind}/{found[0]['id']}"


def _references(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield node
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def _content(resource: Json) -> Json:
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    return {**resource, "meta": meta}

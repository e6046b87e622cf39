"""A small FHIR R4 endpoint for demonstrations: what `timepoint demo` publishes to where no FHIR server is at hand.

It is no FHIR server for production: no authorisation, no history, few searches, one process. What it does it does as
a server does (transactions, conditional create, update and references, validation), so the client's way to it is the
way to a hospital's server.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from timepoint_fhir.client import MEDIA_TYPE
from timepoint_fhir.datatypes import Json
from timepoint_fhir.endpoint_store import TYPES, Refused, Store, validate


class FhirJson(JSONResponse):
    media_type = MEDIA_TYPE


def create_endpoint(folder: Path) -> FastAPI:
    """The application; its root is the FHIR base URL. Each resource is kept as `folder/<Type>-<id>.json`."""
    store = Store(folder)
    app = FastAPI(title="Timepoint demonstration FHIR endpoint", default_response_class=FhirJson, openapi_url=None)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> FhirJson:
        issue = {"severity": "error", "code": error.code, "diagnostics": str(error)}
        return FhirJson({"resourceType": "OperationOutcome", "issue": [issue]}, error.status)

    @app.get("/metadata")
    def metadata() -> FhirJson:
        return FhirJson(_capability())

    @app.post("/")
    async def transaction(request: Request) -> FhirJson:
        body = await _resource(request, "Bundle")
        if body.get("type") != "transaction":
            raise Refused(400, "not-supported", "only Bundles of type transaction are carried out here")
        await run_in_threadpool(validate, body)
        answers = await run_in_threadpool(store.transaction, body.get("entry", []))
        entries = [{"response": _response(status, resource)} for status, resource in answers]
        return FhirJson({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    @app.get("/{kind}")
    def search(kind: str, request: Request) -> FhirJson:
        found = store.search(kind, list(request.query_params.multi_items()))
        return FhirJson(_searchset(found, request))

    @app.get("/Patient/$ihe-pix")
    def cross_reference(sourceIdentifier: str) -> FhirJson:
        found = store.search("Patient", [("identifier", sourceIdentifier)])
        if len(found) != 1:
            raise Refused(404, "not-found", "there is no one patient with this identifier")
        named = [{"name": "targetIdentifier", "valueIdentifier": one} for one in found[0].get("identifier", [])]
        return FhirJson({"resourceType": "Parameters", "parameter": named})

    @app.get("/{kind}/{identity}")
    def read(kind: str, identity: str) -> FhirJson:
        return FhirJson(store.read(kind, identity))

    @app.post("/{kind}")
    async def create(kind: str, request: Request) -> FhirJson:
        condition = request.headers.get("If-None-Exist")
        entry = {"method": "POST", "url": kind, **({"ifNoneExist": condition} if condition else {})}
        return _written(await run_in_threadpool(store.write, {"resource": await _resource(request), "request": entry}))

    @app.put("/{kind}")
    async def update_conditionally(kind: str, request: Request) -> FhirJson:
        entry = {"method": "PUT", "url": f"{kind}?{request.url.query}"}
        return _written(await run_in_threadpool(store.write, {"resource": await _resource(request), "request": entry}))

    @app.put("/{kind}/{identity}")
    async def update(kind: str, identity: str, request: Request) -> FhirJson:
        entry = {"method": "PUT", "url": f"{kind}/{identity}"}
        return _written(await run_in_threadpool(store.write, {"resource": await _resource(request), "request": entry}))

    return app


@contextmanager
def running_endpoint(folder: Path, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve the endpoint in a thread of this process and give its base URL; port 0 takes a free one."""
    config = uvicorn.Config(create_endpoint(folder), log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    # The protocol is named because asyncio sets TCP_NODELAY only where it is; without it each answer waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # before the thread starts: whoever connects early waits in the backlog
        thread = threading.Thread(target=server.run, args=([listener],), name="fhir-endpoint", daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def _resource(request: Request, kind: str | None = None) -> Json:
    try:
        body: Any = await request.json()
    except ValueError as error:
        raise Refused(400, "structure", "the body is not JSON") from error
    if not isinstance(body, dict) or (kind and body.get("resourceType") != kind):
        raise Refused(400, "structure", f"the body is not a FHIR {kind or 'resource'} in JSON")
    return body


def _written(answer: tuple[int, Json]) -> FhirJson:
    status, resource = answer
    return FhirJson(resource, status, headers={"Location": _location(resource)})


def _response(status: int, resource: Json) -> Json:
    meta = resource["meta"]
    text = f"{status} {'Created' if status == 201 else 'OK'}"
    return {
        "status": text,
        "location": _location(resource),
        "etag": f'W/"{meta["versionId"]}"',
        "lastModified": meta["lastUpdated"],
    }


def _location(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"


def _searchset(found: list[Json], request: Request) -> Json:
    body: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
    if request.query_params.get("_summary") == "count":
        return body
    count = request.query_params.get("_count", "")
    page = found[: int(count)] if count.isdigit() else found
    base = str(request.base_url).rstrip("/")
    entries = [{"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r} for r in page]
    return body | ({"entry": entries} if entries else {})


def _capability() -> Json:
    interactions = [{"code": code} for code in ("read", "create", "update", "search-type")]
    resources = [
        {
            "type": kind,
            "interaction": interactions,
            "updateCreate": True,
            "conditionalCreate": True,
            "conditionalUpdate": True,
        }
        for kind in TYPES
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "implementation": {"description": "Timepoint demonstration endpoint; not a FHIR server for production"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "interaction": [{"code": "transaction"}], "resource": resources}],
    }

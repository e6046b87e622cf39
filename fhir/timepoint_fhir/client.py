"""The client of a FHIR R4 server: what it offers, and one transaction at a time.

Every refusal becomes `FhirRejected` (a person has to change something) or `FhirUnavailable` (try again later). The
messages carry the server's OperationOutcome with every identifier of the Bundle blacked out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from timepoint_fhir.errors import FhirRejected, FhirUnavailable
from timepoint_fhir.outcome import describe, sensitive_texts

if TYPE_CHECKING:
    import httpx2

MEDIA_TYPE = "application/fhir+json"
RETRIABLE = frozenset({408, 425, 429})
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""b64token of RFC 6750, 2.1."""


class FhirClient:
    """Talks to the FHIR base URL `base_url`, with `token` as bearer token where it is given.

    `timeout_s` bounds each wait (connect, send, answer). Close it, or use it as a context manager. Raises ValueError
    for a base URL or a token that cannot be one.
    """

    def __init__(self, base_url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        import httpx2  # 0.15 s, and most who import this module never talk to a server

        _check_base_url(base_url)
        headers = {"Accept": MEDIA_TYPE, "Prefer": "return=minimal"}
        if token:
            if not _TOKEN.fullmatch(token):
                raise ValueError("the bearer token holds a character that no token has (a line break at its end?)")
            headers["Authorization"] = f"Bearer {token}"
        self._base_url = base_url.rstrip("/")
        self._http = httpx2.Client(headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def capability(self) -> dict[str, Any]:
        """The server's CapabilityStatement (GET [base]/metadata). Raises FhirRejected, FhirUnavailable."""
        answer = self._send("GET", f"{self._base_url}/metadata", None)
        if answer.get("resourceType") != "CapabilityStatement":
            raise FhirRejected("this address does not answer with a CapabilityStatement; check the base URL", 200)
        return answer

    def post_transaction(self, bundle: dict[str, Any]) -> list[str]:
        """Post a transaction Bundle; return what each entry became, as `Observation/123`, in the entries' order.

        Raises FhirRejected when the server refuses the Bundle or, as servers do that treat a transaction as a batch,
        any entry of it; FhirUnavailable when the same Bundle may be posted again later.
        """
        answer = self._send("POST", self._base_url, bundle)
        entries = answer.get("entry") or []
        if answer.get("resourceType") != "Bundle" or len(entries) != len(bundle["entry"]):
            raise FhirRejected("the server did not answer the transaction entry by entry; check the base URL", 200)
        hidden = sensitive_texts(bundle)
        for index, entry in enumerate(entries):
            _check_entry(index, entry.get("response", {}), hidden)
        return list(_addresses(entries, bundle["entry"]))

    def _send(self, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        import httpx2

        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {} if body is None else {"Content-Type": MEDIA_TYPE}
        try:
            answer = self._http.request(method, url, content=content, headers=headers)
        except httpx2.TimeoutException as error:
            raise FhirUnavailable(f"the FHIR server did not answer in time ({type(error).__name__})") from error
        except httpx2.RequestError as error:
            raise FhirUnavailable(f"the FHIR server cannot be reached ({type(error).__name__}: {error})") from error
        return _read(answer, sensitive_texts(body or {}))


def _check_base_url(base_url: str) -> None:
    import httpx2

    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"the FHIR base URL is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the FHIR base URL must start with http:// or https:// and name a host")
    if url.query or url.fragment:
        raise ValueError("the FHIR base URL must not hold a query or fragment")


def _read(answer: httpx2.Response, hidden: frozenset[str]) -> dict[str, Any]:
    """The JSON of a good answer; an exception for any other."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not answer.is_success:
        message = f"HTTP {answer.status_code}: {describe(body, hidden) or answer.reason_phrase or 'no explanation'}"
        _refuse(answer.status_code, message, answer.headers.get("Retry-After"))
    if not isinstance(body, dict):
        raise FhirRejected("the answer is not FHIR JSON; check the base URL", answer.status_code)
    return body


def _check_entry(index: int, response: dict[str, Any], hidden: frozenset[str]) -> None:
    status = _status(response)
    if not 200 <= status < 300:
        explanation = describe(response.get("outcome"), hidden) or "no explanation"
        _refuse(status, f"entry {index}: HTTP {status}: {explanation}", None)


def _refuse(status: int, message: str, retry_after: str | None) -> None:
    """Raise by HTTP status: the one place where it is decided whether trying again can help."""
    if status in RETRIABLE or status >= 500:
        wait = float(retry_after) if retry_after and retry_after.isdigit() else None
        raise FhirUnavailable(message, wait)
    if status == 401:
        message += " (check the bearer token)"
    if 300 <= status < 400:
        message += " (the server is elsewhere; check the base URL)"
    raise FhirRejected(message, status)


def _status(response: dict[str, Any]) -> int:
    number = str(response.get("status", "")).split(" ", 1)[0]
    return int(number) if number.isdigit() else 500


def _addresses(entries: list[dict[str, Any]], requests: list[dict[str, Any]]) -> Iterator[str]:
    for entry, request in zip(entries, requests, strict=True):
        kind = request["resource"]["resourceType"]
        resource = entry.get("resource") or {}
        if location := entry.get("response", {}).get("location"):
            parts = str(location).split("/_history/")[0].rstrip("/").split("/")
            yield "/".join(parts[-2:])
        elif resource.get("id"):
            yield f"{kind}/{resource['id']}"
        else:
            # A server need not give the location of what it found; a chosen id is known all the same.
            yield f"{kind}/{request['resource'].get('id', '')}".rstrip("/")

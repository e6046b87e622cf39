"""Access tokens by SMART Backend Services: a signed assertion instead of a secret (SMART App Launch 2.2, RFC 7523).

The key is a private JWK (ES384 or RS384, with `kid`) whose public half is registered with the authorisation server.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timepoint_fhir.capability import WRITTEN_TYPES
from timepoint_fhir.errors import FhirRejected, FhirUnavailable

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("ES384", "RS384")
LIFETIME_S = 240
"""Of an assertion; the standard allows five minutes at most."""
SPARE_S = 30
"""A token is renewed so long before its end."""
DEFAULT_SCOPE = " ".join([*(f"system/{kind}.crus" for kind in WRITTEN_TYPES), "system/Patient.rs"])


@dataclass(frozen=True, slots=True)
class BackendClient:
    """How we are known to the authorisation server. With an empty `token_url` the server's own configuration
    (`.well-known/smart-configuration`) names it; with an empty `scope` only what is needed is asked for."""

    client_id: str
    key_file: Path
    token_url: str = ""
    scope: str = ""


_tokens: dict[tuple[str, BackendClient], tuple[str, float]] = {}
"""Tokens of this process by server and client, with their end (monotonic seconds)."""


def access_token(base_url: str, client: BackendClient, timeout_s: float = 20.0) -> str:
    """A token for the FHIR server at `base_url`, from memory as long as it holds.

    Raises:
        ValueError: when the key file is no private JWK with a key id and an algorithm of the standard.
        FhirRejected: when the authorisation server refuses the client.
        FhirUnavailable: when it does not answer; try again later.
    """
    known = _tokens.get((base_url, client))
    if known is not None and known[1] > time.monotonic():
        return known[0]
    address = client.token_url or _discovered(base_url, timeout_s)
    form = {
        "grant_type": "client_credentials",
        "scope": client.scope or DEFAULT_SCOPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(client, address),
    }
    answer = _ask("POST", address, timeout_s, form)
    token = answer.get("access_token")
    if not isinstance(token, str) or str(answer.get("token_type", "")).lower() != "bearer":
        raise FhirRejected("the authorisation server gave no bearer token; check fhir.auth.token_url", 200)
    lasts = float(answer.get("expires_in") or 300)
    _tokens[(base_url, client)] = (token, time.monotonic() + max(lasts - SPARE_S, 0.0))
    return token


def forget_tokens() -> None:
    """Ask anew at the next use: for a server that has withdrawn a token before its end."""
    _tokens.clear()


def assertion(client: BackendClient, audience: str) -> str:
    """The signed assertion (JWT) that asks for one token. Raises ValueError for an unfit key."""
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    try:
        stated = json.loads(client.key_file.read_text(encoding="utf-8"))
        key = JWKRegistry.import_key(stated)
    except (OSError, ValueError, JoseError) as error:
        raise ValueError(f"fhir.auth.key_file is no private JWK ({type(error).__name__})") from error
    algorithm = stated.get("alg") or {"EC": "ES384", "RSA": "RS384"}.get(str(stated.get("kty")), "")
    if algorithm not in ALGORITHMS or not stated.get("kid") or not key.is_private:
        raise ValueError("fhir.auth.key_file must hold a private key with kid, for ES384 or RS384")
    now = int(time.time())
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": audience,
        "iat": now,
        "exp": now + LIFETIME_S,
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode({"alg": algorithm, "kid": stated["kid"], "typ": "JWT"}, claims, key, algorithms=list(ALGORITHMS))


def _discovered(base_url: str, timeout_s: float) -> str:
    answer = _ask("GET", f"{base_url.rstrip('/')}/.well-known/smart-configuration", timeout_s, None)
    address = answer.get("token_endpoint")
    if not isinstance(address, str) or not address.startswith(("https://", "http://")):
        raise FhirRejected("the FHIR server names no token endpoint; set fhir.auth.token_url", 200)
    return address


def _ask(method: str, address: str, timeout_s: float, form: dict[str, str] | None) -> dict[str, Any]:
    import httpx2

    try:
        answer = httpx2.request(method, address, data=form, timeout=timeout_s, headers={"Accept": "application/json"})
    except httpx2.RequestError as error:
        raise FhirUnavailable(f"the authorisation server cannot be reached ({type(error).__name__})") from error
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise FhirUnavailable(f"the authorisation server answers HTTP {answer.status_code}")
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if not answer.is_success or not isinstance(body, dict):
        reason = str(body.get("error", "")) if isinstance(body, dict) else ""
        raise FhirRejected(f"the authorisation server refuses: HTTP {answer.status_code} {reason}", answer.status_code)
    return body

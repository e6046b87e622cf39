"""SMART Backend Services against an authorisation server that checks the assertion with its own means."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from joserfc.jwk import ECKey

from timepoint_fhir.backend_services import BackendClient, access_token, assertion, forget_tokens
from timepoint_fhir.errors import FhirRejected, FhirUnavailable


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@dataclass
class Authority:
    """An authorisation server in this process: it knows one client by its public key."""

    public: ec.EllipticCurvePublicKey
    base: str = ""
    status: int = 200
    expires_in: int = 300
    forms: list[dict[str, str]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.forms.append(form)
        if self.status != 200:
            return self.status, {"error": "temporarily_unavailable"}
        head, body, signature = form["client_assertion"].split(".")
        raw = decoded(signature)
        half = len(raw) // 2
        numbers = [int.from_bytes(part, "big") for part in (raw[:half], raw[half:])]
        try:
            self.public.verify(encode_dss_signature(*numbers), f"{head}.{body}".encode(), ec.ECDSA(SHA384()))
        except InvalidSignature:
            return 401, {"error": "invalid_client"}
        header, claims = json.loads(decoded(head)), json.loads(decoded(body))
        fit = header["kid"] == "k1" and header["alg"] == "ES384" and claims["aud"] == f"{self.base}/token"
        fit = fit and claims["iss"] == claims["sub"] == "timepoint" and 0 < claims["exp"] - claims["iat"] <= 300
        if not fit or claims["jti"] in self.seen:
            return 401, {"error": "invalid_client"}
        self.seen.add(claims["jti"])
        return 200, {
            "access_token": f"token-{len(self.forms)}",
            "token_type": "bearer",
            "expires_in": self.expires_in,
            "scope": form["scope"],
        }


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key.json"
    made = ECKey.generate_key("P-384", {"kid": "k1", "alg": "ES384"})
    file.write_text(json.dumps(made.as_dict(private=True)))
    return file


@pytest.fixture
def authority(key: Path) -> Iterator[Authority]:
    forget_tokens()
    served = Authority(ECKey.import_key(json.loads(key.read_text())).public_key)

    class Handler(BaseHTTPRequestHandler):
        def _send(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._send(200, {"token_endpoint": f"{served.base}/token"})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._send(*served.answer({name: values[0] for name, values in parse_qs(text).items()}))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_signed_assertion_brings_a_token_that_is_kept(authority: Authority, key: Path) -> None:
    client = BackendClient("timepoint", key)
    assert access_token(authority.base, client) == "token-1"
    assert access_token(authority.base, client) == "token-1", "from memory"
    (form,) = authority.forms
    assert form["grant_type"] == "client_credentials"
    assert "system/Observation.crus" in form["scope"].split()
    assert not any(scope.startswith("system/*") for scope in form["scope"].split()), "no more than is needed"


def test_a_token_is_renewed_before_its_end_and_after_a_withdrawal(authority: Authority, key: Path) -> None:
    client = BackendClient("timepoint", key, token_url=f"{authority.base}/token")
    authority.expires_in = 20
    assert access_token(authority.base, client) == "token-1"
    assert access_token(authority.base, client) == "token-2", "twenty seconds are less than what is kept in reserve"
    authority.expires_in = 300
    assert access_token(authority.base, client) == "token-3"
    forget_tokens()
    assert access_token(authority.base, client) == "token-4"


def test_another_key_is_refused_for_good_and_an_outage_is_not(authority: Authority, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(ECKey.generate_key("P-384", {"kid": "k1", "alg": "ES384"}).as_dict(private=True)))
    with pytest.raises(FhirRejected, match="invalid_client"):
        access_token(authority.base, BackendClient("timepoint", other))
    authority.status = 503
    with pytest.raises(FhirUnavailable, match="503"):
        access_token(authority.base, BackendClient("timepoint", key))


@pytest.mark.parametrize("content", ["", "{}", '{"kty": "EC"}', "PUBLIC"])
def test_an_unfit_key_is_told(content: str, key: Path, tmp_path: Path) -> None:
    file = tmp_path / "unfit.json"
    if content == "PUBLIC":
        content = json.dumps(ECKey.import_key(json.loads(key.read_text())).as_dict(private=False))
    file.write_text(content)
    with pytest.raises(ValueError, match=r"fhir\.auth\.key_file"):
        assertion(BackendClient("timepoint", file), "https://example.org/token")

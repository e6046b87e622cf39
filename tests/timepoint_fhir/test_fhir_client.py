"""The client against a server that answers as told, over a real socket: what is refused and what may be tried again."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from timepoint_fhir.client import FhirClient
from timepoint_fhir.errors import FhirRejected, FhirUnavailable

Json = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
Reply = Callable[[BaseHTTPRequestHandler, bytes], Answer]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = reply(self, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/fhir/"
        finally:
            http.shutdown()
            thread.join()


def always(status: int, body: Json | bytes = b"", **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler, sent: (status, {k.replace("_", "-"): v for k, v in headers.items()}, content)


def outcome(text: str, severity: str = "error", **more: Any) -> Json:
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": "processing", "diagnostics": text, **more}],
    }


def post(reply: Reply, bundle: Json) -> list[str]:
    with server(reply) as url, FhirClient(url) as client:
        return client.post_transaction(bundle)


def answer_with(statuses: list[str], **entry: Any) -> Reply:
    entries = [{"response": {"status": status, **entry}} for status in statuses]
    return always(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_may_be_tried_again(bundle: Json, status: int) -> None:
    with pytest.raises(FhirUnavailable, match=str(status)):
        post(always(status, outcome("busy")), bundle)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 412, 413, 422])
def test_is_refused_for_good(bundle: Json, status: int) -> None:
    with pytest.raises(FhirRejected, match="no room here") as caught:
        post(always(status, outcome("no room here")), bundle)
    assert caught.value.status == status


def test_says_how_long_the_server_wants_us_to_wait(bundle: Json) -> None:
    with pytest.raises(FhirUnavailable) as caught:
        post(always(429, b"", Retry_After="17"), bundle)
    assert caught.value.retry_after_s == 17.0


def test_unauthorised_names_the_token_and_never_shows_it(bundle: Json) -> None:
    with (
        server(always(401)) as url,
        FhirClient(url, token="s3cret") as client,
        pytest.raises(FhirRejected, match="bearer token") as caught,
    ):
        client.post_transaction(bundle)
    assert "s3cret" not in str(caught.value)


def test_redirection_is_not_followed_with_our_token(bundle: Json) -> None:
    with pytest.raises(FhirRejected, match="check the base URL"):
        post(always(307, b"", Location="http://127.0.0.1:9/elsewhere"), bundle)


def test_nobody_listens(bundle: Json) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with FhirClient(f"http://127.0.0.1:{port}") as client, pytest.raises(FhirUnavailable, match="cannot be reached"):
        client.post_transaction(bundle)


def test_nobody_answers(bundle: Json) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with FhirClient(url, timeout_s=0.2) as client, pytest.raises(FhirUnavailable, match="in time"):
            client.capability()


def test_sends_what_a_server_expects(bundle: Json) -> None:
    seen: dict[str, Any] = {}

    def reply(handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        seen.update(path=handler.path, headers=dict(handler.headers), body=json.loads(body))
        return always(400)(handler, body)

    with server(reply) as url, FhirClient(url, token="abc") as client, pytest.raises(FhirRejected):
        client.post_transaction(bundle)
    assert seen["path"] == "/fhir"
    assert seen["headers"]["Content-Type"] == "application/fhir+json"
    assert seen["headers"]["Accept"] == "application/fhir+json"
    assert seen["headers"]["Authorization"] == "Bearer abc"
    assert seen["body"] == bundle


@pytest.mark.parametrize(
    "location",
    [
        "Observation/7/_history/1",
        "http://host/fhir/Observation/7/_history/1",
        "http://host/fhir/Observation/7",
        "Observation/7",
    ],
)
def test_gives_the_address_of_each_resource(bundle: Json, location: str) -> None:
    one = {**bundle, "entry": bundle["entry"][:1]}
    assert post(answer_with(["201 Created"], location=location), one) == ["Observation/7"]


def test_address_of_a_resource_that_was_there_already(bundle: Json) -> None:
    chosen = {**bundle, "entry": bundle["entry"][:1]}
    identity = chosen["entry"][0]["resource"]["id"]
    assert post(answer_with(["200 OK"]), chosen) == [f"Device/{identity}"]


def test_a_refused_entry_is_a_refusal(bundle: Json) -> None:
    statuses = ["201 Created"] * len(bundle["entry"])
    statuses[4] = "422"
    with pytest.raises(FhirRejected, match=r"entry 4: HTTP 422: .*wrong unit") as caught:
        post(answer_with(statuses, outcome=outcome("wrong unit")), bundle)
    assert caught.value.status == 422


def test_an_entry_that_failed_for_now_may_be_tried_again(bundle: Json) -> None:
    statuses = ["201"] * len(bundle["entry"])
    statuses[-1] = "503 Service Unavailable"
    with pytest.raises(FhirUnavailable):
        post(answer_with(statuses), bundle)


@pytest.mark.parametrize(
    "body", [b"<html>welcome</html>", b"[]", b'{"resourceType": "Patient"}', b'{"resourceType": "Bundle", "entry": []}']
)
def test_an_answer_that_is_no_transaction_response_is_a_refusal(bundle: Json, body: bytes) -> None:
    with pytest.raises(FhirRejected, match="check the base URL"):
        post(always(200, body), bundle)


@pytest.mark.parametrize(
    "text",
    [
        "Conditional reference Patient?identifier=urn:oid:1.2.276.0.76.4.999|MRN%2000417 matched 0 resources",
        "no patient 'MRN 00417' is known",
        "order ACC-5521 is closed",
        "Patient?name=Erika&birthdate=1970-02-03 is ambiguous",
    ],
)
def test_no_patient_data_in_a_refusal(bundle: Json, text: str) -> None:
    with pytest.raises(FhirRejected) as caught:
        post(always(400, outcome(text)), bundle)
    message = str(caught.value)
    assert "***" in message
    assert not [s for s in ("00417", "ACC-5521", "Erika", "1970") if s in message]


def test_explanation_prefers_errors_and_names_the_place(bundle: Json) -> None:
    body = outcome("something else", severity="warning")
    body["issue"].append(
        {"severity": "error", "code": "invalid", "details": {"text": "bad unit"}, "expression": ["Observation.value"]}
    )
    with pytest.raises(FhirRejected) as caught:
        post(always(422, body), bundle)
    assert str(caught.value) == "HTTP 422: invalid: bad unit at Observation.value"


def test_explanation_is_short(bundle: Json) -> None:
    with pytest.raises(FhirRejected) as caught:
        post(always(400, outcome("x" * 5000)), bundle)
    assert len(str(caught.value)) < 700


def test_capability_of_something_else_is_refused() -> None:
    reply = always(200, {"resourceType": "OperationOutcome"})
    with (
        server(reply) as url,
        FhirClient(url) as client,
        pytest.raises(FhirRejected, match="CapabilityStatement"),
    ):
        client.capability()


@pytest.mark.parametrize(
    "base_url",
    ["fhir.hospital.example", "ftp://host/fhir", "http://", "http://[::1", "http://host/fhir?x=1", "http://h:x"],
)
def test_base_url_must_be_one(base_url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        FhirClient(base_url)


@pytest.mark.parametrize("token", ["abc\n", "a b", "schlüssel"])
def test_token_that_cannot_be_one_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ValueError, match="bearer token") as caught:
        FhirClient("http://host/fhir", token=token)
    assert token not in str(caught.value)


def test_connection_that_breaks_off_may_be_tried_again(bundle: Json) -> None:
    def answer_and_leave(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_and_leave, args=(listener,))
        thread.start()
        with FhirClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as client, pytest.raises(FhirUnavailable):
            client.post_transaction(bundle)
        thread.join()

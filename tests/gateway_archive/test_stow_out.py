"""Results to an archive over STOW-RS: Orthanc's, and one that answers as a script says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gateway_archive.deliveries import UIDS, gateway_with_deliveries, make_due, rows, states, study_state
from peers.orthanc import running_orthanc
from peers.ports import free_port
from pydantic import ValidationError

from gateway.courier import deliver_due
from gateway.settings import Destination, Settings
from gateway.tables import DeliveryState, StudyState

Answer = tuple[int, Any]


def _settings(folder: Path, url: str, **more: Any) -> Settings:
    return Settings(data_dir=folder, destinations=({"name": "web", "kind": "stow", "url": url, **more},))


@contextmanager
def an_archive(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """A server that answers each POST with what `answer` makes of its Authorization header and body; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, said = answer(self.headers.get("Authorization", ""), body)
            content = json.dumps(said).encode() if said is not None else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _said(stored: list[str], failed: dict[str, int]) -> dict[str, Any]:
    def item(uid: str, **more: Any) -> dict[str, Any]:
        return {"00081155": {"vr": "UI", "Value": [uid]}, **more}

    said: dict[str, Any] = {"00081199": {"vr": "SQ", "Value": [item(u) for u in stored]}}
    if failed:
        reasons = [item(u, **{"00081197": {"vr": "US", "Value": [r]}}) for u, r in failed.items()]
        said["00081198"] = {"vr": "SQ", "Value": reasons}
    return said


@pytest.mark.peer
def test_orthanc_stores_what_is_posted_and_twice_is_as_once(tmp_path: Path) -> None:
    with running_orthanc(free_port(), route=False) as pacs:
        settings = _settings(tmp_path / "data", f"{pacs.dicomweb_url}/")
        with gateway_with_deliveries(settings) as gateway:
            deliver_due(gateway)
            assert states(gateway) == [DeliveryState.DELIVERED] * 2
            assert study_state(gateway) is StudyState.PUBLISHED
        with gateway_with_deliveries(_settings(tmp_path / "again", pacs.dicomweb_url)) as again:
            deliver_due(again)
            assert states(again) == [DeliveryState.DELIVERED] * 2
        found = pacs.find("Instance", {})
        assert sorted(i["MainDicomTags"]["SOPInstanceUID"] for i in found) == list(UIDS)


def test_each_instance_has_its_own_outcome(tmp_path: Path) -> None:
    with (
        an_archive(lambda _token, _body: (202, _said([UIDS[0]], {UIDS[1]: 0x0122}))) as url,
        gateway_with_deliveries(_settings(tmp_path / "data", url)) as gateway,
    ):
        deliver_due(gateway)
        assert states(gateway) == [DeliveryState.DELIVERED, DeliveryState.FAILED]
        assert rows(gateway)[UIDS[1]].last_error == "refused with 0x0122"
        assert study_state(gateway) is StudyState.ENCODED


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ((503, None), DeliveryState.PENDING, "HTTP status 503"),
        ((429, None), DeliveryState.PENDING, "HTTP status 429"),
        ((401, None), DeliveryState.PENDING, "HTTP status 401"),
        ((415, None), DeliveryState.FAILED, "HTTP status 415"),
        ((409, _said([], dict.fromkeys(UIDS, 0xA700))), DeliveryState.PENDING, "refused with 0xA700"),
        ((409, _said([], dict.fromkeys(UIDS, 0xA900))), DeliveryState.FAILED, "refused with 0xA900"),
        ((409, _said([], dict.fromkeys(UIDS, 0x0111))), DeliveryState.DELIVERED, ""),
        ((200, _said([], {})), DeliveryState.PENDING, "does not name this instance"),
        ((200, None), DeliveryState.DELIVERED, ""),
        ((202, None), DeliveryState.PENDING, "does not name this instance"),
    ],
)
def test_what_an_answer_means(tmp_path: Path, answer: Answer, state: DeliveryState, said: str) -> None:
    with (
        an_archive(lambda _token, _body: answer) as url,
        gateway_with_deliveries(_settings(tmp_path / "data", url)) as gateway,
    ):
        deliver_due(gateway)
        assert states(gateway) == [state] * 2
        assert said in rows(gateway)[UIDS[0]].last_error


def test_the_token_is_read_at_each_use(tmp_path: Path) -> None:
    seen: list[str] = []

    def answer(token: str, body: bytes) -> Answer:
        seen.append(token)
        assert body.count(b"DICM") == 2
        return (200, _said(list(UIDS), {})) if token == "Bearer new" else (401, None)

    token_file = tmp_path / "token"
    with (
        an_archive(answer) as url,
        gateway_with_deliveries(_settings(tmp_path / "data", url, token_file=token_file)) as gateway,
    ):
        deliver_due(gateway)
        assert "token file cannot be read" in rows(gateway)[UIDS[0]].last_error
        for token in ("old", "new\n"):
            token_file.write_text(token)
            make_due(gateway)
            deliver_due(gateway)
        assert states(gateway) == [DeliveryState.DELIVERED] * 2
    assert seen == ["Bearer old", "Bearer new"]


def test_an_archive_that_is_down_is_tried_again(tmp_path: Path) -> None:
    with gateway_with_deliveries(_settings(tmp_path / "data", f"http://127.0.0.1:{free_port()}")) as gateway:
        deliver_due(gateway)
        assert states(gateway) == [DeliveryState.PENDING] * 2
        assert "cannot be reached (ConnectError)" in rows(gateway)[UIDS[0]].last_error


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"kind": "stow"}, "needs a url"),
        ({"kind": "stow", "url": "ftp://pacs/x"}, "base URL"),
        ({"kind": "stow", "url": "https://me:secret@pacs/x"}, "no credentials"),
        ({"kind": "stow", "url": "https://pacs/x", "commitment": "required"}, "storage commitment goes over DICOM"),
        ({"kind": "dicom", "host": "pacs", "url": "https://pacs/x"}, "takes no url"),
        ({"kind": "fhir", "url": "https://pacs/x"}, "dicom"),
        ({"name": "fhir", "host": "pacs"}, "taken by the FHIR server"),
    ],
)
def test_a_destination_that_cannot_work_is_refused_at_the_start(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as raised:
        Destination(**{"name": "web", **settings})
    assert "secret" not in str(raised.value.errors()[0]["msg"])

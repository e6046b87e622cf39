"""Studies that come in over STOW-RS: what the receiving node does with C-STORE happens here too."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from gateway_archive.deliveries import as_node
from gateway_archive.web import running_web
from gateway_receive.mr_images import mr_image, mr_series, mr_study, write
from gateway_receive.node import Node, wait_until
from peers.orthanc import running_orthanc
from peers.ports import free_port
from starlette.testclient import TestClient

from gateway.api.app import create_app
from gateway.context import Gateway, open_gateway
from gateway.engine import InlineEngine
from gateway.process_tables import OpenAssociation
from gateway.settings import Settings
from gateway.tables import Instance, Quarantine, Study
from longitudinal.types import Contrast

STUDY = "1.2.840.99.1"
KIND = 'multipart/related; type="application/dicom"; boundary=part'


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    opened = open_gateway(Settings(data_dir=tmp_path / "data", web={"max_instance_mb": 1}))
    yield opened
    opened.database.dispose()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[TestClient]:
    with TestClient(create_app(gateway, InlineEngine())) as made:
        yield made


def _part10(image: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _body(contents: Sequence[bytes], before: bytes = b"", end: bytes = b"--part--\r\n") -> bytes:
    parts = b"".join(b"--part\r\nContent-Type: application/dicom\r\n\r\n" + c + b"\r\n" for c in contents)
    return before + parts + end


def _post(client: TestClient, contents: Sequence[bytes], path: str = "/dicom-web/studies", **more: Any) -> Any:
    return client.post(path, content=_body(contents, **more), headers={"Content-Type": KIND})


def _reasons(answer: Any) -> dict[str, int]:
    items = answer.json().get("00081198", {}).get("Value", [])
    return {i["00081155"]["Value"][0]: i["00081197"]["Value"][0] for i in items}


def _node(client: TestClient) -> Node:
    return as_node(client.app.state.gateway)  # type: ignore[attr-defined]


def test_a_study_is_stored_as_it_was_sent(gateway: Gateway) -> None:
    images = mr_study(STUDY, (Contrast.T1C, Contrast.FLAIR))
    for image in images:
        image.preamble = b"\0" * 128  # without one the client writes no Part 10 file
    with running_web(gateway) as url:
        answer = DICOMwebClient(f"{url}/dicom-web").store_instances(images)
        again = DICOMwebClient(f"{url}/dicom-web").store_instances(images, study_instance_uid=STUDY)
    stored = [str(i.ReferencedSOPInstanceUID) for i in answer.ReferencedSOPSequence]
    assert stored == [str(i.SOPInstanceUID) for i in images]
    assert len(again.ReferencedSOPSequence) == len(images), "twice is as once"
    node = as_node(gateway)
    rows = {row.sop_instance_uid: row for row in node.rows(Instance)}
    assert set(rows) == set(stored)
    study = node.study()
    assert (study.source_ae, study.instance_count) == ("local", len(images))
    assert study.due is not None, "its quiet time runs"
    assert node.rows(OpenAssociation) == [], "the sender is through"
    one = images[3]
    kept = pydicom.dcmread(gateway.received.path(rows[one.SOPInstanceUID].blob))
    assert kept == one


@pytest.mark.peer
def test_orthanc_sends_by_stow(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("sender ORTHANC secret-1\n")
    settings = Settings(
        data_dir=tmp_path / "data",
        web={"auth": {"mode": "token", "tokens_file": tokens}},
        dicom={"peers": [{"ae_title": "ORTHANC", "issuer": "HOSPITAL"}]},
    )
    gateway = open_gateway(settings)
    with running_web(gateway) as url:
        servers = {"gateway": {"Url": f"{url}/dicom-web/", "HttpHeaders": {"Authorization": "Bearer secret-1"}}}
        dicomweb = {"DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers}}
        with running_orthanc(free_port(), route=False, settings=dicomweb) as pacs:
            images = mr_study(STUDY, (Contrast.T1C, Contrast.FLAIR))
            pacs.upload(write(tmp_path / "out", images))
            study = pacs.find("Study", {"StudyInstanceUID": STUDY})[0]["ID"]
            body = json.dumps({"Resources": [study], "Synchronous": True}).encode()
            pacs.post("/dicom-web/servers/gateway/stow", body)
    node = as_node(gateway)
    assert {r.sop_instance_uid for r in node.rows(Instance)} == {str(i.SOPInstanceUID) for i in images}
    assert node.study().identity["normalised"][1] == "HOSPITAL", "the sender's name decides on the issuer"
    gateway.database.dispose()


def test_each_instance_has_its_outcome(client: TestClient) -> None:
    good, ct, truncated = (mr_image(study=STUDY, series=f"{STUDY}.1", number=n) for n in (1, 2, 3))
    ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    strange = mr_image(study=STUDY, series=f"{STUDY}.1", number=4)
    del strange.PixelData
    strange.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    contents = [_part10(good), _part10(ct), _part10(truncated)[:-100], b"no DICOM at all"]
    contents.append(_part10(strange))
    answer = _post(client, contents)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/dicom+json"
    assert [i["00081155"]["Value"][0] for i in answer.json()["00081199"]["Value"]] == [good.SOPInstanceUID]
    assert _reasons(answer) == {
        ct.SOPInstanceUID: 0x0122,
        truncated.SOPInstanceUID: 0xC000,
        strange.SOPInstanceUID: 0xC122,
    }
    assert len(answer.json()["0008119A"]["Value"]) == 1
    assert [r.sop_instance_uid for r in _node(client).rows(Instance)] == [good.SOPInstanceUID]
    assert [q.sop_instance_uid for q in _node(client).rows(Quarantine)] == [truncated.SOPInstanceUID]


def test_only_the_named_study_is_taken(client: TestClient) -> None:
    other = mr_image(study=f"{STUDY}.7", series=f"{STUDY}.7.1", number=1)
    answer = _post(client, [_part10(other)], f"/dicom-web/studies/{STUDY}")
    assert (answer.status_code, _reasons(answer)) == (409, {other.SOPInstanceUID: 0xA900})
    assert _node(client).rows(Study) == []


def test_a_full_disk_is_said_and_may_be_tried_again(tmp_path: Path) -> None:
    gateway = open_gateway(Settings(data_dir=tmp_path / "data", storage={"min_free_mb": 10**9}))
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    with TestClient(create_app(gateway, InlineEngine())) as client:
        answer = _post(client, [_part10(image)])
    assert (answer.status_code, _reasons(answer)) == (503, {image.SOPInstanceUID: 0xA700})
    assert answer.headers["Retry-After"]
    gateway.database.dispose()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "multipart/related; type=application/dicom"}, b"", 415),
        ({"Content-Type": KIND.replace("dicom", "dicom+json")}, b"", 415),
        ({"Content-Type": KIND}, b"--part\r\nContent-Type: text/plain\r\n\r\nx\r\n--part--\r\n", 415),
        ({"Content-Type": KIND}, b"nonsense", 400),
        ({"Content-Type": KIND}, b"", 400),
        ({"Content-Type": KIND}, _body([b"x"], end=b""), 400),
        ({"Content-Type": KIND}, _body([b"x" * (2**20 + 1)]), 413),
        ({"Content-Type": KIND}, _body([]), 400),
    ],
)
def test_what_is_no_store_request_is_refused(
    client: TestClient, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = client.post("/dicom-web/studies", content=body, headers=headers)
    assert answer.status_code == status
    assert _node(client).rows(Instance) == []


def test_a_preamble_and_any_cut_of_the_body_make_no_difference(client: TestClient) -> None:
    images = mr_series(STUDY, Contrast.T1C)
    body = _body([_part10(i) for i in images], before=b"this is a preamble\r\n")
    for size in (7, 1000, len(body)):
        cuts = (body[n : n + size] for n in range(0, len(body), size))
        answer = client.post("/dicom-web/studies", content=cuts, headers={"Content-Type": KIND})
        assert answer.status_code == 200
        assert len(answer.json()["00081199"]["Value"]) == len(images)


def test_a_sender_that_breaks_off_is_waited_for(gateway: Gateway) -> None:
    image = _part10(mr_image(study=STUDY, series=f"{STUDY}.1", number=1))
    node = as_node(gateway)
    with running_web(gateway) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            head = ["POST /dicom-web/studies HTTP/1.1", "Host: x", f"Content-Type: {KIND}", "Content-Length: 9999999"]
            connection.sendall("\r\n".join([*head, "", ""]).encode() + _body([image, image[:200]], end=b""))
            wait_until(lambda: len(node.rows(Instance)) == 1)
            assert [row.broke_at for row in node.rows(OpenAssociation)] == [None]
        wait_until(lambda: all(row.broke_at is not None for row in node.rows(OpenAssociation)))
    assert len(node.rows(OpenAssociation)) == 1


def test_who_may_send(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("sender pacs s-1\nviewer ann v-1\noperator ben o-1\n")
    web = {"host": "0.0.0.0", "auth": {"mode": "token", "tokens_file": tokens}}
    gateway = open_gateway(Settings(data_dir=tmp_path / "data", web=web))
    body = _body([_part10(mr_image(study=STUDY, series=f"{STUDY}.1", number=1))])
    with TestClient(create_app(gateway, InlineEngine())) as client:

        def status(token: str) -> int:
            headers = {"Content-Type": KIND, "Authorization": f"Bearer {token}"}
            return client.post("/dicom-web/studies", content=body, headers=headers).status_code

        assert [status(t) for t in ("", "wrong", "v-1", "s-1", "o-1")] == [401, 401, 403, 200, 200]
        assert client.get("/api/v1/studies", headers={"Authorization": "Bearer s-1"}).status_code == 403
    gateway.database.dispose()

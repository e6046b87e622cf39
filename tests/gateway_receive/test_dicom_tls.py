"""DICOM over TLS with certificates on both sides; a stalled or wrong client does not hold up the others."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_receive.certificates import Authority, Certificate, listener_tls
from gateway_receive.mr_images import mr_image
from gateway_receive.node import Node, make_node
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association

from gateway.pynetdicom_race import guard
from gateway.storage_scp import StorageScp
from gateway.tables import Instance
from gateway.tcp import no_delay


@pytest.fixture
def tls_node(tmp_path: Path, hospital: Authority) -> Node:
    return make_node(tmp_path / "data", dicom={"tls": listener_tls(hospital.issue("gateway"), hospital)})


@pytest.fixture
def scp(tls_node: Node) -> Iterator[StorageScp]:
    with tls_node.listening() as listening:
        yield listening


def client_context(trusted: Authority, shown: Certificate | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trusted.certificate.certificate_file))
    context.check_hostname = False
    if shown is not None:
        context.load_cert_chain(shown.certificate_file, shown.key_file)
    return context


def associate(scp: StorageScp, trusted: Authority, shown: Certificate) -> Association:
    entity = AE("PACS")
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate(
        "127.0.0.1",
        scp.port,
        ae_title="TIMEPOINT",
        tls_args=(client_context(trusted, shown), "127.0.0.1"),
        evt_handlers=[(evt.EVT_CONN_OPEN, no_delay)],
    )
    return guard(association)


def test_a_known_certificate_is_served(tls_node: Node, scp: StorageScp, hospital: Authority) -> None:
    association = associate(scp, hospital, hospital.issue("pacs"))
    assert association.send_c_store(mr_image(study="1.2.3", series="1.2.3.1", number=1)).Status == 0
    association.release()
    assert len(tls_node.rows(Instance)) == 1


@pytest.mark.parametrize("shown", ["none", "stranger"])
def test_without_a_known_certificate_there_is_no_association(
    scp: StorageScp, hospital: Authority, stranger: Authority, shown: str
) -> None:
    context = client_context(hospital, stranger.issue("stranger") if shown == "stranger" else None)
    with (
        socket.create_connection(("127.0.0.1", scp.port), timeout=20) as connection,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        context.wrap_socket(connection) as secured,
    ):
        secured.recv(1)  # in TLS 1.3 the client learns of its refusal at the first read


def test_a_client_that_stalls_in_the_handshake_holds_up_nobody(scp: StorageScp, hospital: Authority) -> None:
    with socket.create_connection(("127.0.0.1", scp.port), timeout=5):
        association = associate(scp, hospital, hospital.issue("pacs"))
        assert association.is_established
        association.release()


def test_a_client_without_tls_is_hung_up_on(scp: StorageScp) -> None:
    request = b"\x01\x00\x00\x00\x00\x44" + b"\x00" * 68  # the beginning of an A-ASSOCIATE-RQ
    with socket.create_connection(("127.0.0.1", scp.port), timeout=20) as connection:
        connection.sendall(request)
        answer = connection.recv(100)
        assert not answer.startswith(b"\x02")  # no A-ASSOCIATE-AC: a TLS alert or nothing
        assert connection.recv(100) == b""

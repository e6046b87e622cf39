"""Our calls over DICOM TLS: certificates on both sides, and refusals that say where to look."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_receive.certificates import Authority
from gateway_receive.mr_images import mr_image
from gateway_receive.node import Node, make_node

from gateway.client_tls import ClientTls
from gateway.dimse_client import RemoteAe, echo, store
from gateway.tables import Instance

# pynetdicom leaves its socket to the garbage collector where a connection is refused, which is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("CRITICAL", logger="pynetdicom")  # a logged exception would keep its socket
    yield
    gc.collect()  # now, where those warnings are expected


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "hospital", "hospital")


@pytest.fixture
def archive(tmp_path: Path, hospital: Authority) -> Node:
    """A node over TLS; as an archive it is the same as any other."""
    theirs = hospital.issue("archive")
    tls = {
        "certificate_file": theirs.certificate_file,
        "key_file": theirs.key_file,
        "ca_file": hospital.certificate.certificate_file,
    }
    return make_node(tmp_path / "data", dicom={"tls": tls})


def shown(by: Authority, trusted: Authority, **options: object) -> ClientTls:
    ours = by.issue("gateway")
    files = {"certificate_file": ours.certificate_file, "key_file": ours.key_file}
    return ClientTls(**files, ca_file=trusted.certificate.certificate_file, **options)


def test_objects_are_stored_over_mutual_tls(archive: Node, hospital: Authority, tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    mr_image(study="1.2.3", series="1.2.3.1", number=1).save_as(file, enforce_file_format=True)
    with archive.listening() as scp:
        remote = RemoteAe("TIMEPOINT", "127.0.0.1", scp.port, shown(hospital, hospital))
        assert echo("GATEWAY", remote) is None
        assert [outcome.stored for outcome in store("GATEWAY", remote, [file])] == [True]
    assert len(archive.rows(Instance)) == 1


def test_wrong_certificates_and_wrong_hosts_are_refused(archive: Node, hospital: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "other")
    with archive.listening() as scp:
        wrong = {
            "a certificate of a stranger": shown(other, hospital),
            "an archive that we do not trust": shown(hospital, other),
            "a certificate for another host": shown(hospital, hospital, server_name="pacs.example.org"),
        }
        for what, tls in wrong.items():
            answer = echo("GATEWAY", RemoteAe("TIMEPOINT", "127.0.0.1", scp.port, tls))
            assert answer is not None and "certificates" in answer, what
        assert echo("GATEWAY", RemoteAe("TIMEPOINT", "127.0.0.1", scp.port)) is not None

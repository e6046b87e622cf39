"""Our calls over DICOM TLS: certificates on both sides, and refusals that say where to look."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_receive.certificates import Authority, client_tls, listener_tls
from gateway_receive.mr_images import mr_image
from gateway_receive.node import Node, make_node

from gateway.dimse_client import RemoteAe, echo, store
from gateway.tables import Instance

# pynetdicom leaves its socket to the garbage collector where a connection is refused, which is what is tested here.
pytestmark = [
    pytest.mark.usefixtures("refused_connections"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def archive(tmp_path: Path, hospital: Authority) -> Node:
    """A node over TLS; as an archive it is the same as any other."""
    return make_node(tmp_path / "data", dicom={"tls": listener_tls(hospital.issue("archive"), hospital)})


def test_objects_are_stored_over_mutual_tls(archive: Node, hospital: Authority, tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    mr_image(study="1.2.3", series="1.2.3.1", number=1).save_as(file, enforce_file_format=True)
    with archive.listening() as scp:
        remote = RemoteAe("TIMEPOINT", "127.0.0.1", scp.port, client_tls(hospital, hospital))
        assert echo("GATEWAY", remote) is None
        assert [outcome.stored for outcome in store("GATEWAY", remote, [file])] == [True]
    assert len(archive.rows(Instance)) == 1


def test_wrong_certificates_and_wrong_hosts_are_refused(
    archive: Node, hospital: Authority, stranger: Authority
) -> None:
    with archive.listening() as scp:
        wrong = {
            "a certificate of a stranger": client_tls(stranger, hospital),
            "an archive that we do not trust": client_tls(hospital, stranger),
            "a certificate for another host": client_tls(hospital, hospital, server_name="pacs.example.org"),
        }
        for what, tls in wrong.items():
            answer = echo("GATEWAY", RemoteAe("TIMEPOINT", "127.0.0.1", scp.port, tls))
            assert answer is not None and "certificates" in answer, what
        assert echo("GATEWAY", RemoteAe("TIMEPOINT", "127.0.0.1", scp.port)) is not None

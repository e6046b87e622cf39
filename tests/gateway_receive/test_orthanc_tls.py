"""DICOM TLS with a PACS, both ways: Orthanc sends to us and takes from us, and neither trusts a stranger."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from gateway_receive.certificates import Authority, Certificate, client_tls, listener_tls
from gateway_receive.mr_images import mr_image
from gateway_receive.node import make_node, wait_until
from peers.orthanc import Orthanc, running_orthanc

from gateway.client_tls import ClientTls
from gateway.dimse_client import RemoteAe, store
from gateway.tables import Instance

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("refused_connections"),
    # pynetdicom leaves its socket to the garbage collector where a connection is refused.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.dcm"
    mr_image(study="1.2.3", series="1.2.3.1", number=1).save_as(file, enforce_file_format=True)
    return file


def orthanc_tls(shown: Certificate, trusted: Authority) -> dict[str, Any]:
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(shown.certificate_file),
        "DicomTlsPrivateKey": str(shown.key_file),
        "DicomTlsTrustedCertificates": str(trusted.certificate.certificate_file),
        "DicomTlsRemoteCertificateRequired": True,
    }


def stored(pacs: Orthanc, image: Path, tls: ClientTls | None) -> bool:
    remote = RemoteAe(pacs.ae_title, "127.0.0.1", pacs.dicom_port, tls)
    (outcome,) = store("TIMEPOINT", remote, [image], timeout_s=5.0)
    return outcome.stored


def test_results_go_to_a_pacs_over_mutual_tls_only(hospital: Authority, stranger: Authority, image: Path) -> None:
    with running_orthanc(1, route=False, settings=orthanc_tls(hospital.issue("pacs"), hospital)) as pacs:
        assert not stored(pacs, image, None)
        assert not stored(pacs, image, client_tls(stranger, hospital))
        assert not stored(pacs, image, client_tls(hospital, stranger))
        assert pacs.get("/instances") == []
        assert stored(pacs, image, client_tls(hospital, hospital))
        assert len(pacs.get("/instances")) == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_pacs_sends_to_us_over_tls_with_a_certificate_we_know(
    hospital: Authority, stranger: Authority, image: Path, tmp_path: Path, known: bool
) -> None:
    node = make_node(tmp_path / "data", dicom={"tls": listener_tls(hospital.issue("gateway"), hospital)})
    shown = (hospital if known else stranger).issue("pacs")
    with node.listening() as scp:
        entry = {"AET": "TIMEPOINT", "Host": "127.0.0.1", "Port": scp.port, "UseDicomTls": True}
        settings = {**orthanc_tls(shown, hospital), "DicomModalities": {"gateway": entry}}
        with running_orthanc(scp.port, route=False, settings=settings) as pacs:
            pacs.upload([image])
            resources = {"Resources": pacs.get("/instances"), "Synchronous": True, "Timeout": 10}
            if known:
                pacs.post("/modalities/gateway/store", json.dumps(resources).encode())
                wait_until(lambda: len(node.rows(Instance)) == 1)
            else:
                with pytest.raises(urllib.error.HTTPError):
                    pacs.post("/modalities/gateway/store", json.dumps(resources).encode())
                assert node.rows(Instance) == []

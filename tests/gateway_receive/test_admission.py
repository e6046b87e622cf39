"""Who may send: listed AE titles from their hosts; only this machine where nobody is listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_receive.mr_images import mr_image
from gateway_receive.node import make_node, wait_until
from gateway_receive.senders import associate, send
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from gateway.admission import Admission
from gateway.settings import Dicom, Peer

LISTED = Dicom(peers=(Peer(ae_title="PACS", host="10.1.2.3"), Peer(ae_title="LOCAL", host="localhost")))


@pytest.mark.parametrize(
    ("dicom", "calling", "address", "admitted"),
    [
        (Dicom(), "ANYONE", "127.0.0.1", True),
        (Dicom(), "ANYONE", "127.8.8.8", True),
        (Dicom(), "ANYONE", "::1", True),
        (Dicom(), "ANYONE", "::ffff:127.0.0.1", True),
        (Dicom(), "ANYONE", "10.1.2.3", False),
        (Dicom(allow_unknown_peers=True), "ANYONE", "10.1.2.3", True),
        (LISTED, "PACS", "10.1.2.3", True),
        (LISTED, "PACS ", "::ffff:10.1.2.3", True),
        (LISTED, "PACS", "10.1.2.4", False),
        (LISTED, "LOCAL", "127.0.0.1", True),
        (LISTED, "OTHER", "10.1.2.3", False),
        (LISTED, "OTHER", "127.0.0.1", False),
        (Dicom(peers=(Peer(ae_title="PACS", host="no-such-host.invalid"),)), "PACS", "127.0.0.1", False),
    ],
)
def test_the_list_decides(dicom: Dicom, calling: str, address: str, admitted: bool) -> None:
    assert (Admission(dicom).refusal(calling, address) is None) is admitted


def test_an_unlisted_ae_title_is_rejected_and_a_listed_one_served(tmp_path: Path) -> None:
    node = make_node(tmp_path, dicom={"peers": [{"ae_title": "PACS", "host": "127.0.0.1"}]})
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1)
    with node.listening() as scp:
        refused = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)], calling="STRANGER")
        assert refused.is_rejected
        assert refused.acceptor.primitive is not None
        assert refused.acceptor.primitive.diagnostic == 3  # calling AE title not recognised
        assert send(scp.port, [image], calling="PACS") == [0]
        wait_until(lambda: scp.open_associations == 0, 5)


def test_more_associations_than_allowed_are_rejected_for_now(tmp_path: Path) -> None:
    node = make_node(tmp_path, dicom={"max_associations": 2})
    contexts = [(MRImageStorage, ExplicitVRLittleEndian)]
    with node.listening() as scp:
        opened = [associate(scp.port, contexts) for _ in range(2)]
        third = associate(scp.port, contexts)
        assert [a.is_established for a in opened] == [True, True]
        assert third.is_rejected
        assert third.acceptor.primitive is not None
        assert third.acceptor.primitive.result == 2  # transient: the sender tries again
        for association in opened:
            association.release()

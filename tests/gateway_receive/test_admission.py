"""Who may send: listed AE titles from their hosts; only this machine where nobody is listed."""

from __future__ import annotations

import os
import signal
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


@pytest.mark.parametrize("processes", [0, 2])
def test_a_peer_that_has_used_up_its_associations_leaves_the_others_theirs(tmp_path: Path, processes: int) -> None:
    peers = [{"ae_title": "PACS", "max_associations": 2}, {"ae_title": "SCANNER"}]
    node = make_node(tmp_path, dicom={"processes": processes, "max_associations": 6, "peers": peers})
    contexts = [(MRImageStorage, ExplicitVRLittleEndian)]
    with node.listening() as scp:
        opened = [associate(scp.port, contexts, calling=name) for name in ("PACS", "PACS", "SCANNER", "SCANNER")]
        assert all(a.is_established for a in opened)
        third = associate(scp.port, contexts, calling="PACS")
        assert third.is_rejected
        assert third.acceptor.primitive is not None
        refused = third.acceptor.primitive
        assert (refused.result, refused.result_source, refused.diagnostic) == (2, 3, 2)  # local limit exceeded, for now
        opened.append(associate(scp.port, contexts, calling="SCANNER"))
        assert opened[-1].is_established
        for _ in range(5):  # one after the other, each as soon as the release of the last one is answered
            opened.pop(0).release()
            opened.append(associate(scp.port, contexts, calling="PACS"))
            assert opened[-1].is_established
            opened.insert(0, opened.pop())
        for association in opened:
            association.release()


def test_places_of_a_process_that_is_killed_are_free_at_once(tmp_path: Path) -> None:
    peer = {"ae_title": "PACS", "max_associations": 1}
    node = make_node(tmp_path, dicom={"processes": 2, "peers": [peer]})
    contexts = [(MRImageStorage, ExplicitVRLittleEndian)]
    with node.listening() as scp:
        first = associate(scp.port, contexts)
        assert first.is_established
        assert associate(scp.port, contexts).is_rejected
        pool = scp._pool
        assert pool is not None
        killed = {child.process.pid for child in pool._children}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len({c.process.pid for c in list(pool._children)} - killed) == 2)
        again = associate(scp.port, contexts)
        assert again.is_established
        again.release()
        wait_until(lambda: not first.is_alive())

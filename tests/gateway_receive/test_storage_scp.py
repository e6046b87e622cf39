"""Instances over real associations: stored as received, once, and answered with the status that PS3.4 B.2.3 gives."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from gateway_receive.mr_images import encoded, mr_image, mr_series, mr_study, write
from gateway_receive.node import Node, make_node
from gateway_receive.senders import DCMTK_ENVIRONMENT, associate, send, storescu
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.arrivals import Verdict
from gateway.part10 import read_part10
from gateway.tables import Instance, Quarantine, QuarantineKind, Series, Study, StudyState
from longitudinal.types import Contrast

STUDY = "1.2.826.0.1.3680043.10.1"


def test_a_study_over_one_association_is_indexed_with_its_timer(node: Node) -> None:
    with node.listening() as scp:
        statuses = send(scp.port, mr_study(STUDY))
    assert statuses == [0] * 20
    study = node.study()
    assert (study.state, study.instance_count) == (StudyState.RECEIVING, 20)
    assert study.due is not None
    assert study.last_arrival is not None
    assert (study.due - study.last_arrival).total_seconds() == 60
    assert study.patient_key
    assert study.identity["normalised"] == ["PAT-001", "HOSPITAL"]
    assert {s.header["words"] for s in node.rows(Series)} == {
        "t1 mprage post gad t1 mprage post gad",
        "t1 se tra t1 se tra",
        "t2 tse tra t2 tse tra",
        "t2 flair tra t2 flair tra",
    }


def test_bytes_are_stored_as_received(node: Node) -> None:
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    with node.listening() as scp:
        send(scp.port, [image])
    (row,) = node.rows(Instance)
    stored = read_part10(node.received.read(row.blob))
    assert stored.dataset == encoded(image)
    assert (stored.transfer_syntax_uid, stored.source_ae) == (str(ExplicitVRLittleEndian), "PACS")


def test_the_same_instance_again_is_acknowledged_and_changes_nothing(node: Node) -> None:
    images = mr_series(STUDY, Contrast.T1C)
    with node.listening() as scp:
        send(scp.port, images)
        before = node.study()
        assert send(scp.port, [*images, *reversed(images)]) == [0] * 10
        node.settle()
        assert scp.counts == {Verdict.STORED: 5, Verdict.DUPLICATE: 10}
    after = node.study()
    assert (after.instance_count, after.due, after.last_arrival) == (5, before.due, before.last_arrival)
    assert len(list(node.received.keys())) == 5


def test_the_same_instance_from_another_node_is_no_conflict(node: Node) -> None:
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    with node.listening() as scp:
        send(scp.port, [image], calling="PACS")
        assert send(scp.port, [image], calling="SCANNER") == [0]
    assert len(node.rows(Instance)) == 1
    assert node.rows(Quarantine) == []


def test_the_same_image_in_another_syntax_is_no_conflict(node: Node) -> None:
    explicit = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    implicit = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with node.listening() as scp:
        assert send(scp.port, [explicit]) == send(scp.port, [implicit]) == [0]
        node.settle()
        assert scp.counts == {Verdict.STORED: 1, Verdict.DUPLICATE: 1}
    assert node.rows(Quarantine) == []


def test_another_image_under_the_same_uid_is_kept_for_a_decision(node: Node) -> None:
    first = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    second = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    second.PixelData = bytes(reversed(second.PixelData))
    with node.listening() as scp:
        assert send(scp.port, [first, second, second]) == [0, 0, 0]
    (item,) = node.rows(Quarantine)
    assert item.kind is QuarantineKind.CONFLICTING_COPY
    assert item.blob
    assert read_part10(node.received.read(item.blob)).dataset == encoded(second)
    (stored,) = node.rows(Instance)
    assert read_part10(node.received.read(stored.blob)).dataset == encoded(first)
    assert node.study().state is StudyState.QUARANTINED


def test_the_same_uid_in_another_study_makes_no_study(node: Node) -> None:
    first = mr_image(study=STUDY, series=f"{STUDY}.1", number=1, sop_instance_uid="1.2.3.4")
    second = mr_image(study="1.2.3.99", series="1.2.3.99.1", number=1, sop_instance_uid="1.2.3.4")
    with node.listening() as scp:
        assert send(scp.port, [first, second]) == [0, 0]
    assert (node.study().study_instance_uid, node.study().state) == (STUDY, StudyState.QUARANTINED)


def test_one_study_over_many_associations_in_any_order(node: Node) -> None:
    images = mr_study(STUDY)
    shuffled = [images[(7 * i) % len(images)] for i in range(len(images))]
    with node.listening() as scp:
        for image in shuffled:
            assert send(scp.port, [image]) == [0]
    assert node.study().instance_count == 20
    assert sorted(s.instance_count for s in node.rows(Series)) == [5, 5, 5, 5]
    # The first image by number describes its series, whichever came first.
    assert {s.header["rank"][0] for s in node.rows(Series)} == {1}


def test_echo_is_answered(node: Node) -> None:
    with node.listening() as scp:
        association = associate(scp.port, [(Verification, ExplicitVRLittleEndian)])
        assert association.send_c_echo().Status == 0
        association.release()


def test_another_called_ae_title_is_rejected(node: Node) -> None:
    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)], called="OTHER")
        assert association.is_rejected
        assert association.acceptor.primitive is not None
        assert association.acceptor.primitive.diagnostic == 7  # called AE title not recognised


@pytest.mark.parametrize("sop_class", [CTImageStorage, ComputedRadiographyImageStorage, "1.2.826.0.1.3680043.2.1"])
def test_classes_that_are_not_for_us_are_rejected_at_negotiation(node: Node, sop_class: str) -> None:
    with node.listening() as scp:
        association = associate(
            scp.port, [(sop_class, ExplicitVRLittleEndian), (MRImageStorage, ExplicitVRLittleEndian)]
        )
        assert [c.abstract_syntax for c in association.rejected_contexts] == [sop_class]
        assert [c.abstract_syntax for c in association.accepted_contexts] == [MRImageStorage]
        association.release()


def test_a_ct_image_under_an_mr_context_is_a_mismatch(node: Node) -> None:
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    image.SOPClassUID = CTImageStorage
    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)])
        image.file_meta.MediaStorageSOPClassUID = MRImageStorage
        status = _store_raw(association, encoded(image), image.SOPInstanceUID)
        association.release()
    assert status == 0xA900
    (item,) = node.rows(Quarantine)
    assert item.kind is QuarantineKind.CLASS_MISMATCH


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (QuarantineKind.TRUNCATED, 0xC000),
        (QuarantineKind.UNREADABLE, 0xC000),
        (QuarantineKind.NO_PIXEL_DATA, 0xC000),
        (QuarantineKind.MISSING_UID, 0xA900),
    ],
)
def test_what_cannot_be_used_is_refused_and_kept(node: Node, kind: QuarantineKind, status: int) -> None:
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    content = encoded(image)
    if kind is QuarantineKind.TRUNCATED:
        content = content[:-100]
    elif kind is QuarantineKind.UNREADABLE:
        content = b"GIF89a, certainly not a data set" * 20
    elif kind is QuarantineKind.NO_PIXEL_DATA:
        del image.PixelData
        content = encoded(image)
    else:
        del image.StudyInstanceUID
        content = encoded(image)
    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)])
        assert _store_raw(association, content, image.SOPInstanceUID) == status
        assert _store_raw(association, content, image.SOPInstanceUID) == status
        good = mr_image(study=STUDY, series=f"{STUDY}.1", number=2)
        assert association.send_c_store(good).Status == 0  # the service is alive, on the same association
        association.release()
    (item,) = node.rows(Quarantine)
    assert item.kind is kind
    assert item.blob
    assert item.remedy
    assert read_part10(node.received.read(item.blob)).dataset == content
    assert len(node.rows(Instance)) == 1


def test_without_a_patient_id_the_images_are_stored_and_the_study_waits(node: Node) -> None:
    with node.listening() as scp:
        assert send(scp.port, mr_series(STUDY, Contrast.T1C, 3, patient_id="  ")) == [0, 0, 0]
    study = node.study()
    assert (study.state, study.due, study.instance_count) == (StudyState.QUARANTINED, None, 3)
    (item,) = node.rows(Quarantine)
    assert (item.kind, item.study_key) == (QuarantineKind.MISSING_PATIENT_ID, study.study_key)


def test_two_patient_ids_in_one_study(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_series(STUDY, Contrast.T1C, 3))
        assert send(scp.port, mr_series(STUDY, Contrast.FLAIR, 1, patient_id="PAT-002")) == [0]
    study = node.study()
    assert (study.state, study.instance_count) == (StudyState.QUARANTINED, 3)
    (item,) = node.rows(Quarantine)
    assert item.kind is QuarantineKind.CONFLICTING_PATIENT
    assert item.detail["normalised"] == ["PAT-002", "HOSPITAL"]


def test_full_disk_is_answered_as_out_of_resources_and_recovers(tmp_path: Path) -> None:
    free_mb = shutil.disk_usage(tmp_path).free // 2**20
    full = make_node(tmp_path / "data", storage={"min_free_mb": free_mb + 10_000})
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    with full.listening() as scp:
        assert send(scp.port, [image]) == [0xA700]
    assert full.rows(Study) == []
    roomy = make_node(tmp_path / "data", storage={"min_free_mb": 0})
    with roomy.listening() as scp:
        assert send(scp.port, [image]) == [0]


def test_stop_lets_an_open_association_finish(node: Node) -> None:
    with node.listening() as scp:
        port = scp.port
        association = associate(port, [(MRImageStorage, ExplicitVRLittleEndian)])
        assert association.send_c_store(mr_image(study=STUDY, series=f"{STUDY}.1", number=1)).Status == 0
        association.release()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


@pytest.mark.peer
def test_dcmtk_echo_and_store(node: Node, tmp_path: Path) -> None:
    files = write(tmp_path / "out", mr_study(STUDY))
    with node.listening() as scp:
        echo = ["/usr/bin/echoscu", "-aec", "TIMEPOINT", "127.0.0.1", str(scp.port)]
        assert subprocess.run(echo, env=DCMTK_ENVIRONMENT, timeout=30, check=False).returncode == 0
        code, output = storescu(scp.port, files)
        assert code == 0, output
        wrong, output = storescu(scp.port, files[:1], called="OTHER")
        assert wrong != 0
        assert "Called AE Title Not Recognized" in output
    assert node.study().instance_count == 20


@pytest.mark.peer
def test_dcmtk_goes_on_after_a_refused_instance(node: Node, tmp_path: Path) -> None:
    bad = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    del bad.PixelData
    files = write(tmp_path / "out", [bad, *mr_series(STUDY, Contrast.FLAIR, 3)])
    with node.listening() as scp:
        _, output = storescu(scp.port, files, "--no-halt")
    assert "Error: CannotUnderstand" in output, output
    assert node.study().instance_count == 3


def _store_raw(association: object, content: bytes, sop_instance_uid: str) -> int:
    """Send bytes as they are: what a broken sender does and a library refuses to do."""
    from io import BytesIO

    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import C_STORE

    assert isinstance(association, Association)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = MRImageStorage
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.DataSet = BytesIO(content)
    (context,) = association.accepted_contexts
    association._reactor_checkpoint.clear()
    assert context.context_id is not None
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert isinstance(response, C_STORE)
    return int(response.Status or 0)

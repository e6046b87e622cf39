"""A real PACS in front: Orthanc routes stable studies to the node, repeatedly; nothing is doubled or looped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from gateway_receive.mr_images import mr_image, mr_series, mr_study, write
from gateway_receive.node import Node, make_node, wait_until
from peers.orthanc import running_orthanc
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage

from gateway.arrivals import Verdict
from gateway.tables import Instance, Quarantine, Series, Study
from longitudinal.types import Contrast

pytestmark = pytest.mark.peer
STUDY = "1.2.840.99.1"


@pytest.mark.parametrize("one_association", [True, False], ids=["one-association", "an-association-each"])
def test_a_stable_study_is_routed_and_a_growing_one_again(tmp_path: Path, one_association: bool) -> None:
    node = make_node(tmp_path / "data")
    with node.listening() as scp, running_orthanc(scp.port, one_association=one_association) as pacs:
        pacs.upload(write(tmp_path / "first", mr_study(STUDY, (Contrast.T1C, Contrast.FLAIR))))
        wait_until(lambda: len(node.rows(Instance)) == 10, 60)
        # More of the study makes Orthanc send all of it again.
        pacs.upload(write(tmp_path / "second", mr_series(STUDY, Contrast.T2)))
        wait_until(lambda: len(node.rows(Instance)) == 15, 60)
        wait_until(lambda: all(j["State"] == "Success" for j in pacs.jobs()), 60)
        node.settle()
        assert scp.counts == {Verdict.STORED: 15, Verdict.DUPLICATE: 10}
    assert node.study().instance_count == 15
    assert len(node.rows(Series)) == 3
    assert node.rows(Quarantine) == []


def test_only_mr_is_routed_and_compressed_images_come_as_they_are(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    capture = mr_image(study=STUDY, series=f"{STUDY}.9", number=9)
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    capture.Modality = "OT"
    compressed = mr_image(study=STUDY, series=f"{STUDY}.1", number=1, size=64)
    pixels = compressed.pixel_array
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
    with node.listening() as scp, running_orthanc(scp.port) as pacs:
        pacs.upload(write(tmp_path / "out", [capture, compressed]))
        wait_until(lambda: len(node.rows(Instance)) == 1, 60)
    (row,) = node.rows(Instance)
    assert row.transfer_syntax_uid == JPEG2000Lossless
    assert np.array_equal(pydicom.dcmread(node.received.path(row.blob)).pixel_array, pixels)


def test_what_waits_for_a_person_does_not_fail_the_job_of_the_pacs(tmp_path: Path) -> None:
    node: Node = make_node(tmp_path / "data")
    one, other = mr_series(STUDY, Contrast.T1C), mr_series(STUDY, Contrast.FLAIR, patient_id="PAT-002")
    with node.listening() as scp, running_orthanc(scp.port) as pacs:
        pacs.upload(write(tmp_path / "one", one))
        wait_until(lambda: len(node.rows(Instance)) == 5, 60)
        # Another patient in the same study: Orthanc keeps it as a study of its own and routes it.
        pacs.upload(write(tmp_path / "other", other))
        wait_until(lambda: len(node.rows(Quarantine)) == 5, 60)
        wait_until(lambda: all(j["State"] == "Success" for j in pacs.jobs()), 60)
    assert len(node.rows(Study)) == 1
    assert len(node.rows(Instance)) == 5


def test_dicomweb_answers_and_the_process_ends_with_the_block(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    with node.listening() as scp, running_orthanc(scp.port, route=False) as pacs:
        pacs.upload(write(tmp_path / "out", mr_series(STUDY, Contrast.T1C)))
        found = pacs.get(f"/dicom-web/studies?StudyInstanceUID={STUDY}")
        assert [s["0020000D"]["Value"] for s in found] == [[STUDY]]
        assert len(pacs.find("Instance", {"StudyInstanceUID": STUDY})) == 5
        assert pacs.post("/modalities/gateway/echo", b"{}") == {}
        assert node.rows(Instance) == []
    assert not Path(f"/proc/{pacs.pid}").exists()

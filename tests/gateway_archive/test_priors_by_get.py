"""C-GET from DCMTK's archive and Orthanc: what they hold comes as it is, bounded; who offers none is told apart.

DCMTK's archive sends by C-GET in the first context of a class, whatever the image is in, so compressed images are
asked of Orthanc.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from gateway_receive.mr_images import mr_series, write
from gateway_receive.node import make_node
from peers.dcmqrscp import Dcmqrscp, running_dcmqrscp
from peers.orthanc import running_orthanc
from peers.ports import free_port
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from gateway.archive_checks import priors
from gateway.dimse_client import RemoteAe
from gateway.findings import Health
from gateway.get_client import Limits, get_is_offered, get_series
from gateway.part10 import EncodedInstance
from gateway.settings import Settings
from longitudinal.types import Contrast

STUDY = "1.2.840.97.1"
ENOUGH = Limits(seconds=60, instance_bytes=2**20)
pytestmark = pytest.mark.peer


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Dcmqrscp]:
    with running_dcmqrscp(tmp_path / "archive") as running:
        yield running


def remote(archive: Dcmqrscp) -> RemoteAe:
    return RemoteAe(archive.ae_title, "127.0.0.1", archive.port)


def plain(folder: Path) -> list[Path]:
    return write(folder / "plain", [*mr_series(STUDY, Contrast.T1C), *mr_series(STUDY, Contrast.T2)])


def compressed(folder: Path) -> list[Path]:
    files = write(folder / "compressed", mr_series(STUDY, Contrast.FLAIR))
    for file in files:
        image = dcmread(file)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(file)
    return files


def series_of(files: Sequence[Path]) -> list[str]:
    return sorted({str(dcmread(file).SeriesInstanceUID) for file in files})


def pixels_of(files: Sequence[Path]) -> dict[str, bytes]:
    images = [dcmread(file) for file in files]
    return {str(i.SOPInstanceUID): bytes(i.PixelData) for i in images}


def get(archive: RemoteAe, series: Sequence[str], limits: Limits = ENOUGH) -> tuple[str, list[EncodedInstance]]:
    taken: list[EncodedInstance] = []

    def take(instance: EncodedInstance) -> int:
        taken.append(instance)
        return 0

    return get_series("TIMEPOINT", archive, STUDY, series, take, limits), taken


def test_the_series_that_were_asked_for_come(archive: Dcmqrscp, tmp_path: Path) -> None:
    files = plain(tmp_path)
    archive.store(files)
    sent, series = pixels_of(files), series_of(files)
    problem, taken = get(remote(archive), series)
    assert problem == ""
    assert {i.sop_instance_uid for i in taken} == sent.keys()
    assert all(sent[i.sop_instance_uid] in bytes(i.dataset) for i in taken)
    _, taken = get(remote(archive), series[:1])
    assert len(taken) == 5


def test_compressed_and_plain_images_come_as_they_are(tmp_path: Path) -> None:
    files = [*plain(tmp_path), *compressed(tmp_path)]
    with running_orthanc(free_port(), route=False, ae_title="ARCHIVE") as pacs:
        pacs.upload(files)
        problem, taken = get(RemoteAe("ARCHIVE", "127.0.0.1", pacs.dicom_port), series_of(files))
    assert problem == ""
    sent = pixels_of(files)
    assert {i.sop_instance_uid for i in taken} == sent.keys()
    assert all(sent[i.sop_instance_uid] in bytes(i.dataset) for i in taken)
    syntaxes = [i.transfer_syntax_uid for i in taken]
    assert (syntaxes.count(RLELossless), syntaxes.count(ExplicitVRLittleEndian)) == (5, 10)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(seconds=60, instance_bytes=300), "an instance is larger than web.max_instance_mb"),
        (Limits(seconds=0, instance_bytes=2**20), "the archive took too long"),
    ],
)
def test_it_ends_at_the_limits(archive: Dcmqrscp, tmp_path: Path, limits: Limits, problem: str) -> None:
    files = plain(tmp_path)
    archive.store(files)
    found, taken = get(remote(archive), series_of(files), limits)
    assert found == problem
    assert len(taken) < 3


def test_what_is_refused_here_is_told(archive: Dcmqrscp, tmp_path: Path) -> None:
    files = plain(tmp_path)
    archive.store(files)
    refused = get_series("TIMEPOINT", remote(archive), STUDY, series_of(files), lambda _: 0xA700, ENOUGH)
    assert refused == "C-GET was refused with 0xA702"  # out of resources: sub-operations failed


def test_the_doctor_tells_an_archive_that_offers_it_from_one_that_does_not(archive: Dcmqrscp, tmp_path: Path) -> None:
    assert get_is_offered("TIMEPOINT", remote(archive)) is None
    with make_node(tmp_path / "data").listening() as scp:  # a node that stores and offers nothing else
        for port, ae_title, health in ((archive.port, "ARCHIVE", Health.OK), (scp.port, "TIMEPOINT", Health.FAILURE)):
            peer = {"ae_title": ae_title, "port": port, "query": "c-find"}
            wanted = {"archive": ae_title, "retrieve": "c-get"}
            (finding,) = priors(Settings(data_dir=tmp_path, dicom={"peers": [peer]}, priors=wanted))
            assert finding.health is health
        assert "does not offer C-GET" in finding.detail

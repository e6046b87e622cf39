"""How many images a study should have, asked of a real archive by C-FIND and by QIDO."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gateway_archive.deliveries import as_node
from gateway_receive.mr_images import mr_image, mr_series, mr_study, write
from gateway_receive.node import Node
from gateway_receive.senders import send
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port
from pydicom import Dataset
from pydicom.uid import RawDataStorage, SecondaryCaptureImageStorage

from gateway.archive_query import ArchivedSeries, ArchivedStudy, ArchiveSilent
from gateway.archive_tables import ArchiveCount
from gateway.completion import close_due_studies
from gateway.context import Gateway, open_gateway
from gateway.expected_count import ask_archives, count_images
from gateway.settings import Settings
from gateway.tables import StudyState
from longitudinal.types import Contrast

STUDY = "1.2.840.99.1"
NEEDED = (Contrast.T1C, Contrast.FLAIR)


def _settings(folder: Path, peer: dict[str, Any], **study: Any) -> Settings:
    dicom = {"port": 0, "peers": [{"ae_title": "PACS", **peer}]}
    return Settings(data_dir=folder, dicom=dicom, study={"quiet_s": 0, **study})


def _peer(query: str, pacs: Orthanc) -> dict[str, Any]:
    if query == "qido":
        return {"query": "qido", "url": pacs.dicomweb_url}
    # Orthanc knows us as TIMEPOINT and itself as ORTHANC; what it sends is sent here under the name PACS
    return {"query": "c-find", "port": pacs.dicom_port}


@contextmanager
def _gateway(settings: Settings) -> Iterator[tuple[Gateway, Node]]:
    gateway = open_gateway(settings)
    try:
        yield gateway, as_node(gateway)
    finally:
        gateway.database.dispose()


def _receive(node: Node, images: Sequence[Dataset]) -> None:
    with node.listening() as scp:
        assert set(send(scp.port, images)) == {0}


def _other_objects(study: str, series: str) -> list[Dataset]:
    """What an archive keeps beside MR images: a capture in a series of its own, raw data in an MR series."""
    capture = mr_image(study=study, series=f"{study}.90", number=1)
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    capture.Modality = "OT"
    raw = mr_image(study=study, series=series, number=99)
    raw.SOPClassUID = raw.file_meta.MediaStorageSOPClassUID = RawDataStorage
    del raw.PixelData
    return [capture, raw]


@pytest.mark.peer
@pytest.mark.parametrize("query", ["c-find", "qido"])
def test_a_study_waits_for_the_images_that_the_archive_has_more(tmp_path: Path, query: str) -> None:
    images = mr_study(STUDY, NEEDED)
    more = mr_series(STUDY, Contrast.T2)
    extra = _other_objects(STUDY, str(images[0].SeriesInstanceUID))
    with running_orthanc(free_port(), route=False, ae_title="PACS") as pacs:
        pacs.upload(write(tmp_path / "out", [*images, *more, *extra]))
        with _gateway(_settings(tmp_path / "data", _peer(query, pacs))) as (gateway, node):
            _receive(node, images)
            assert close_due_studies(gateway.database, gateway.settings) == [], "not before the archive was asked"
            assert ask_archives(gateway) == 1
            assert close_due_studies(gateway.database, gateway.settings) == []
            study = node.study()
            assert study.reason == f"Waiting: {len(images)} of {len(images) + len(more)} images."
            assert study.due == study.force_due
            _receive(node, more)
            assert ask_archives(gateway) == 1, "more images make the answer stale"
            assert close_due_studies(gateway.database, gateway.settings) == [(study.study_key, 1)]
            evidence = node.study().evidence
    assert (evidence["images"], evidence["expected_images"]) == (len(images) + len(more),) * 2
    assert evidence["archive"]["name"] == "PACS"
    assert evidence["archive"]["asked_at"]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("query", ["c-find", "qido"])
def test_an_archive_that_is_down_holds_a_study_up_for_a_time_only(tmp_path: Path, query: str) -> None:
    peer = {"query": query, "port": free_port(), "url": f"http://127.0.0.1:{free_port()}"}
    with _gateway(_settings(tmp_path / "data", peer, count_wait_s=60)) as (gateway, node):
        _receive(node, mr_study(STUDY, NEEDED))
        assert ask_archives(gateway) == 1
        assert close_due_studies(gateway.database, gateway.settings) == []
        study = node.study()
        assert "has not said how many images" in study.reason
        assert ask_archives(gateway) == 0, "it is not asked all the time"
        (row,) = node.rows(ArchiveCount)
        assert row.problem and row.series is None and row.ask_at is not None
        later = row.first_asked_at + dt.timedelta(seconds=61)
        assert close_due_studies(gateway.database, gateway.settings, later) == [(study.study_key, 1)]
        evidence = node.study().evidence
        assert evidence["expected_images"] is None
        assert any(
            "how many images PACS holds is not known" in note and row.problem in note for note in evidence["notes"]
        )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_force_time_ends_the_waiting_for_the_archive_too(tmp_path: Path) -> None:
    peer = {"query": "c-find", "port": free_port()}
    with _gateway(_settings(tmp_path / "data", peer, count_wait_s=9999, force_s=100)) as (gateway, node):
        _receive(node, mr_study(STUDY, NEEDED))
        ask_archives(gateway)
        close_due_studies(gateway.database, gateway.settings)
        study = node.study()
        assert study.force_due is not None
        assert close_due_studies(gateway.database, gateway.settings, study.force_due) == [(study.study_key, 1)]


@pytest.mark.peer
def test_what_the_archive_has_more_at_the_force_time_is_for_a_person(tmp_path: Path) -> None:
    images = mr_study(STUDY, NEEDED)
    with running_orthanc(free_port(), route=False, ae_title="PACS") as pacs:
        pacs.upload(write(tmp_path / "out", [*images, *mr_series(STUDY, Contrast.T2)]))
        with _gateway(_settings(tmp_path / "data", _peer("c-find", pacs), force_s=100)) as (gateway, node):
            _receive(node, images)
            ask_archives(gateway)
            close_due_studies(gateway.database, gateway.settings)
            force = node.study().force_due
            assert force is not None
            close_due_studies(gateway.database, gateway.settings, force)
            assert node.study().state is StudyState.QUARANTINED
            assert f"{len(images)} of" in node.study().reason


@pytest.mark.peer
def test_a_study_that_the_archive_does_not_know_is_no_proof(tmp_path: Path) -> None:
    with running_orthanc(free_port(), route=False, ae_title="PACS") as pacs:
        for query in ("c-find", "qido"):
            with _gateway(_settings(tmp_path / query, _peer(query, pacs))) as (gateway, node):
                _receive(node, mr_study(STUDY, NEEDED))
                ask_archives(gateway)
                assert node.rows(ArchiveCount)[0].problem == "the archive does not know this study"
                assert close_due_studies(gateway.database, gateway.settings) == []


def test_a_sender_without_a_query_is_not_waited_for(tmp_path: Path) -> None:
    with _gateway(_settings(tmp_path / "data", {})) as (gateway, node):
        _receive(node, mr_study(STUDY, NEEDED))
        assert ask_archives(gateway) == 0
        assert len(close_due_studies(gateway.database, gateway.settings)) == 1
        assert "archive" not in node.study().evidence


@dataclass
class _Scripted:
    """An archive that answers what it was made with."""

    found: Sequence[ArchivedSeries]
    classes: Sequence[str] = ()

    def studies(self, patient_id: str) -> list[ArchivedStudy]:
        raise ArchiveSilent("not asked here")

    def series(self, study_instance_uid: str) -> list[ArchivedSeries]:
        return list(self.found)

    def sop_classes(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        return list(self.classes)


def test_only_mr_images_are_counted() -> None:
    mr = "1.2.840.10008.5.1.4.1.1.4"
    archive = _Scripted(
        [ArchivedSeries("1", "MR", 5), ArchivedSeries("2", "SR", 7), ArchivedSeries("3", "MR", None)],
        [mr, mr, RawDataStorage, ""],
    )
    assert count_images(archive, STUDY, {"1": 5}) == {"1": 5, "3": 3}
    assert count_images(archive, STUDY, {}) == {"1": 3, "3": 3}, "a larger count is looked into"
    assert count_images(_Scripted([ArchivedSeries("1", "MR", 5)]), STUDY, {}) == {"1": 5}, "no instance level there"
    assert count_images(_Scripted([]), STUDY, {}) is None

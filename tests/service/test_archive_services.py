"""The whole service with an archive that counts, sends priors and commits: Orthanc, and `timepoint serve` beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port
from peers.simulated import SimulatedStudies
from peers.site import Site, prepare_site
from peers.waiting import await_condition
from sqlmodel import select

from gateway.archive_tables import Commitment, PriorSearch, SearchState
from gateway.tables import Delivery, DeliveryState
from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(900)]

CONFIGURATION = """
[[dicom.peers]]
ae_title = "ORTHANC"
port = {port}
query = "c-find"
[[dicom.peers]]
ae_title = "TESTER"
[priors]
archive = "ORTHANC"
[[destinations]]
name = "pacs"
host = "127.0.0.1"
port = {port}
ae_title = "ORTHANC"
commitment = "required"
"""


def _route(orthanc: Orthanc, study_instance_uid: str) -> None:
    (study,) = orthanc.find("Study", {"StudyInstanceUID": study_instance_uid})
    body = {"Resources": [study["ID"]], "Synchronous": False}
    orthanc.post("/modalities/gateway/store", json.dumps(body).encode())


def test_a_new_patient_is_counted_completed_by_priors_and_committed(tmp_path: Path) -> None:
    truths = simulate_studies(1, 2, seed=23, out=tmp_path / "studies", size=StudySize.SMALL)
    studies = SimulatedStudies(tmp_path / "studies", truths)
    port = free_port()
    site: Site = prepare_site(tmp_path / "site", quiet_s=3.0, more=CONFIGURATION.format(port=port))
    site.start()
    try:
        with running_orthanc(site.dicom_port, dicom_port=port, route=False) as orthanc:
            for truth in truths:
                orthanc.upload(studies.files(truth))
            _route(orthanc, truths[-1].study_instance_uid)  # the earlier one is left for the gateway to find
            site.await_settled(studies.uids, timeout_s=600)
            await_condition(lambda: _searched(site), 60, site.describe)
            found = site.studies()
            assert [s.study_instance_uid for s in found] == studies.uids, "in the order of acquisition"
            assert {s.state.value for s in found} == {"published"}, site.describe()
            for study, truth in zip(found, truths, strict=True):
                images = len(studies.files(truth))
                assert (study.evidence["expected_images"], study.evidence["images"]) == (images, images)
                assert study.evidence["archive"]["name"] == "ORTHANC"
            assert [site.summaries()[uid]["timepoint"] for uid in studies.uids] == [1, 2]
            deliveries = site.read(lambda session: session.exec(select(Delivery)).all())
            current = {s.study_key: s.revision for s in found}
            assert {d.state for d in deliveries if d.revision == current[d.study_key]} == {DeliveryState.COMMITTED}
            assert site.read(lambda session: session.exec(select(Commitment)).all())
            for study in found:
                series = orthanc.find("Series", {"StudyInstanceUID": study.study_instance_uid})
                kinds = {s["MainDicomTags"]["Modality"] for s in series}
                assert kinds >= {"MR", "SEG", "SR"}
            searches = site.read(lambda session: session.exec(select(PriorSearch)).all())
            assert [(s.counts["wanted"], s.counts["arrived"]) for s in searches] == [(1, 1)]
            report = json.loads(site.command("doctor", "--json").stdout)
            assert [f for f in report["findings"] if f["health"] == "failure"] == []
    finally:
        site.kill()


def _searched(site: Site) -> bool:
    searches = site.read(lambda session: session.exec(select(PriorSearch)).all())
    return [s.state for s in searches] == [SearchState.DONE]

"""PACS in, SEG, SR and FHIR out: Orthanc routes to the gateway and gets the results; a real FHIR server the numbers."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from peers.fhir import running_fhir_server
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port
from peers.simulated import SimulatedStudies
from peers.site import Site, prepare_site
from peers.validators import dicom_errors
from sqlmodel import select

from gateway.tables import Delivery, TimePoint

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def round_trip(
    tmp_path_factory: pytest.TempPathFactory, two_patients: SimulatedStudies
) -> Iterator[tuple[Site, Orthanc, str]]:
    """All six studies sent to Orthanc in shuffled order, in pieces and partly twice, and everything settled."""
    pacs_port = free_port()
    with running_fhir_server() as fhir_url:
        site = prepare_site(tmp_path_factory.mktemp("site"), destination=("ORTHANC", pacs_port), fhir_url=fhir_url)
        site.start()
        try:
            with running_orthanc(site.dicom_port, dicom_port=pacs_port, one_association=False) as orthanc:
                _send_shuffled(orthanc, two_patients)
                site.await_settled(two_patients.uids, timeout_s=1200)
                yield site, orthanc, fhir_url
        finally:
            site.kill()


def _send_shuffled(orthanc: Orthanc, studies: SimulatedStudies) -> None:
    order = random.Random(5)
    truths = list(studies.truths)
    order.shuffle(truths)
    for truth in truths:
        files = studies.files(truth)
        order.shuffle(files)
        orthanc.upload([*files, *files[:7]])


def test_every_study_is_published_once(round_trip: tuple[Site, Orthanc, str], two_patients: SimulatedStudies) -> None:
    site, _, _ = round_trip
    found = site.studies()
    assert sorted(s.study_instance_uid for s in found) == sorted(two_patients.uids)
    assert {s.state.value for s in found} == {"published"}, site.describe()
    assert {s.instance_count for s in found} == {len(two_patients.files(t)) for t in two_patients.truths}


def test_histories_stand_in_the_order_of_acquisition(
    round_trip: tuple[Site, Orthanc, str], two_patients: SimulatedStudies
) -> None:
    site, _, _ = round_trip
    summaries = site.summaries()
    patients: dict[str, list[dict[str, Any]]] = {}
    for truth in two_patients.truths:
        patients.setdefault(truth.patient_id, []).append(summaries[truth.study_instance_uid])
    assert len(patients) == 2
    keys = {entries[0]["patient_key"] for entries in patients.values()}
    assert len(keys) == 2
    for entries in patients.values():
        assert len({e["patient_key"] for e in entries}) == 1
        assert [e["timepoint"] for e in entries] == [1, 2, 3]
        assert entries[0]["response"] == "baseline"
        largest = [max(e["lesions"], key=lambda m: m["volumes_ml"]["whole"])["tracking_uid"] for e in entries]
        assert len(set(largest)) == 1, "the main lesion keeps its tracking UID through all time points"


def test_results_stand_in_the_original_study(
    round_trip: tuple[Site, Orthanc, str], two_patients: SimulatedStudies
) -> None:
    _, orthanc, _ = round_trip
    for truth in two_patients.truths:
        source = pydicom.dcmread(two_patients.files(truth)[0], stop_before_pixels=True)
        (study,) = orthanc.find("Study", {"StudyInstanceUID": truth.study_instance_uid})
        kinds = {series["MainDicomTags"]["Modality"] for series in _series(orthanc, truth.study_instance_uid)}
        assert kinds >= {"MR", "SEG", "SR"}
        assert study["PatientMainDicomTags"]["PatientID"] == source.PatientID


def test_no_object_breaks_its_information_object_definition(
    round_trip: tuple[Site, Orthanc, str], two_patients: SimulatedStudies, tmp_path: Path
) -> None:
    _, orthanc, _ = round_trip
    checked = 0
    for truth in two_patients.truths:
        for series in _series(orthanc, truth.study_instance_uid):
            if series["MainDicomTags"]["Modality"] in ("SEG", "SR"):
                for instance in series["Instances"]:
                    file = tmp_path / f"{instance}.dcm"
                    file.write_bytes(orthanc.file(instance))
                    assert dicom_errors(file) == []
                    checked += 1
    assert checked >= 3 * len(two_patients.truths)


def test_the_numbers_are_the_same_in_sr_fhir_and_record(
    round_trip: tuple[Site, Orthanc, str], two_patients: SimulatedStudies, tmp_path: Path
) -> None:
    from inference.encoding.reading import read_report

    site, orthanc, fhir_url = round_trip
    entry = site.summaries()[two_patients.uids[-1]]
    recorded = sorted(round(m["volumes_ml"]["whole"], 1) for m in entry["lesions"] if m["volumes_ml"]["whole"] > 0)
    (report,) = orthanc.find("Instance", {"SOPInstanceUID": entry["sr_sop_uid"]})
    file = tmp_path / "sr.dcm"
    file.write_bytes(orthanc.file(report["ID"]))
    read = {round(g.volume_ml, 1) for g in read_report(pydicom.dcmread(file)) if g.volume_ml is not None}
    assert set(recorded) <= read
    published = [_get(f"{fhir_url}/{r}") for r in entry["fhir"] if r.startswith("Observation/")]
    volumes = {
        round(o["valueQuantity"]["value"], 1)
        for o in published
        if o.get("valueQuantity", {}).get("code") in ("ml", "mL")
    }
    assert set(recorded) <= volumes


def test_nothing_is_analysed_again_because_results_came_back(round_trip: tuple[Site, Orthanc, str]) -> None:
    """Orthanc calls the study stable again when SEG and SR arrive; that must not start another round."""
    site, orthanc, _ = round_trip
    before = [(s.study_key, s.revision) for s in site.studies()]
    points = site.read(lambda session: len(session.exec(select(TimePoint)).all()))
    orthanc.wait_until(lambda: all(j["State"] not in ("Pending", "Running") for j in orthanc.jobs()))
    assert [(s.study_key, s.revision) for s in site.studies()] == before
    rows = site.read(lambda session: session.exec(select(Delivery)).all())
    assert len({(r.study_key, r.revision, r.destination, r.object_name) for r in rows}) == len(rows)
    assert points == site.read(lambda session: len(session.exec(select(TimePoint)).all()))


def test_the_doctor_finds_the_site_healthy(round_trip: tuple[Site, Orthanc, str]) -> None:
    site, _, _ = round_trip
    done = site.command("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert [f for f in report["findings"] if f["health"] != "ok"] == []


def test_the_command_line_shows_studies_and_patients(round_trip: tuple[Site, Orthanc, str]) -> None:
    site, _, _ = round_trip
    studies = json.loads(site.command("studies", "list", "--json").stdout)
    patients = json.loads(site.command("patients", "list", "--json").stdout)
    assert len(studies) == 6
    assert [p["time_points"] for p in patients] == [3, 3]
    shown = json.loads(site.command("patients", "show", patients[0]["patient_key"], "--json").stdout)
    assert [s["result"]["timepoint"]["order"] for s in shown["studies"]] == [1, 2, 3]


def test_the_pages_and_the_api_answer(round_trip: tuple[Site, Orthanc, str]) -> None:
    site, _, _ = round_trip
    base = f"http://127.0.0.1:{site.web_port}"
    assert b"<title>Timepoint</title>" in urllib.request.urlopen(f"{base}/").read()
    assert _get(f"{base}/readyz") == {"status": "ready"}
    patient = _get(f"{base}/api/v1/patients")[0]["patient_key"]
    assert len(_get(f"{base}/api/v1/patients/{patient}/history")["studies"]) == 3
    assert b'timepoint_studies{state="published"} 6.0' in urllib.request.urlopen(f"{base}/metrics").read()


def test_the_log_names_no_patient(round_trip: tuple[Site, Orthanc, str], two_patients: SimulatedStudies) -> None:
    site, _, _ = round_trip
    log = site.log.read_text()
    for truth in two_patients.truths:
        source = pydicom.dcmread(two_patients.files(truth)[0], stop_before_pixels=True)
        for mark in (source.PatientID, str(source.PatientName).split("^")[0], source.AccessionNumber):
            assert mark not in log


def _series(orthanc: Orthanc, study_uid: str) -> list[dict[str, Any]]:
    return orthanc.find("Series", {"StudyInstanceUID": study_uid})


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())

"""Merge and unmerge while `timepoint serve` runs on its real engine, killed half-way through each, with Orthanc and a
FHIR server as receivers: records, results, what is taken back."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from identity.hospital import open_hospital
from peers.fhir import running_fhir_server
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port
from peers.simulated import SimulatedStudies
from peers.site import Site, prepare_site
from peers.validators import dicom_errors
from peers.waiting import await_condition
from sqlmodel import Session, col, select

from gateway.column_types import utc_now
from gateway.database import session_scope
from gateway.identity import PatientId, first_contact
from gateway.identity_tables import Rehoming
from gateway.object_names import REJECTION, REPORT, SEG
from gateway.records import read_patient_record
from gateway.tables import Delivery, DeliveryState, Outbox, Study

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    # pynetdicom leaves its socket unclosed where a connection is refused, which the kills provoke.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def served(analysed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Orthanc, str]]:
    """Three studies of A, B and A, analysed before; the service has just sent their results out."""
    folder, pacs_port = tmp_path_factory.mktemp("served"), free_port()
    shutil.copytree(analysed, folder / "data")
    _send_all_again(folder / "data")
    with running_fhir_server() as fhir:
        site = prepare_site(folder, destination=("ORTHANC", pacs_port), fhir_url=fhir, quiet_s=2.0)
        with running_orthanc(site.dicom_port, dicom_port=pacs_port, route=False) as orthanc:
            site.start()
            try:
                _await(site, _is_at_rest)
                yield site, orthanc, fhir
            finally:
                site.kill()


def _send_all_again(data: Path) -> None:
    hospital = open_hospital(data)
    with session_scope(hospital.database) as session:
        for row in session.exec(select(Delivery).where(Delivery.state == DeliveryState.DELIVERED)).all():
            row.state, row.attempts, row.next_try = DeliveryState.PENDING, 0, utc_now()
            session.add(row)
    hospital.gateway.database.dispose()


def _is_at_rest(session: Session) -> bool:
    studies = session.exec(select(Study)).all()
    pending = session.exec(select(Delivery.id).where(Delivery.state == DeliveryState.PENDING)).first()
    waiting = session.exec(select(Outbox.id).where(col(Outbox.sent_at).is_(None))).first()
    return pending is None and waiting is None and all(s.state.value == "published" for s in studies)


def _await(site: Site, condition: Callable[[Session], bool], timeout_s: float = 240.0) -> None:
    gateway = site.gateway()

    def look() -> bool:
        with session_scope(gateway.database) as session:
            return condition(session)

    try:
        await_condition(look, timeout_s, site.describe)
    finally:
        gateway.database.dispose()


def _decide_and_kill(site: Site, *command: str) -> None:
    """Make a decision, kill the service once the first job that follows has begun, and start it again."""
    jobs = site.read(lambda session: len(session.exec(select(Outbox)).all()))
    done = site.command("patients", *command)
    assert done.returncode == 0, done.stderr

    def half_way(session: Session) -> bool:
        submitted = [row for row in session.exec(select(Outbox)).all() if row.sent_at is not None]
        states = {s.state.value for s in session.exec(select(Study)).all()}
        return len(submitted) > jobs and bool(states - {"published", "complete"})

    _await(site, half_way)
    site.kill()
    assert not site.read(_is_at_rest), "it was through before it could be killed"
    site.start()
    _await(site, lambda session: _is_at_rest(session) and _all_retracted(session))


def _all_retracted(session: Session) -> bool:
    """A retraction is a job of its own, beside the study."""
    wanted = {(m.study_key, m.revision) for m in session.exec(select(Rehoming)).all() if m.taken_back}
    notes = session.exec(select(Delivery).where(Delivery.object_name == REJECTION)).all()
    return wanted <= {(row.study_key, row.revision) for row in notes if row.state is DeliveryState.DELIVERED}


def _key(site: Site, patient_id: str) -> str:
    return str(site.read(lambda session: first_contact(session, PatientId(patient_id, "HOSPITAL"))))


def _record(site: Site, patient_key: str) -> Any:
    return site.read(lambda session: read_patient_record(session, patient_key).record)


def _of_study(orthanc: Orthanc, study_instance_uid: str) -> list[pydicom.Dataset]:
    found = orthanc.find("Instance", {"StudyInstanceUID": study_instance_uid})
    return [pydicom.dcmread(BytesIO(orthanc.file(instance["ID"]))) for instance in found]


def _current(site: Site, study_instance_uid: str, name: str) -> Delivery:
    def look(session: Session) -> Delivery:
        study = session.exec(select(Study).where(Study.study_instance_uid == study_instance_uid)).one()
        query = select(Delivery).where(Delivery.study_key == study.study_key, Delivery.object_name == name)
        return session.exec(query.order_by(col(Delivery.revision).desc())).first()  # type: ignore[return-value]

    return site.read(look)  # type: ignore[no-any-return]


def test_a_merge_and_its_unmerge_go_through_although_the_service_is_killed(
    served: tuple[Site, Orthanc, str], one_person: SimulatedStudies, tmp_path: Path
) -> None:
    site, orthanc, fhir = served
    a, b, second = _key(site, "A"), _key(site, "B"), one_person.uids[1]
    before = _record(site, a), _record(site, b)
    assert {ds.PatientID for ds in _of_study(orthanc, second)} == {"B"}

    _decide_and_kill(site, "merge", a, b)
    assert [p.study_instance_uid for p in _record(site, a).time_points] == one_person.uids[:3]
    wrong = {name: _current(site, second, name).sop_instance_uid for name in (SEG, REPORT)}
    stored = {str(ds.SOPInstanceUID): ds for ds in _of_study(orthanc, second)}
    assert {stored[uid].PatientID for uid in wrong.values()} == {"A"}
    assert all(ds.Modality != "KO" for ds in stored.values())
    _assert_nothing_twice(site)
    published = _standing(fhir, site, second)
    assert published

    _decide_and_kill(site, "unmerge", b)
    assert (_record(site, a), _record(site, b)) == before
    stored = {str(ds.SOPInstanceUID): ds for ds in _of_study(orthanc, second)}
    assert {stored[_current(site, second, name).sop_instance_uid].PatientID for name in (SEG, REPORT)} == {"B"}
    (note,) = [ds for ds in stored.values() if ds.Modality == "KO"]
    assert (note.PatientID, note.ConceptNameCodeSequence[0].CodeValue) == ("A", "113037")
    rejected = {
        str(item.ReferencedSOPInstanceUID)
        for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert set(wrong.values()) <= rejected <= stored.keys()
    assert {str(stored[uid].PatientID) for uid in rejected} == {"A"}
    _assert_readable(orthanc, note, tmp_path)
    _assert_nothing_twice(site)
    assert {_status(fhir, name) for name in published} == {"entered-in-error"}
    standing = _standing(fhir, site, second)
    assert standing and not standing & published


def _assert_readable(orthanc: Orthanc, note: pydicom.Dataset, folder: Path) -> None:
    """The archive gives the note back, by REST and by DICOMweb, and dciodvfy has nothing against it."""
    (found,) = orthanc.find("Instance", {"SOPInstanceUID": str(note.SOPInstanceUID)})
    file = folder / "note.dcm"
    file.write_bytes(orthanc.file(found["ID"]))
    assert dicom_errors(file) == []
    url = f"{orthanc.dicomweb_url}/studies/{note.StudyInstanceUID}/instances?SOPInstanceUID={note.SOPInstanceUID}"
    with urllib.request.urlopen(url, timeout=30) as response:
        (listed,) = json.loads(response.read())
    assert listed["00080016"]["Value"] == ["1.2.840.10008.5.1.4.1.1.88.59"]


def _assert_nothing_twice(site: Site) -> None:
    rows = site.read(lambda session: session.exec(select(Delivery)).all())
    names = Counter((r.study_key, r.revision, r.destination, r.object_name) for r in rows)
    assert set(names.values()) == {1}


def _standing(fhir: str, site: Site, study_instance_uid: str) -> set[str]:
    """The observations of a study that its FHIR server holds and that were not taken back."""
    names = [name for name in site.summaries()[study_instance_uid]["fhir"] if name.startswith("Observation/")]
    return {name for name in names if _status(fhir, name) != "entered-in-error"}


def _status(fhir: str, name: str) -> str:
    with urllib.request.urlopen(f"{fhir}/{name}", timeout=30) as response:
        return str(json.loads(response.read())["status"])

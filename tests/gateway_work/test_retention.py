"""Retention: only what is delivered and needed no more goes, and a kill in the middle leaves nothing inconsistent."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa
from peers.indexed import add_patient, add_study
from peers.published import LONG_AGO, RETENTION, dicom_bytes, gateway_with, make_old, publish, with_store
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sqlmodel import col, select
from typer.testing import CliRunner

from gateway.arrivals import ArrivalRules, StoredInstance, Verdict, index_instance
from gateway.blobs import BlobStore
from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.engine import JobHalted
from gateway.frames import analysis_folder
from gateway.header_copies import without_pixels
from gateway.identity_tables import Cause, Rehoming
from gateway.instance_facts import read_facts
from gateway.object_names import REJECTION
from gateway.orphans import find_orphans
from gateway.part10 import read_part10
from gateway.quarantine import Finding, keep
from gateway.retention import apply
from gateway.retention_plan import DataClass, plan
from gateway.stages import deidentification, retraction
from gateway.stages.deidentification import original_images, research_study
from gateway.tables import Analysis, Delivery, DeliveryState, Instance, QuarantineKind, Study, StudyState
from timepoint.cli import app


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


def images(gateway: Gateway, study_key: str) -> list[Instance]:
    with read_scope(gateway.database) as session:
        return list(session.exec(select(Instance).where(Instance.study_key == study_key)).all())


def test_by_default_everything_is_kept_for_ever(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path, "")
    publish(gateway, "1.1")
    assert plan(gateway) == apply(gateway) == []


def test_the_dry_run_says_what_goes_and_then_exactly_that_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    blobs = [i.blob for i in images(gateway, key)]
    headers = [_header(gateway.received.read(b)) for b in sorted(blobs)]
    monkeypatch.chdir(tmp_path)
    shown = json.loads(CliRunner().invoke(app, ["storage", "expire", "--dry-run", "--json"]).stdout)
    assert [(r["data_class"], r["objects"]) for r in shown["removals"]] == [
        ("originals", 8), ("working", 4), ("results", 2),
    ]  # fmt: skip
    assert all(gateway.received.exists(b) for b in blobs)
    done = json.loads(CliRunner().invoke(app, ["storage", "expire", "--json"]).stdout)
    assert done["removals"] == shown["removals"]
    assert not any(gateway.received.exists(b) for b in blobs)
    left = original_images(gateway, key)
    assert left.released == 8
    assert sorted(_header(f.read_bytes()) for f in left.files) == sorted(headers)
    assert not any(research_study(gateway, key, r).exists() for r in (1, 2, 3))
    assert [analysis_folder(gateway, key, r).exists() for r in (1, 2, 3)] == [True, False, True]
    assert plan(gateway) == []
    found = find_orphans(gateway)
    assert (found.stray, found.lost) == ((), ())


def _header(content: bytes) -> str:
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).to_json()


def test_earlier_segmentations_keep_the_header_that_a_retraction_names_them_by(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    apply(gateway)
    with read_scope(gateway.database) as session:
        rows = session.exec(select(Delivery).where(Delivery.study_key == key)).all()
    for row in rows:
        object_ = pydicom.dcmread(io.BytesIO(gateway.results.read(str(row.blob))))
        assert object_.SOPInstanceUID == row.sop_instance_uid
        assert ("PixelData" in object_) is not (row.object_name == "seg" and row.revision < 3)


def test_a_retraction_after_retention_names_all_that_was_sent(tmp_path: Path) -> None:
    """The study turns out to be another patient's when the pixels of what was sent about the wrong one are gone."""
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    assert DataClass.RESULTS in {removal.data_class for removal in apply(gateway)}
    with session_scope(gateway.database) as session:
        wrong = session.exec(select(Delivery).where(Delivery.study_key == key)).all()
        sent = {row.sop_instance_uid for row in wrong}
        patient = str(session.get_one(Study, key).patient_key)
        other = add_patient(session, 2).patient_key
        ids = [row.id for row in wrong if row.id is not None]
        change = Rehoming(study_key=key, from_key=patient, to_key=other, revision=4, cause=Cause.MOVE, taken_back=ids)
        session.add(change)
    retraction.run(gateway, {"study_key": key, "revision": 4})
    with read_scope(gateway.database) as session:
        (row,) = session.exec(select(Delivery).where(Delivery.object_name == REJECTION)).all()
    note = pydicom.dcmread(io.BytesIO(gateway.results.read(str(row.blob))))
    named = {
        item.ReferencedSOPInstanceUID
        for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert named == sent
    assert len(sent) == 6


def _unpublished(study: Study) -> None:
    study.state = StudyState.ENCODED


def _held(study: Study) -> None:
    study.on_hold = True


def _reopened(study: Study) -> None:
    study.due = dt.datetime.now(dt.UTC)


def _retracted(study: Study) -> None:
    study.state = StudyState.RETRACTED


@pytest.mark.parametrize("change", [_unpublished, _held, _reopened, _retracted])
def test_unfinished_work_is_never_deleted(tmp_path: Path, change: Callable[[Study], None]) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    with session_scope(gateway.database) as session:
        study = session.get_one(Study, key)
        change(study)
        session.add(study)
    make_old(gateway, key, LONG_AGO)
    assert apply(gateway) == []


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.FAILED])
def test_what_is_not_delivered_is_never_deleted(tmp_path: Path, state: DeliveryState) -> None:
    gateway = gateway_with(tmp_path)
    publish(gateway, "1.1", state=state)
    assert apply(gateway) == []


def test_what_has_to_be_committed_is_kept_until_it_is(tmp_path: Path) -> None:
    pacs = '[[destinations]]\nname = "PACS"\nhost = "localhost"\ncommitment = "required"\n'
    gateway = gateway_with(tmp_path, RETENTION + pacs)
    key = publish(gateway, "1.1", state=DeliveryState.DELIVERED)
    assert apply(gateway) == []
    with session_scope(gateway.database) as session:
        for row in session.exec(select(Delivery)).all():
            row.state = DeliveryState.COMMITTED
    make_old(gateway, key, LONG_AGO)
    assert {r.data_class for r in apply(gateway)} == {DataClass.ORIGINALS, DataClass.WORKING, DataClass.RESULTS}


def test_what_waits_for_a_person_is_kept_and_so_is_what_is_young(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    publish(gateway, "1.2", age=dt.timedelta(days=29))
    with session_scope(gateway.database) as session:
        finding = Finding(QuarantineKind.CONFLICTING_COPY, "Two copies.", dedup="1", study_key=key, blob="0" * 64)
        keep(session, finding)
    assert plan(gateway) == []


def test_an_analysis_that_others_are_registered_to_stays(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    key, other = publish(gateway, "1.1"), publish(gateway, "1.2")
    with session_scope(gateway.database) as session:
        for row in session.exec(select(Analysis).where(Analysis.study_key == other)).all():
            row.detail = {"series": {}, "frame": [key, 2]}
            session.add(row)
    apply(gateway)
    assert analysis_folder(gateway, key, 2).exists()
    assert not analysis_folder(gateway, other, 2).exists()


class DyingStore(BlobStore):
    """A store whose process is killed at the fourth deletion."""

    def delete(self, key: str) -> None:
        if sum(1 for _ in self.keys()) <= 5:
            raise Killed
        super().delete(key)


def test_a_kill_in_the_middle_is_finished_by_the_next_run(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    dying = with_store(gateway, DyingStore(gateway.received.folder))
    with pytest.raises(Killed):
        apply(dying)
    assert sum(gateway.received.exists(i.blob) for i in images(gateway, key)) == 5
    between = find_orphans(gateway)
    assert between.lost == ()
    assert len(between.stray) == 5  # known for what they are: files that no row needs any more
    assert original_images(gateway, key).released == 8
    apply(gateway)
    assert find_orphans(gateway).stray == ()
    assert not any(gateway.received.exists(i.blob) for i in images(gateway, key))


def test_a_damaged_image_keeps_its_study_and_not_the_others(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    damaged, sound = publish(gateway, "1.1"), publish(gateway, "1.2")
    gateway.received.path(images(gateway, damaged)[3].blob).write_bytes(b"other bytes")
    apply(gateway)
    assert original_images(gateway, damaged).released == 0
    assert original_images(gateway, sound).released == 8


def test_an_image_received_once_more_is_held_again(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    apply(gateway)
    again = images(gateway, key)[0]
    content = dicom_bytes(again.sop_instance_uid)
    instance = read_part10(content)
    with session_scope(gateway.database) as session:
        digest = hashlib.sha256(instance.dataset).hexdigest()
        session.exec(sa.update(Instance).where(col(Instance.id) == again.id).values(dataset_sha256=digest))
        blob = gateway.received.put(content)
        stored = StoredInstance(
            read_facts(instance)[0], instance.transfer_syntax_uid, "PACS", blob, digest, len(content)
        )
        outcome = index_instance(session, stored, ArrivalRules.from_settings(gateway.settings))
    assert outcome.verdict is Verdict.DUPLICATE
    assert original_images(gateway, key).released == 7
    assert gateway.received.exists(images(gateway, key)[0].blob)
    assert [s.area for s in find_orphans(gateway).stray] == ["results"]  # the copy of its header
    apply(gateway)
    assert gateway.received.exists(blob)  # its days begin again


def test_a_new_revision_of_a_study_without_pixels_goes_to_a_person(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    key = publish(gateway, "1.1")
    apply(gateway)
    with session_scope(gateway.database) as session:
        study = session.get_one(Study, key)
        study.revision, study.state = 4, StudyState.COMPLETE
        session.add(study)
    with pytest.raises(JobHalted, match="8 of 8 images"):
        deidentification.run(gateway, {"study_key": key, "revision": 4})
    with read_scope(gateway.database) as session:
        assert session.get_one(Study, key).state is StudyState.QUARANTINED


def test_a_header_copy_is_the_file_up_to_its_pixels(tmp_path: Path) -> None:
    content = dicom_bytes("1.2.3")
    assert content.startswith(without_pixels(content))
    assert len(content) - len(without_pixels(content)) == 128 + 12
    deflated = pydicom.dcmread(io.BytesIO(content))
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    deflated.save_as(buffer, enforce_file_format=True)
    copy = pydicom.dcmread(io.BytesIO(without_pixels(buffer.getvalue())))
    assert (copy.SOPInstanceUID, "PixelData" in copy) == ("1.2.3", False)


def test_notes_on_old_scheduled_jobs_go_and_those_of_studies_stay(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path)
    with session_scope(gateway.database) as session:
        patient = add_patient(session)
        add_study(session, patient, "1.1")
        for job, kind, days in (("a", "export", 40), ("b", "export", 5), ("c", "study", 40), ("d", "housekeeping", 40)):
            sent = (dt.datetime.now(dt.UTC) - dt.timedelta(days=days)).isoformat(sep=" ")
            row = {"job": job, "kind": kind, "payload": "{}", "created_at": sent, "sent_at": sent}
            insert = "insert into outbox (job, kind, payload, created_at, sent_at) values "
            session.connection().execute(sa.text(insert + "(:job, :kind, :payload, :created_at, :sent_at)"), row)
    assert [(r.data_class, r.objects) for r in apply(gateway)] == [(DataClass.LOGS, 2)]
    with gateway.database.connect() as connection:
        assert set(connection.execute(sa.text("select job from outbox")).scalars()) == {"b", "c"}

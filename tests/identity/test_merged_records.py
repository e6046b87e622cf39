"""Merge, late arrival, unmerge and move on a simulated person whose studies came under two patient IDs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydicom
import pytest
from identity.hospital import Hospital
from peers.simulated import SimulatedStudies
from peers.validators import dicom_errors

from gateway.errors import NotAllowed, NotFound
from gateway.export import check_folder, export_histories
from gateway.identity_tables import PatientMerge, Rehoming
from gateway.merges import merge, move_study, unmerge
from gateway.object_names import BUNDLE, REJECTION, REPORT, SEG
from gateway.operations import opt_out
from gateway.tables import Audit, Delivery, Patient, Study, StudyState
from longitudinal.release import ReleaseRules

pytestmark = pytest.mark.timeout(300)


def settle(hospital: Hospital) -> None:
    hospital.run_jobs()
    hospital.deliver_all()


def newest(hospital: Hospital, study: Study, name: str) -> Delivery:
    return [row for row in hospital.deliveries(study.study_key) if row.object_name == name][-1]


def bundle(hospital: Hospital, row: Delivery) -> list[dict[str, Any]]:
    content = json.loads(hospital.gateway.results.read(str(row.blob)))
    return [entry["resource"] for entry in content["entry"]]


def subjects(resources: list[dict[str, Any]], taken_back: bool = False) -> set[str]:
    """Whom the results that stand, or those taken back, are about."""
    found = [r for r in resources if r["resourceType"] in ("Observation", "DiagnosticReport")]
    chosen = [r for r in found if (r["status"] == "entered-in-error") is taken_back]
    return {r["subject"]["identifier"]["value"] for r in chosen}


def test_a_merge_makes_one_record_of_two(hospital: Hospital, one_person: SimulatedStudies) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    second = hospital.study(one_person.uids[1])
    alone = hospital.record(b).time_points[0]
    report_before = newest(hospital, second, REPORT)
    hospital.act(merge, a, b, "user-1")
    settle(hospital)

    record = hospital.record(a)
    assert [p.study_instance_uid for p in record.time_points] == one_person.uids[:3]
    assert hospital.record(b).time_points == ()
    merged = record.time_points[1]
    assert [lesion.measurement for lesion in merged.lesions] == [lesion.measurement for lesion in alone.lesions]
    assert merged.changes != alone.changes
    assert len({lesion.tracking_uid for p in record.time_points for lesion in p.lesions}) == len(merged.lesions)

    report = hospital.dataset(newest(hospital, second, REPORT))
    assert (report.PatientID, report.IssuerOfPatientID) == ("A", "Hospital")
    (original,) = report.OriginalAttributesSequence
    assert original.ModifiedAttributesSequence[0].PatientID == "B"
    (predecessor,) = report.PredecessorDocumentsSequence
    reference = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == report_before.sop_instance_uid
    assert hospital.dataset(newest(hospital, second, SEG)).PatientID == "A"
    assert subjects(bundle(hospital, newest(hospital, second, BUNDLE))) == {"A"}
    assert all(row.object_name != REJECTION for row in hospital.rows(Delivery))


def test_studies_of_the_survivor_are_published_again_where_the_merge_changes_them(
    hospital: Hospital, one_person: SimulatedStudies
) -> None:
    first, third = (hospital.study(one_person.uids[n]) for n in (0, 2))
    hospital.act(merge, hospital.patient("A"), hospital.patient("B"), "user-1")
    settle(hospital)
    assert hospital.study(one_person.uids[0]).revision == first.revision  # a baseline stays what it was
    assert hospital.study(one_person.uids[2]).revision > third.revision  # it is compared with the second study now
    assert newest(hospital, third, REPORT).revision == hospital.study(one_person.uids[2]).revision


def test_one_pseudonym_is_left_in_the_research_zone(hospital: Hospital, one_person: SimulatedStudies) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    second = hospital.study(one_person.uids[1])
    surrogates = {p.patient_key: bytes.fromhex(p.surrogate) for p in hospital.rows(Patient)}
    pseudonym = hospital.gateway.keys.pseudonym
    folders = hospital.gateway.research_folder / "studies"

    def stated() -> set[str]:
        files = [next(iter(sorted(f.glob("*.dcm")))) for f in folders.glob(f"{second.study_key}-r*")]
        return {str(pydicom.dcmread(f, stop_before_pixels=True).PatientID) for f in files}

    assert stated() == {pseudonym(surrogates[b])}
    hospital.act(merge, a, b, "user-1")
    settle(hospital)
    assert stated() == {pseudonym(surrogates[a])}
    hospital.act(unmerge, b, "user-1")
    settle(hospital)
    assert stated() == {pseudonym(surrogates[b])}


def test_exports_hold_the_merged_patient_once_and_consent_is_the_persons(hospital: Hospital, tmp_path: Path) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    hospital.act(merge, a, b, "user-1")
    settle(hospital)
    alone = ReleaseRules(k=1)
    assert export_histories(hospital.gateway, tmp_path / "one", rules=alone).counts == {"patients": 1, "scans": 3}

    export_histories(hospital.gateway, tmp_path / "again", rules=alone)
    histories = [(tmp_path / name / "patient_histories.json").read_bytes() for name in ("one", "again")]
    assert histories[0] == histories[1]
    recalled = opt_out(hospital.gateway, b, "user-1")
    assert [len(r.pids) for r in recalled] == [1, 1]
    assert all(pid.encode() in histories[0] for r in recalled for pid in r.pids)
    assert export_histories(hospital.gateway, tmp_path / "two", rules=alone).counts["patients"] == 0
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert [r["pids"] for r in manifest["recalls"]] == [list(r.pids) for r in recalled]
    assert [check_folder(tmp_path / name) for name in ("one", "again", "two")] == [[], [], []]
    assert export_histories(hospital.gateway, tmp_path / "usual").counts["patients"] == 0, "one patient is not five"
    hospital.act(unmerge, b, "user-1")
    settle(hospital)
    assert export_histories(hospital.gateway, tmp_path / "three", rules=alone).counts == {"patients": 1, "scans": 2}


def test_unmerge_restores_both_records_exactly(hospital: Hospital, one_person: SimulatedStudies) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    before = hospital.record(a), hospital.record(b)
    hospital.act(merge, a, b, "user-1")
    settle(hospital)
    second = hospital.study(one_person.uids[1])
    wrong = [r for r in hospital.deliveries(second.study_key) if r.revision == second.revision]
    hospital.act(unmerge, b, "user-1")
    settle(hospital)
    assert (hospital.record(a), hospital.record(b)) == before

    second = hospital.study(one_person.uids[1])
    assert second.state is StudyState.ENCODED
    report = hospital.dataset(newest(hospital, second, REPORT))
    assert (report.PatientID, "OriginalAttributesSequence" in report) == ("B", False)
    note = hospital.dataset(newest(hospital, second, REJECTION))
    assert (note.Modality, note.PatientID) == ("KO", "A")
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    rejected = {
        o.ReferencedSOPInstanceUID
        for s in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for o in s.ReferencedSOPSequence
    }
    assert rejected == {r.sop_instance_uid for r in wrong if r.sop_instance_uid}
    resources = bundle(hospital, newest(hospital, second, BUNDLE))
    assert "A" in subjects(resources, taken_back=True)
    assert subjects(resources) == {"B"}
    retracted = {r["id"] for r in resources if r.get("status") == "entered-in-error"}
    standing = {r["id"] for r in resources if r.get("status") in ("final", "amended", "preliminary")}
    assert standing
    assert not retracted & standing


def test_a_late_study_follows_its_identifier(hospital: Hospital, one_person: SimulatedStudies) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    before = hospital.record(b).time_points
    hospital.act(merge, a, b, "user-1")
    settle(hospital)
    hospital.send(one_person.files(one_person.truths[3]), PatientID="B", IssuerOfPatientID="Hospital")
    hospital.close_studies()
    settle(hospital)
    late = hospital.study(one_person.uids[3])
    assert late.patient_key == a
    assert [p.study_instance_uid for p in hospital.record(a).time_points] == one_person.uids
    assert hospital.dataset(newest(hospital, late, REPORT)).PatientID == "A"

    hospital.act(unmerge, b, "user-1")
    settle(hospital)
    assert hospital.study(one_person.uids[3]).patient_key == b
    points = hospital.record(b).time_points
    assert points[:1] == before
    assert [p.study_instance_uid for p in points] == [one_person.uids[1], one_person.uids[3]]
    assert points[1].lesions[0].tracking_uid == points[0].lesions[0].tracking_uid
    assert hospital.dataset(newest(hospital, late, REPORT)).PatientID == "B"


def test_repeating_a_decision_changes_nothing(hospital: Hospital) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    assert hospital.act(merge, a, b, "user-1").changed
    assert not hospital.act(merge, a, b, "user-1").changed
    assert hospital.act(unmerge, b, "user-1").changed
    assert not hospital.act(unmerge, b, "user-1").changed
    actions = [row.action for row in hospital.rows(Audit) if row.action.startswith("patient.")]
    assert actions == ["patient.merge", "patient.unmerge"]
    (row,) = hospital.rows(PatientMerge)
    assert row.unmade_by == "user-1"


def test_merges_that_cannot_be_are_refused(hospital: Hospital) -> None:
    a, b, c = (hospital.patient(p) for p in "ABC")
    with pytest.raises(NotAllowed, match="itself"):
        hospital.act(merge, a, a, "u")
    with pytest.raises(NotFound):
        hospital.act(merge, a, "p-unknown", "u")
    with pytest.raises(NotAllowed, match="not merged"):
        hospital.act(unmerge, a, "u")
    hospital.act(merge, a, b, "u")
    with pytest.raises(NotAllowed, match="the other way"):
        hospital.act(merge, b, a, "u")
    with pytest.raises(NotAllowed, match="part of another record"):
        hospital.act(merge, c, b, "u")


def test_an_undone_merge_whose_jobs_never_ran_leaves_no_trace_in_the_records(
    hospital: Hospital, one_person: SimulatedStudies
) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    before = hospital.record(a), hospital.record(b)
    hospital.act(merge, a, b, "u")
    hospital.act(unmerge, b, "u")
    settle(hospital)
    assert (hospital.record(a), hospital.record(b)) == before
    assert all(not row.taken_back for row in hospital.rows(Rehoming))  # nothing was sent under the other patient
    assert newest(hospital, hospital.study(one_person.uids[1]), REPORT).revision == 3


def test_moving_a_study_retracts_and_publishes_under_the_right_patient(
    hospital: Hospital, one_person: SimulatedStudies
) -> None:
    a, b = hospital.patient("A"), hospital.patient("B")
    before = hospital.record(a), hospital.record(b)
    third = hospital.study(one_person.uids[2])

    def move(session: Any, to: str | None) -> None:
        move_study(session, session.get_one(Study, third.study_key), to, "user-1")

    hospital.act(move, b)
    settle(hospital)
    assert [p.study_instance_uid for p in hospital.record(a).time_points] == one_person.uids[:1]
    assert [p.study_instance_uid for p in hospital.record(b).time_points] == one_person.uids[1:3]
    report = hospital.dataset(newest(hospital, third, REPORT))
    assert report.PatientID == "B"
    assert "OriginalAttributesSequence" not in report  # another person's values have no place in this chart
    assert "PredecessorDocumentsSequence" not in report
    note = newest(hospital, third, REJECTION)
    assert hospital.dataset(note).PatientID == "A"
    assert dicom_errors(hospital.gateway.results.path(str(note.blob))) == []
    uids = [{lesion.tracking_uid for lesion in p.lesions} for p in hospital.record(b).time_points]
    assert not uids[1] & {lesion.tracking_uid for lesion in before[0].time_points[0].lesions}
    assert uids[0] == uids[1]

    hospital.act(move, None)
    settle(hospital)
    assert (hospital.record(a), hospital.record(b)) == before
    notes = [row for row in hospital.deliveries(third.study_key) if row.object_name == REJECTION]
    assert [hospital.dataset(row).PatientID for row in notes] == ["A", "B"]

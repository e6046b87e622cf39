"""The corpus of planted identifiers through the folder tool: nothing leaks, and what research needs is still there."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pydicom
import pytest
from planted.corpus import make_corpus
from planted.mr_objects import RETAINED
from planted.scoring import leaks
from pydicom.dataset import Dataset

from deidentify.folder import deidentify_folder
from deidentify.folder_verification import verify_folder
from deidentify.profile import Profile
from deidentify.quiet import quiet


def test_the_scorer_finds_every_plant_in_the_originals(processed):
    """No blind spot: what the scorer cannot see it could not report as a leak either."""
    corpus = processed.corpus
    data = {name: data for name, data in {**corpus.accepted, **corpus.refused}.items() if not name.endswith("deflated")}
    found = {plant for _, plant in leaks(data, corpus.plants)}
    missing = {plant.where for plant in corpus.plants if plant not in found}
    unplanted = {
        "seg",
        "seg_series",
        "sr",
        "sr_series",
        "kos",
        "kos_series",
        "pr",
        "pr_series",
        "tracking",
        "rle",
        "big",
    }
    unplanted |= {"deflated", "PatientComments (deflated)", "enhanced", "enhanced_series"}
    assert missing <= unplanted  # UIDs reserved for objects that a study does not have, and compressed text
    assert len(found) > 10_000


def test_no_planted_identifier_is_left(processed):
    assert leaks(processed.output_bytes(), processed.corpus.plants) == []


def test_no_planted_identifier_is_in_the_ledger_or_in_file_names(processed):
    names = "\n".join(str(path.relative_to(processed.target)) for path in processed.target.rglob("*")).encode()
    records = {"ledger": processed.ledger.read_bytes(), "names": names}
    assert leaks(records, processed.corpus.plants) == []


def test_every_accepted_object_is_emitted_and_every_other_refused_with_its_reason(processed):
    assert set(processed.outputs) == set(processed.corpus.accepted)
    assert processed.report.written == len(processed.corpus.accepted)
    reasons = {str(entry.path): entry.code.value for entry in processed.report.refused}
    assert {name: name.partition("/")[0] for name in processed.corpus.refused} == reasons


def test_one_pseudonym_for_each_person_also_where_slices_lack_the_issuer(processed):
    pseudonyms: dict[str, set[str]] = {}
    for name, patient in processed.corpus.patient_of.items():
        ds = processed.after(name)
        assert str(ds.PatientName) == ds.PatientID
        pseudonyms.setdefault(patient.key, set()).add(ds.PatientID)
    assert all(len(found) == 1 for found in pseudonyms.values())
    assert len(set.union(*pseudonyms.values())) == len(processed.corpus.patients)  # same ID, two issuers: two persons


def test_dates_keep_every_interval_of_a_person(processed):
    for name, patient in processed.corpus.patient_of.items():
        ds, study = processed.after(name), processed.corpus.study_of[name]
        baseline = processed.after(next(n for n, p in processed.corpus.patient_of.items() if p is patient))
        moved = _day(ds.StudyDate) - _day(baseline.StudyDate)
        assert moved == patient.study_dates[study] - patient.study_dates[0]
        assert 365 <= (patient.study_dates[study] - _day(ds.StudyDate)).days <= 3650
        if name.endswith("enhanced"):
            frame = ds.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0]
            assert frame.FrameAcquisitionDateTime == f"{ds.StudyDate}102300.500000"
            assert ds.AcquisitionDateTime == f"{ds.StudyDate}102301.250000"


def _day(text: str) -> dt.date:
    return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))


def test_geometry_acquisition_and_pixel_attributes_are_kept(processed):
    checked = 0
    for name in processed.outputs:
        if name.rpartition("/")[2] not in ("slice0", "slice1", "slice2", "rle", "deflated", "big"):
            continue
        before, after = processed.before(name), processed.after(name)
        planted_over = {"SequenceName"} if not before.SequenceName.startswith("*") else set()
        for keyword in set(RETAINED) - planted_over:
            assert after.get(keyword) == before.get(keyword), (name, keyword)
            checked += 1
    assert checked > 3000


def test_functional_groups_of_enhanced_mr_are_kept(processed):
    names = [name for name in processed.outputs if name.endswith("enhanced")]
    for name in names:
        before, after = processed.before(name), processed.after(name)
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence", "MRTimingAndRelatedParametersSequence"):
            assert _plain(after.SharedFunctionalGroupsSequence[0][keyword]) == _plain(
                before.SharedFunctionalGroupsSequence[0][keyword]
            )
        for old, new in zip(
            before.PerFrameFunctionalGroupsSequence, after.PerFrameFunctionalGroupsSequence, strict=True
        ):
            for keyword in ("PlanePositionSequence", "MREchoSequence", "MRDiffusionSequence"):
                assert _plain(new[keyword]) == _plain(old[keyword])
    assert names


def _plain(element: Any) -> Any:
    return [{e.keyword: e.value for e in item} for item in element.value]


def test_pixels_are_untouched_in_every_transfer_syntax(processed):
    for name in processed.outputs:
        with quiet():
            before, after = processed.before(name), processed.after(name)
            if "PixelData" in before:
                assert np.array_equal(before.pixel_array, after.pixel_array), name


def test_transfer_syntaxes_stay_apart_from_those_that_are_transcoded(processed):
    for name in processed.outputs:
        before = processed.before(name).file_meta.TransferSyntaxUID
        expected = "1.2.840.10008.1.2.1" if name.endswith(("big", "deflated")) else before
        assert processed.after(name).file_meta.TransferSyntaxUID == expected


def test_all_references_resolve_within_the_output(processed):
    instances = {path.stem for path in processed.target.rglob("*.dcm")}
    kinds: set[str] = set()
    for name in processed.outputs:
        before, after = processed.before(name), processed.after(name)
        with quiet():
            mapped = {processed.keys.uid(uid) for uid in _references(before)}
        if mapped & instances:
            kinds.add(name.rpartition("/")[2])
        assert mapped & instances <= set(_references(after)), name
        assert set(_references(after)) <= instances, name
    assert {"slice0", "enhanced", "seg", "sr", "kos", "gsps"} <= kinds


def _references(ds: Dataset) -> list[str]:
    found = []
    for element in ds:
        if element.VR == "SQ":
            found += [uid for item in element.value for uid in _references(item)]
        elif element.keyword == "ReferencedSOPInstanceUID":
            found.append(str(element.value))
    return found


def test_report_tree_keeps_measurements_and_replaces_people(processed):
    for name in (name for name in processed.outputs if name.endswith("/sr")):
        before, after = _items(processed.before(name)), _items(processed.after(name))
        assert [item.ValueType for item in before] == [item.ValueType for item in after]  # no item lost
        volumes = [item.MeasuredValueSequence[0].NumericValue for item in after if _concept(item) == "118565006"]
        assert volumes == [12.5]
        assert {str(item.PersonName) for item in after if item.ValueType == "PNAME"} <= {
            "ANONYMIZED",
            processed.after(name).PatientID,
        }
        assert [item.TextValue for item in after if _concept(item) == "112039"] == ["lesion 1"]
        assert [item.UID for item in after if _concept(item) == "112040"] == [
            processed.keys.uid(item.UID) for item in before if _concept(item) == "112040"
        ]
        assert [item.Date for item in after if _concept(item) == "121031"] == ["19000101"]
        assert [item.MeasuredValueSequence[0].NumericValue for item in after if _concept(item) == "121033"] == [90]
        study = processed.after(name).StudyDate
        assert [item.DateTime for item in after if _concept(item) == "111060"] == [f"{study}102301"]


def _items(ds: Dataset) -> list[Dataset]:
    found = []
    for item in ds.get("ContentSequence", []):
        found += [item, *_items(item)]
    return found


def _concept(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def test_segments_keep_their_meaning_and_tracking(processed):
    for name in (name for name in processed.outputs if name.endswith("/seg")):
        before, after = processed.before(name).SegmentSequence[0], processed.after(name).SegmentSequence[0]
        assert after.SegmentLabel == "Enhancing tumor"
        assert after.TrackingID == before.TrackingID
        assert after.TrackingUID == processed.keys.uid(before.TrackingUID)
        assert after.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
        assert "SegmentDescription" not in after or "Dr" not in after.SegmentDescription


def test_presentation_state_keeps_its_references_without_annotations(processed):
    for name in (name for name in processed.outputs if name.endswith("/gsps")):
        after = processed.after(name)
        assert "GraphicAnnotationSequence" not in after
        assert "GraphicLayerSequence" not in after
        assert after.ReferencedSeriesSequence[0].ReferencedImageSequence


def test_descriptors_keep_what_research_needs(processed):
    quiet_slices = [name for name in processed.outputs if name.endswith("slice1")]
    for name in quiet_slices:
        after = processed.after(name)
        assert after.SeriesDescription == "t1_mprage_sag_post"
        assert after.StudyDescription == "MR brain tumor follow up"
    for name in (name for name in processed.outputs if name.endswith("slice0")):
        after = processed.after(name)
        assert after.SeriesDescription == "AX T1 POST GAD"
        assert after.StudyDescription == "MR brain"
        assert after.ContrastBolusAgent == "CONTRAST"


def test_safe_private_elements_stay_and_no_others(processed):
    for name in (name for name in processed.outputs if name.endswith("slice0")):
        after = processed.after(name)
        assert after.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 1000
        assert after.private_block(0x0019, "SIEMENS MR HEADER")[0x0E].value == [0.0, 0.6, 0.8]
        assert after.private_block(0x2005, "Philips MR Imaging DD 001")[0x0E].value == 0.25
        private = [element.tag for element in after if element.tag.is_private]
        assert len(private) == 5  # three elements and two creators


def test_patient_characteristics_stay_with_age_capped(processed):
    for name, patient in processed.corpus.patient_of.items():
        ds = processed.after(name)
        if "PatientAge" in ds:
            assert ds.PatientAge == ("090Y" if patient.key == "second" else patient.age)
        assert ds.PatientSex == "F"
        assert ds.PatientBirthDate == ""


def test_objects_say_how_they_were_made(processed):
    for name in processed.outputs:
        ds = processed.after(name)
        assert ds.PatientIdentityRemoved == "YES"
        assert "PS3.15 Annex E 2026c" in ds.DeidentificationMethod
        assert ds.LongitudinalTemporalInformationModified == "MODIFIED"
        options = {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}
        assert options == {"113100", "113103", "113104", "113105", "113107", "113108", "113111"}


def test_file_level_residue_is_gone(processed):
    for path in processed.outputs.values():
        data = path.read_bytes()
        meta = pydicom.dcmread(path).file_meta
        assert data[:128] == bytes(128)
        assert sorted(element.keyword for element in meta) == [
            "FileMetaInformationGroupLength",
            "FileMetaInformationVersion",
            "ImplementationClassUID",
            "ImplementationVersionName",
            "MediaStorageSOPClassUID",
            "MediaStorageSOPInstanceUID",
            "TransferSyntaxUID",
        ]
        assert path.stem == meta.MediaStorageSOPInstanceUID


def test_verification_agrees_with_and_without_the_originals(processed):
    assert verify_folder(processed.target) == []
    assert verify_folder(processed.target, processed.source) == []


def test_verification_of_the_originals_finds_something_in_every_file(processed):
    found = verify_folder(processed.source)
    assert len({finding.file for finding in found}) == len(processed.corpus.accepted) + len(processed.corpus.refused)
    quoted = "\n".join(f"{finding.file} {finding.where} {finding.message}" for finding in found).encode()
    assert leaks({"findings": quoted}, processed.corpus.plants) == []


def test_ledger_tells_for_each_instance_what_became_of_each_attribute(processed):
    lines = [json.loads(line) for line in processed.ledger.read_text().splitlines()]
    instances = {line["sop_instance_uid"]: line for line in lines if "sop_instance_uid" in line}
    assert set(instances) == {path.stem for path in processed.outputs.values()}
    assert sum("refused" in line for line in lines) == len(processed.corpus.refused)
    name = next(name for name in processed.outputs if name.endswith("slice0"))
    entries = {entry["path"]: entry for entry in instances[processed.outputs[name].stem]["attributes"]}
    outcomes = {path: entry["outcome"] for path, entry in entries.items()}
    assert outcomes["(0010,0010)"] == "replaced"
    assert outcomes["(0008,0020)"] == "shifted"
    assert outcomes["(0020,000D)"] == "mapped"
    assert outcomes["(0008,103E)"] == "cleaned"
    assert outcomes["(0012,4321)"] == "removed"
    assert outcomes["(0028,0030)"] == "kept"
    assert all(entry["reason"] for entry in entries.values())
    inputs = {f"({tag.group:04X},{tag.element:04X})" for tag in list(processed.before(name).keys())}
    assert inputs <= set(entries)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_no_leak_on_fresh_seeds(seed, keys, tmp_path):
    with quiet():
        fresh = make_corpus(seed)
    fresh.write(tmp_path / "in")
    report = deidentify_folder(tmp_path / "in", tmp_path / "out", keys, Profile.default())
    outputs = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert leaks(outputs, fresh.plants) == []
    assert report.written == len(outputs) == len(fresh.accepted)

"""Single objects through the engine: refusals, validity, and details that the corpus does not show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted.mr_objects import code, encode, enhanced, item, reparsed
from planted.single import PATIENT, UIDS, image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from deidentify.engine import Deidentified, deidentify
from deidentify.errors import RefusalCode, Refused
from deidentify.keys import KeyRing
from deidentify.ledger import Outcome
from deidentify.profile import Profile
from deidentify.reading import read
from deidentify.subject import Subject, identifiers_of
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes


def run(ds: Dataset, keys: KeyRing, profile: Profile | None = None) -> Deidentified:
    received = reparsed(ds)
    return deidentify(received, Subject(b"s" * 16, identifiers_of(received)), keys, profile or Profile.default())


def after(ds: Dataset, keys: KeyRing, profile: Profile | None = None) -> Dataset:
    return read(to_bytes(run(ds, keys, profile).dataset))


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("SOPClassUID", "", RefusalCode.MISSING_ATTRIBUTE),
        ("SOPInstanceUID", "", RefusalCode.MISSING_ATTRIBUTE),
        ("StudyInstanceUID", "", RefusalCode.MISSING_ATTRIBUTE),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", RefusalCode.SOP_CLASS_REFUSED),
        ("SOPClassUID", "1.3.46.670589.11.0.0.12.1", RefusalCode.SOP_CLASS_PRIVATE),
        ("BurnedInAnnotation", "YES", RefusalCode.PIXELS_BURNED_IN),
        ("ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"], RefusalCode.PIXELS_BURNED_IN),
        ("SamplesPerPixel", 3, RefusalCode.PIXELS_BURNED_IN),
        ("BitsAllocated", 8, RefusalCode.PIXELS_BURNED_IN),
        ("Rows", 4000, RefusalCode.PIXELS_INCONSISTENT),
    ],
)
def test_refusals_have_a_reason(keys, keyword, value, expected):
    received = reparsed(image())
    setattr(received, keyword, value)
    with pytest.raises(Refused) as refusal:
        deidentify(received, Subject(b"s" * 16, ()), keys, Profile.default())
    assert refusal.value.code is expected
    assert "Doe" not in refusal.value.message


def test_the_profile_decides_on_sop_classes_too(keys, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[sop_classes]\naccepted = ["1.2.840.10008.5.1.4.1.1.66.4"]\n')
    with pytest.raises(Refused) as refusal:
        run(image(), keys, Profile.load(path))
    assert refusal.value.code is RefusalCode.SOP_CLASS_NOT_IN_PROFILE


def test_the_input_is_not_changed(keys):
    received = reparsed(enhanced(PATIENT, 0, UIDS))
    before = encode(received)
    deidentify(received, Subject(b"s" * 16, identifiers_of(received)), keys, Profile.default())
    assert encode(received) == before


@pytest.mark.parametrize(
    ("agent", "expected"),
    [("Gadovist 7 ml Dr Who", "CONTRAST"), ("DOTAREM", "CONTRAST"), ("", ""), ("none", ""), ("NO CONTRAST", "")],
)
def test_contrast_agent_is_reduced_to_its_presence(keys, agent, expected):
    ds = image()
    ds.ContrastBolusAgent = agent
    assert after(ds, keys).ContrastBolusAgent == expected


def test_options_that_are_off_remove(keys, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        "[options]\nretain_modified_dates = false\nclean_descriptors = false\n"
        "retain_patient_characteristics = false\nretain_safe_private = false\n"
    )
    ds = image()
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "1000")
    out = after(ds, keys, Profile.load(path))
    for keyword in ("SeriesDescription", "StudyDescription", "PatientAge", "PatientWeight", "SeriesDate"):
        assert not out.get(keyword), keyword
    assert out.StudyDate == ""  # Type 2 stays, empty
    assert not [element for element in out if element.tag.is_private]
    assert out.LongitudinalTemporalInformationModified == "REMOVED"
    codes = {entry.CodeValue for entry in out.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113103", "113104"}


def test_bytes_behind_the_pixels_and_bits_above_them_are_cleared(keys):
    ds = image()
    pixels = np.frombuffer(ds.PixelData, "<u2").copy()
    hidden = pixels.copy()
    hidden[:40] |= 0x8000
    ds.PixelData = hidden.tobytes() + b"John Smith 1950!"
    result = run(ds, keys)
    out = read(to_bytes(result.dataset))
    assert out.PixelData == pixels.tobytes()
    notes = {entry["reason"] for entry in result.ledger.entries() if entry["path"] == "(7FE0,0010)"}
    assert "bytes after the last frame removed, bits above Bits Stored cleared" in notes


def test_signed_pixels_keep_their_sign(keys):
    ds = image()
    ds.PixelRepresentation = 1
    pixels = np.frombuffer(ds.PixelData, "<u2").astype("<i2") - 2040
    ds.PixelData = pixels.astype("<i2").tobytes()
    assert np.array_equal(after(ds, keys).pixel_array.ravel(), pixels)


MISPLACED = {
    "EchoTime": "Zwick Jane",
    "FlipAngle": "12345678",
    "BodyPartExamined": "ZWICK^JANE",
    "ScanOptions": "call 555-12345",
    "AcquisitionMatrix": "Zwick was here and more than that",
    "DiffusionBValue": "Zwick Jane was here",
    "SeriesTime": "Zwick",
    "StudyDate": "Zwick",
    "PatientAge": "Zwick",
    "SAR": "19500102",
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_text_in_numeric_and_coded_attributes_does_not_pass(keys, syntax):
    ds = image()
    for keyword, text in MISPLACED.items():
        tag = ds.data_element(keyword).tag
        ds[tag] = DataElement(tag, "LO", text)
    received = read(encode(ds, syntax))
    data = to_bytes(deidentify(received, Subject(b"s" * 16, ("12345678", "19500102")), keys, Profile.default()).dataset)
    for form in (b"zwick", b"12345678", b"555-1234", b"19500102"):
        assert form not in data.lower()
    assert read(data).RepetitionTime == 2300


@pytest.mark.parametrize(
    "root", ["SequenceOfUltrasoundRegions", "DigitalSignaturesSequence", "EncryptedAttributesSequence"]
)
def test_sequences_that_do_not_belong_are_dropped_whole(keys, root):
    ds = image()
    setattr(ds, root, [item(PatientComments="Doe was here")])
    assert root not in after(ds, keys)


def test_names_below_a_known_sequence_are_dropped_by_path(keys):
    """Patient's Name is an attribute of the IOD, yet not of this sequence."""
    ds = image()
    ds.AnatomicRegionSequence = [code("12738006", "SCT", "Brain")]
    ds.AnatomicRegionSequence[0].PatientName = "Somebody^Else"
    ds.AnatomicRegionSequence[0].StudyDate = "20200506"
    region = after(ds, keys).AnatomicRegionSequence[0]
    assert sorted(element.keyword for element in region) == ["CodeMeaning", "CodeValue", "CodingSchemeDesignator"]


def test_a_bomb_of_nested_sequences_is_refused(keys):
    inner = Dataset()
    for _ in range(60):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        outer.RelationshipType = "CONTAINS"
        inner = outer
    ds = image()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    ds.ContentSequence = inner.ContentSequence
    with pytest.raises(Refused) as refusal:
        run(ds, keys)
    assert refusal.value.code is RefusalCode.NESTING


def test_a_child_of_the_frames_stays_in_its_place(keys):
    """Per-frame items are counted by position: none may vanish, even if nothing of it stays."""
    ds = enhanced(PATIENT, 0, UIDS)
    ds.PerFrameFunctionalGroupsSequence[1] = item(PatientComments="only this")
    out = after(ds, keys)
    assert len(out.PerFrameFunctionalGroupsSequence) == 3
    assert len(out.PerFrameFunctionalGroupsSequence[1]) == 0


def test_two_persons_move_differently_and_one_person_always_alike(keys):
    received = reparsed(image())
    first = deidentify(received, Subject(b"a" * 16, ()), keys, Profile.default()).dataset
    again = deidentify(received, Subject(b"a" * 16, ("other",)), keys, Profile.default()).dataset
    second = deidentify(received, Subject(b"b" * 16, ()), keys, Profile.default()).dataset
    assert (first.PatientID, first.StudyDate) == (again.PatientID, again.StudyDate)
    assert first.PatientID != second.PatientID
    assert first.StudyDate != second.StudyDate
    assert first.StudyInstanceUID == second.StudyInstanceUID  # UIDs are global, not per person


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=40), st.text(st.characters(codec="latin-1", exclude_characters="\\\x1b"), max_size=64),
    st.binary(max_size=30).map(lambda data: data + b"\0" * (len(data) % 2)),
)  # fmt: skip
def test_no_text_passes_that_is_not_of_the_vocabulary(name, description, private):
    """Whatever stands in the texts, the output is ASCII, verifies and reads back."""
    keys = KeyRing(bytes(32), "h")
    ds = image()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.add_new(0x00081030, "LO", description)
    ds.add_new(0x00204000, "LT", name)
    ds.private_block(0x0029, "X", create=True).add_new(1, "OB", private)
    received = read(encode(ds))
    subject = Subject(b"s" * 16, identifiers_of(received))
    result = deidentify(received, subject, keys, Profile.default())
    data = to_bytes(result.dataset)
    assert verify_bytes(data, subject, result.original_uids, result.charsets) == []
    assert str(read(data).get("StudyDescription", "")).isascii()


def test_ledger_counts_frames_instead_of_listing_them(keys):
    ledger = run(enhanced(PATIENT, 0, UIDS), keys).ledger
    frames = [entry for entry in ledger.entries() if entry["path"] == "(5200,9230)(0020,9113)(0020,0032)"]
    assert frames == [{"path": "(5200,9230)(0020,9113)(0020,0032)", "outcome": "kept",
                       "reason": "IOD attribute that Annex E does not list", "count": 3}]  # fmt: skip
    assert ledger.count_of(Outcome.SHIFTED) >= 8


def test_a_test_patient_with_a_generic_name_is_not_quarantined(keys):
    ds = image()
    ds.PatientName, ds.InstitutionName = "Patient^Test", "Clean Graphics University Hospital"
    received = reparsed(ds)
    subject = Subject(b"s" * 16, identifiers_of(received))
    result = deidentify(received, subject, keys, Profile.default())
    assert verify_bytes(to_bytes(result.dataset), subject, result.original_uids, result.charsets) == []


def test_a_patient_who_is_called_like_a_maker_does_not_stop_the_study(keys):
    ds = image()
    ds.PatientName, ds.Manufacturer = "Philips^Anna", "Philips Medical Systems"
    received = reparsed(ds)
    subject = Subject(b"s" * 16, identifiers_of(received))
    result = deidentify(received, subject, keys, Profile.default())
    data = to_bytes(result.dataset)
    assert verify_bytes(data, subject, result.original_uids, result.charsets) == []
    assert read(data).Manufacturer == "Medical Systems"

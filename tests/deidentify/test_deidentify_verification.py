"""The verification pass: each kind of residue is found, and nothing in a clean object."""

from __future__ import annotations

import datetime as dt
from io import BytesIO

import pydicom
import pytest
from planted.mr_objects import item, reparsed
from planted.single import image
from pydicom.charset import convert_encodings, encode_string
from pydicom.dataset import Dataset

from deidentify.engine import deidentify
from deidentify.errors import FolderError
from deidentify.findings import FindingCode
from deidentify.folder_verification import verify_folder
from deidentify.keys import KeyRing
from deidentify.profile import Profile
from deidentify.quiet import quiet
from deidentify.residue import residue
from deidentify.subject import Subject
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes

SUBJECT = Subject(b"s" * 16, ("Zwicky^Fritz", "MRN-778899", "19500102", "Li^Bo"))
TODAY = dt.date(2026, 1, 1)


@pytest.fixture
def clean(keys: KeyRing) -> Dataset:
    return deidentify(reparsed(image()), SUBJECT, keys, Profile.default()).dataset


def found(ds: Dataset, *more: str, charsets: tuple[str, ...] = ("ISO_IR 100",)) -> list[FindingCode]:
    with quiet():
        data = to_bytes(ds)
    subject = Subject(SUBJECT.surrogate, (*SUBJECT.identifiers, *more))
    return [finding.code for finding in verify_bytes(data, subject, {"1.2.3.4.5"}, charsets)]


def test_a_clean_object_has_no_findings(clean):
    assert found(clean) == []


@pytest.mark.parametrize(
    "text",
    [
        "seen by zwicky", "ZWICKY", "FritzZwicky", "zwickyfritz", "778899 MRN-778899", "mrn778899", "1950-01-02",
        "02.01.1950", "01/02/1950", "on 19500102", "x_Zwicky_x",
    ],
)  # fmt: skip
def test_identifiers_are_found_in_every_form(clean, text):
    clean.DerivationDescription = text
    assert FindingCode.IDENTIFIER in found(clean)


@pytest.mark.parametrize("text", ["Zwickyesque", "119500102", "t1 fritze", "Bob", "bold"])
def test_longer_words_and_numbers_are_not_taken_for_identifiers(clean, text):
    clean.DerivationDescription = text
    assert found(clean) == []


def test_short_names_are_found_in_text_but_not_in_codes(clean):
    clean.DerivationDescription = "Mr Kim"
    assert FindingCode.IDENTIFIER in found(clean, "Kim")
    del clean.DerivationDescription
    clean.ScanOptions = "KIM"
    assert found(clean, "Kim") == []


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (("", "ISO 2022 IR 87"), "山田^太郎"),
        (("", "ISO 2022 IR 149"), "김희중^홍길동"),
        (("ISO_IR 100",), "Größenmüller^Jörg"),
        (("ISO_IR 144",), "Люкceмбypг^Анна"),
        (("GB18030",), "王明明^小东小"),
        (("ISO_IR 192",), "قباني^لنزار"),
    ],
)
def test_names_are_found_in_the_bytes_of_their_character_set(clean, charset, name):
    for part in name.split("^"):
        encoded = encode_string(part, convert_encodings(list(charset)))
        clean.add_new(0x00144321, "OB", encoded + b" " * (len(encoded) % 2))
        with quiet():
            data = to_bytes(clean)
        findings = verify_bytes(data, Subject(b"", (name,)), (), charset)
        assert [finding.code for finding in findings] == [FindingCode.IDENTIFIER], part


def test_text_that_is_not_ascii_is_found_whoever_it_names(clean):
    clean.SpecificCharacterSet, clean.SeriesDescription = "ISO_IR 192", "Ян"
    assert found(clean) == [FindingCode.FOREIGN_TEXT]


def test_a_name_without_its_accents_is_found(clean):
    for text in ("Groessenmueller", "Grossenmuller"):
        clean.DerivationDescription = text
        assert FindingCode.IDENTIFIER in found(clean, "Größenmüller^Jörg")


def test_a_name_before_a_tag_that_looks_like_a_letter_is_found(clean):
    """(0038,eeee) begins with the byte of "8", (0070,eeee) with that of "p"."""
    clean.add_new(0x00364000, "UN", b"778899X0")
    clean.add_new(0x00380010, "LO", "x")
    clean.add_new(0x006A4000, "UN", b"Zwicky")
    clean.add_new(0x00700080, "CS", "X")
    assert found(clean, "778899X0").count(FindingCode.IDENTIFIER) == 2


def test_identifiers_in_pixels_and_private_bytes_are_found(clean):
    clean.PixelData = b"  Zwicky  " + clean.PixelData[10:]
    assert FindingCode.IDENTIFIER in found(clean)


def test_original_uids_are_found(clean):
    clean.add_new(0x00082111, "ST", "see 1.2.3.4.5")
    assert found(clean) == [FindingCode.ORIGINAL_UID]


def test_original_uids_in_pixels_are_found(clean):
    clean.PixelData = b"1.2.3.4.5 " + clean.PixelData[10:]
    assert found(clean) == [FindingCode.ORIGINAL_UID]


def test_container_residue_is_found(clean):
    data = to_bytes(clean)
    subject = Subject(b"", ())

    def codes(changed: bytes) -> list[FindingCode]:
        return [finding.code for finding in verify_bytes(changed, subject, (), ("",))]

    assert codes(data) == []
    assert codes(b"x" + data[1:]) == [FindingCode.PREAMBLE]
    assert codes(data + b"\xfc\xff\xfc\xffOB\0\0\x02\0\0\0ab") == [FindingCode.TRAILING_BYTES]
    assert codes(data + b"text") == [FindingCode.TRAILING_BYTES]
    assert codes(data[:200]) != []
    assert codes(b"text") == [FindingCode.NOT_DICOM]
    ds = pydicom.dcmread(BytesIO(data))
    ds.file_meta.SourceApplicationEntityTitle = "SCANNER"
    buffer = BytesIO()
    ds.save_as(buffer)
    assert codes(buffer.getvalue()) == [FindingCode.FILE_META]
    del ds.file_meta.SourceApplicationEntityTitle
    del ds.PatientIdentityRemoved
    buffer = BytesIO()
    ds.save_as(buffer)
    assert codes(buffer.getvalue()) == [FindingCode.NOT_MARKED]


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("OperatorsName", "Brown^Emmett", FindingCode.PERSON_NAME),
        ("PatientID", "123", FindingCode.PERSON_NAME),
        ("PatientBirthDate", "19500101", FindingCode.IDENTIFYING_ATTRIBUTE),
        ("AccessionNumber", "1", FindingCode.IDENTIFYING_ATTRIBUTE),
        ("OtherPatientIDsSequence", [item(PatientID="1")], FindingCode.IDENTIFYING_ATTRIBUTE),
        ("StudyInstanceUID", "1.2.3", FindingCode.FOREIGN_UID),
        ("StudyDate", "20990101", FindingCode.FUTURE_DATE),
        ("AcquisitionDateTime", "20990101101112", FindingCode.FUTURE_DATE),
        ("RequestAttributesSequence", [item()], FindingCode.IDENTIFYING_ATTRIBUTE),
    ],
)
def test_residue_is_found_without_the_original(clean, keyword, value, expected):
    assert list(residue(reparsed(clean), TODAY)) == []
    setattr(clean, keyword, value)
    assert [finding.code for finding in residue(reparsed(clean), TODAY)] == [expected]


def test_private_elements_and_graphics_are_found(clean):
    clean.private_block(0x0029, "VENDOR", create=True).add_new(1, "LO", "x")
    clean.add_new(0x60000022, "LO", "overlay")
    codes = [finding.code for finding in residue(reparsed(clean), TODAY)]
    assert codes.count(FindingCode.PRIVATE) == 2
    assert codes.count(FindingCode.GRAPHICS) == 1


def test_nested_residue_is_found_with_its_path(clean):
    clean.ReferencedImageSequence = [item(ReferencedSOPInstanceUID="1.2.3")]
    findings = list(residue(reparsed(clean), TODAY))
    assert [(finding.code, finding.where) for finding in findings] == [
        (FindingCode.FOREIGN_UID, "(0008,1140)(0008,1155)")
    ]


def test_file_names_are_judged_and_not_quoted(clean, tmp_path):
    (tmp_path / "Zwicky.dcm").write_bytes(to_bytes(clean))
    findings = verify_folder(tmp_path)
    assert [finding.code for finding in findings] == [FindingCode.FILE_NAME]
    assert "Zwicky" not in repr(findings)


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(FolderError, match="is not a folder"):
        verify_folder(tmp_path / "absent")
    with pytest.raises(FolderError, match="is not a folder"):
        verify_folder(tmp_path, tmp_path / "absent")

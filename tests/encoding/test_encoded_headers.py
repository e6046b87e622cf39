"""Whose object it is: patient, study, character set, order, versions, and nothing that changes from run to run."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from encoding.source_series import CREATED, GEOMETRIES, SourceSeries, classic, masks, study_result
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, encode_study, is_own_object
from longitudinal.types import Contrast

GEOMETRY = GEOMETRIES["axial"]
LABELS, LESIONS = masks(GEOMETRY)

NAMES = {
    "ascii": (None, b"Doe^Jane"),
    "latin-1": ("ISO_IR 100", "Müller^Änne".encode("latin-1")),
    "latin-2": ("ISO_IR 101", "Wałęsa^Zoë".encode("iso8859-2")),
    "cyrillic": ("ISO_IR 144", "Иванов^Пётр".encode("iso8859-5")),
    "utf-8": ("ISO_IR 192", "山田^太郎".encode()),
    "japanese": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    "half-width-katakana": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    ),
    "korean": (["", "ISO 2022 IR 149"], b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
    "chinese": ("GB18030", "王^小东".encode("gb18030")),
}


def written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encode(change: Callable[[Dataset], None] | None = None, **options: object) -> EncodedStudy:
    images = classic(SourceSeries(GEOMETRY))
    for image in images:
        if change is not None:
            change(image)
    result = options.pop("result", None) or study_result(LABELS, LESIONS)
    created = options.pop("created", CREATED)
    return encode_study(result, LABELS, LESIONS, {Contrast.T1C: images}, Contrast.T1C, created, **options)  # type: ignore[arg-type]


def on_disk(ds: Dataset) -> Dataset:
    """The dataset as a reader gets it, with raw values not yet decoded."""
    return dcmread(io.BytesIO(written(ds)))


@pytest.mark.parametrize("charset", NAMES)
def test_names_arrive_byte_for_byte(charset: str) -> None:
    """The source goes through a file, as it does in the gateway, with the bytes of the name put in raw."""
    stated, name = NAMES[charset]
    images = []
    for image in classic(SourceSeries(GEOMETRY, charset=stated, patient_name="PLACEHOLDER^X")):
        image.OtherPatientNames = "PLACEHOLDER^X"
        padded = name + b" " * (len(name) % 2)
        raw = written(image)
        for keyword in (b"\x10\x00\x10\x00PN", b"\x10\x00\x01\x10PN"):
            old = keyword + (14).to_bytes(2, "little") + b"PLACEHOLDER^X "
            assert raw.count(old) == 1
            raw = raw.replace(old, keyword + len(padded).to_bytes(2, "little") + padded)
        images.append(dcmread(io.BytesIO(raw)))
    encoded = encode_study(
        study_result(LABELS, LESIONS), LABELS, LESIONS, {Contrast.T1C: images}, Contrast.T1C, CREATED
    )
    assert len(encoded.objects) == 4
    for ds in encoded.objects:
        back = dcmread(io.BytesIO(written(ds)))
        for keyword in ("PatientName", "OtherPatientNames"):
            assert back.get_item(keyword).value.rstrip(b" ") == name
        assert back.get("SpecificCharacterSet") == images[0].get("SpecificCharacterSet")


def test_patient_and_study_modules_are_those_of_the_source() -> None:
    def enrich(ds: Dataset) -> None:
        other = Dataset()
        other.PatientID, other.IssuerOfPatientID = "X-9", "Hospital B"
        ds.OtherPatientIDsSequence = [other]
        qualifier, issuer = Dataset(), Dataset()
        qualifier.UniversalEntityID, qualifier.UniversalEntityIDType = "1.2.3", "ISO"
        ds.IssuerOfPatientIDQualifiersSequence = [qualifier]
        issuer.LocalNamespaceEntityID = "RIS1"
        ds.IssuerOfAccessionNumberSequence = [issuer]
        ds.PatientComments = "comment"
        ds.PatientWeight = "71.5"
        ds.AdmissionID = "ADM1"
        ds.NameOfPhysiciansReadingStudy = "Reader^One"
        ds.ClinicalTrialSubjectID = "S01"
        ds.ClinicalTrialTimePointID = "V3"
        procedure = Dataset()
        procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "P1", "99RIS", "MR head"
        ds.ProcedureCodeSequence = [procedure]

    source = classic(SourceSeries(GEOMETRY))[0]
    enrich(source)
    expected = [
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "OtherPatientIDsSequence",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "PatientWeight",
        "PatientComments",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "IssuerOfAccessionNumberSequence",
        "ReferringPhysicianName",
        "AdmissionID",
        "NameOfPhysiciansReadingStudy",
        "ProcedureCodeSequence",
        "ClinicalTrialSubjectID",
        "ClinicalTrialTimePointID",
        "SpecificCharacterSet",
    ]
    for ds in encode(enrich).objects:
        assert {k: ds.get(k) for k in expected} == {k: source.get(k) for k in expected}


@pytest.mark.parametrize("keyword", ["PatientSex", "PatientBirthDate", "AccessionNumber", "StudyID", "StudyTime"])
def test_absent_attributes_become_empty(keyword: str) -> None:
    for ds in encode(lambda image: image.pop(keyword)).objects:
        assert keyword in ds
        assert not ds.get(keyword)


def test_odd_values_of_a_real_archive_are_kept_and_do_not_stop_us() -> None:
    def spoil(ds: Dataset) -> None:
        ds.PatientName = "Jane_Doe"
        ds["PatientSex"]._value = "U"
        ds.ReferringPhysicianName = "nobody"

    for ds in encode(spoil).objects:
        assert str(ds.PatientName) == "Jane_Doe"
        assert ds.PatientSex == "U"


def test_no_issuer_is_invented() -> None:
    for ds in encode(lambda image: image.pop("IssuerOfPatientID")).objects:
        assert "IssuerOfPatientID" not in ds


def test_the_order_is_answered() -> None:
    def order(ds: Dataset) -> None:
        request = Dataset()
        request.RequestedProcedureID, request.RequestedProcedureDescription = "RP7", "MR head with contrast"
        ds.RequestAttributesSequence = [request]

    (item,) = encode(order).report.ReferencedRequestSequence
    assert (item.AccessionNumber, item.RequestedProcedureID) == ("A1", "RP7")


def test_same_input_gives_the_same_bytes() -> None:
    first, second = encode(), encode()
    assert [written(ds) for ds in first.objects] == [written(ds) for ds in second.objects]


def test_uids_follow_the_content_and_not_the_clock() -> None:
    first = encode()
    later = encode(created=CREATED + dt.timedelta(days=1))
    assert [d.SOPInstanceUID for d in first.objects] == [d.SOPInstanceUID for d in later.objects]
    result = study_result(LABELS, LESIONS)
    lesions = (replace(result.lesions[0], is_new=True), *result.lesions[1:])
    for other in (replace(result, revision=2), replace(result, lesions=lesions), replace(result, preliminary=True)):
        changed = encode(result=other)
        uids = {d.SOPInstanceUID for d in first.objects} & {d.SOPInstanceUID for d in changed.objects}
        assert uids == set()
        assert [d.SeriesInstanceUID for d in first.objects] == [d.SeriesInstanceUID for d in changed.objects]
    newer = replace(result, segmentation=replace(result.segmentation, version="2.0.0"))
    series = {d.SeriesInstanceUID for d in encode(result=newer).objects}
    assert series.isdisjoint(d.SeriesInstanceUID for d in first.objects)


def test_uids_differ_between_objects_and_are_valid() -> None:
    objects = encode().objects
    uids = [uid for ds in objects for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID)]
    assert len(set(uids)) == len(uids) == 8
    for uid in uids:
        assert uid.startswith("2.25.") and len(uid) <= 64
        assert int(uid[5:]) >> 76 & 0xF == 8  # UUID version of computed values, RFC 9562
    assert len({ds.SeriesNumber for ds in objects}) == 4


def test_the_clock_is_the_callers() -> None:
    for ds in encode().objects:
        assert (str(ds.ContentDate), str(ds.ContentTime)) == ("20260302", "140509")
        assert (str(ds.InstanceCreationDate), str(ds.InstanceCreationTime)) == ("20260302", "140509")
        assert not any("Date" in e.keyword and str(e.value)[:8] > "20260302" for e in ds.iterall() if e.keyword)


def test_aware_time_is_told_in_the_offset_of_the_source() -> None:
    def in_berlin(ds: Dataset) -> None:
        ds.TimezoneOffsetFromUTC = "+0100"

    for ds in encode(in_berlin).objects:
        assert (str(ds.ContentTime), ds.TimezoneOffsetFromUTC) == ("150509", "+0100")


def test_own_objects_are_recognised_and_others_are_not() -> None:
    encoded = encode()
    source = classic(SourceSeries(GEOMETRY))[0]
    assert all(is_own_object(ds) for ds in encoded.objects)
    assert all(is_own_object(on_disk(ds)) for ds in encoded.objects)
    source.Manufacturer, source.ManufacturerModelName = "Timepoint", "Timepoint gateway"
    assert not is_own_object(source)  # an image is input, whoever it claims to be from
    foreign = on_disk(encoded.report)
    foreign.Manufacturer, foreign.ManufacturerModelName = "Archive", "Coercer"
    assert is_own_object(foreign)  # equipment rewritten by an archive: the contributing equipment still tells
    del foreign.ContributingEquipmentSequence
    assert not is_own_object(foreign)


def test_revisions_name_their_predecessors() -> None:
    result = study_result(LABELS, LESIONS)
    first = encode(result=replace(result, preliminary=True))
    final = encode(result=replace(result, revision=2), previous=first.objects)
    assert (first.report.PreliminaryFlag, final.report.PreliminaryFlag) == ("PRELIMINARY", "FINAL")
    assert final.report.CompletionFlag == "COMPLETE"
    assert final.report.VerificationFlag == "UNVERIFIED"
    assert "PredecessorDocumentsSequence" not in first.report
    for before, after in zip(first.objects[1:], final.objects[1:], strict=True):
        (study,) = after.PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (reference,) = series.ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert after.InstanceNumber == 2
    again = encode(result=result, previous=encode(result=result).objects)
    assert "PredecessorDocumentsSequence" not in again.report  # the same revision is not its own predecessor


def test_inputs_are_left_as_they_were() -> None:
    images = classic(SourceSeries(GEOMETRY))
    images[3].PixelSpacing = [0.90001, 1.10001]  # scanners round; the copy that is built on is made alike
    before = [written(image) for image in images]
    arrays = LABELS.array.copy(), LESIONS.array.copy()
    encode_study(study_result(LABELS, LESIONS), LABELS, LESIONS, {Contrast.T1C: images}, Contrast.T1C, CREATED)
    assert [written(image) for image in images] == before
    assert np.array_equal(arrays[0], LABELS.array) and np.array_equal(arrays[1], LESIONS.array)

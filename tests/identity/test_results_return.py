"""The return path: results state the originals, byte for byte, and carry nothing of the research zone."""

from __future__ import annotations

import pydicom
import pytest
from identity.hospital import Hospital
from peers.simulated import SimulatedStudies
from pydicom.dataset import Dataset

from gateway import vault
from gateway.tables import Delivery, Instance, Patient

STATED = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)


def references(ds: Dataset) -> set[str]:
    found: set[str] = set()
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                found |= references(item)
        elif element.keyword == "ReferencedSOPInstanceUID":
            found.add(str(element.value))
    return found


@pytest.mark.parametrize("rotated", [False, True])
def test_no_pseudonym_and_no_mapped_uid_in_any_returned_byte(
    hospital: Hospital, one_person: SimulatedStudies, rotated: bool
) -> None:
    """Also for results that are made again after the key was rotated: the study was de-identified under the former."""
    gateway = hospital.gateway
    if rotated:
        vault.rotate(gateway, "officer")
        study = hospital.study(one_person.truths[0].study_instance_uid)
        from gateway.stages import encoding

        encoding.run(gateway, {"study_key": study.study_key, "revision": study.revision})
    instances = {row.sop_instance_uid for row in hospital.rows(Instance)}
    originals = [pydicom.dcmread(file, stop_before_pixels=True) for file in one_person.files(one_person.truths[0])]
    uids = {str(ds[k].value) for ds in originals for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID",
            "FrameOfReferenceUID")}  # fmt: skip
    forbidden = {ring.uid(uid).encode() for ring in gateway.key_rings for uid in uids | instances}
    for ring in gateway.key_rings:
        forbidden |= {ring.pseudonym(bytes.fromhex(row.surrogate)).encode() for row in hospital.rows(Patient)}
    rows = [row for row in hospital.rows(Delivery) if row.blob]
    made = {row.sop_instance_uid for row in rows if row.sop_instance_uid}
    checked = 0
    for row in rows:
        data = gateway.results.path(str(row.blob)).read_bytes()
        assert not any(text in data for text in forbidden), row.id
        if data[128:132] != b"DICM":
            continue
        ds = hospital.dataset(row)
        assert ds.PatientID in ("A", "B")
        assert ds.IssuerOfPatientID == "Hospital"
        assert "PatientIdentityRemoved" not in ds
        assert "DeidentificationMethod" not in ds
        assert references(ds) <= instances | made
        checked += 1
    assert checked >= 6


def test_results_are_of_the_study_of_their_images(hospital: Hospital, one_person: SimulatedStudies) -> None:
    for truth in one_person.truths[:2]:
        source = pydicom.dcmread(one_person.files(truth)[0], stop_before_pixels=True)
        study = hospital.study(truth.study_instance_uid)
        results = [hospital.dataset(row) for row in hospital.deliveries(study.study_key) if row.sop_instance_uid]
        assert results
        for ds in results:
            for keyword in STATED:
                assert ds.get(keyword) == source.get(keyword), keyword
            assert ds.get("SpecificCharacterSet") in (source.get("SpecificCharacterSet"), "ISO_IR 192")

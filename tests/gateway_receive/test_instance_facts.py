"""What is read from an instance on arrival: real scanners' files, our own results, and bytes of any kind."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node
from gateway_receive.senders import send
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage

from gateway.arrivals import Verdict
from gateway.database import session_scope
from gateway.instance_facts import InstanceFacts, NotIndexable, read_facts
from gateway.part10 import EncodedInstance, read_part10
from gateway.tables import Delivery, Instance, InstanceRole, Study
from inference.encoding.identity import MANUFACTURER, MODEL_NAME


def instance(image: Dataset) -> EncodedInstance:
    return EncodedInstance(
        MRImageStorage, str(image.get("SOPInstanceUID", "1.2")), ExplicitVRLittleEndian, "PACS", encoded(image)
    )


def facts_of(image: Dataset) -> InstanceFacts:
    return read_facts(instance(image))[0]


def test_facts_of_a_classic_image() -> None:
    facts = facts_of(mr_image(study="1.2.3", series="1.2.3.1", number=7))
    assert (facts.study_instance_uid, facts.series_instance_uid, facts.modality) == ("1.2.3", "1.2.3.1", "MR")
    assert facts.acquired == dt.date(2026, 1, 10)
    assert facts.geometry == {
        "positions": [[-8.0, -8.0, 35.0]], "orientation": [1, 0, 0, 0, 1, 0], "oblique_frames": False,
        "rows": 16, "columns": 16, "frames": 1, "number": 7,
    }  # fmt: skip
    assert (facts.header["echo_time_ms"], facts.header["contrast_agent"]) == (2.3, "Gadovist")
    json.dumps([facts.header, facts.geometry])


def test_the_issuer_may_stand_in_its_qualifiers() -> None:
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1, issuer="")
    qualifier = Dataset()
    qualifier.UniversalEntityID, qualifier.UniversalEntityIDType = "1.2.276.0.99", "ISO"
    image.IssuerOfPatientIDQualifiersSequence = Sequence([qualifier])
    assert facts_of(image).identity.issuer == "1.2.276.0.99"


def test_malformed_values_do_not_keep_an_image_out() -> None:
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1)
    raw = encoded(image).replace(b"DS\x04\x002.3 ", b"DS\x04\x00a.b ")
    assert b"a.b " in raw
    facts, _ = read_facts(EncodedInstance(MRImageStorage, image.SOPInstanceUID, ExplicitVRLittleEndian, "P", raw))
    assert facts.header["echo_time_ms"] is None
    assert facts.study_instance_uid == "1.2.3"


def test_missing_orientation_is_kept_for_the_analysis_to_explain() -> None:
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1)
    del image.ImageOrientationPatient
    assert facts_of(image).geometry["orientation"] is None


def test_real_enhanced_images_and_a_raw_data_object(node: Node, real_data: Path) -> None:
    images = [pydicom.dcmread(f) for f in sorted((real_data / "dicom" / "enhanced").glob("*.dcm"))]
    with node.listening() as scp:
        assert set(send(scp.port, images)) == {0}
    roles = [i.role for i in node.rows(Instance)]
    assert (roles.count(InstanceRole.IMAGE), roles.count(InstanceRole.MATERIAL)) == (5, 1)
    frames = {i.sop_class_uid: len(i.header["positions"]) for i in node.rows(Instance) if i.header}
    assert set(frames.values()) <= {6, 64}
    # Material alone starts no timer.
    material = next(i for i in node.rows(Instance) if i.role is InstanceRole.MATERIAL)
    alone = [s for s in node.rows(Study) if s.study_key == material.study_key and s.instance_count == 0]
    assert all(s.due is None for s in alone)


def test_a_real_oblique_series(node: Node, real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "dicom" / "t1_oblique_384.zip") as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")][:20]
        images = [pydicom.dcmread(BytesIO(archive.read(n))) for n in names]
    with node.listening() as scp:
        assert set(send(scp.port, images)) == {0}
    assert node.study().instance_count == 20
    assert all(i.header["orientation"][0] == pytest.approx(0.999, abs=1e-3) for i in node.rows(Instance))


def test_our_own_results_are_acknowledged_and_not_stored(node: Node) -> None:
    ours = mr_image(study="1.2.3", series="1.2.3.9", number=1)
    ours.SOPClassUID = ours.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    ours.Modality, ours.Manufacturer, ours.ManufacturerModelName = "SEG", MANUFACTURER, MODEL_NAME
    theirs = mr_image(study="1.2.3", series="1.2.3.9", number=2)
    theirs.SOPClassUID = theirs.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    theirs.Modality = "SEG"
    with node.listening() as scp:
        assert send(scp.port, [ours, theirs]) == [0, 0]
        node.settle()
        assert scp.counts == {Verdict.OWN_RESULT: 1, Verdict.STORED: 1}
    (kept,) = node.rows(Instance)
    assert (kept.sop_instance_uid, kept.role) == (theirs.SOPInstanceUID, InstanceRole.MATERIAL)
    assert node.study().due is None


def test_what_we_delivered_is_known_whatever_it_looks_like(node: Node) -> None:
    image = mr_image(study="1.2.3", series="1.2.3.9", number=1)
    with session_scope(node.database) as session:
        session.add(Study(study_key="s1", study_instance_uid="9.9"))
        session.flush()
        session.add(
            Delivery(
                study_key="s1", revision=1, destination="pacs", object_name="sc", sop_instance_uid=image.SOPInstanceUID
            )
        )
    with node.listening() as scp:
        assert send(scp.port, [image]) == [0]
    assert node.rows(Instance) == []


WHOLE = encoded(mr_image(study="1.2.3", series="1.2.3.1", number=1))


# pydicom warns of what it meets; a process of ours silences that (gateway.logs), because it quotes values.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, 900))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        read_facts(EncodedInstance(MRImageStorage, "1.2", ExplicitVRLittleEndian, "P", bytes(content)))
    except NotIndexable as problem:
        assert str(problem)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_file_is_read_or_refused(content: bytes) -> None:
    from gateway.errors import Unreadable

    for candidate in (content, b"\0" * 128 + b"DICM" + content):
        try:
            read_part10(candidate)
        except Unreadable:
            continue


def test_nothing_of_a_refusal_quotes_the_data_set() -> None:
    image = mr_image(study="1.2.3", series="1.2.3.1", number=1, name="Doe^Jane")
    image.StudyInstanceUID = "Doe^Jane"
    with pytest.raises(NotIndexable) as caught:
        read_facts(instance(image))
    assert "Doe" not in str(caught.value)

"""One person for each patient ID under its issuer, whoever comes first and however often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node, make_node
from gateway_receive.senders import send
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from gateway.arrivals import ArrivalRules, Verdict
from gateway.database import read_scope, session_scope
from gateway.errors import IdentityConflict, NotFound
from gateway.identity import IssuerRules, PatientId, agree, identifiers_of, patient_key_of, survivor_of
from gateway.instance_facts import Identity
from gateway.part10 import EncodedInstance
from gateway.receiver import Receiver
from gateway.tables import Patient, PatientIdentifier, Quarantine, Study

RULES = IssuerRules({"SCANNER": "North Hospital"}, default="CITY")


@pytest.mark.parametrize(
    ("stated", "source", "expected"),
    [
        (Identity("  007 ", " hospital "), "PACS", PatientId("007", "HOSPITAL")),
        (Identity("007", ""), "SCANNER", PatientId("007", "NORTH HOSPITAL")),
        (Identity("007", ""), "PACS", PatientId("007", "CITY")),
        (Identity("A\u0308B", "X"), "PACS", PatientId("ÄB", "X")),
        (Identity("abc", "x"), "PACS", PatientId("abc", "X")),
        (Identity("   ", "X"), "PACS", None),
    ],
)
def test_identifiers_are_normalised(stated: Identity, source: str, expected: PatientId | None) -> None:
    assert RULES.normalise(stated, source) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (PatientId("1", "A"), PatientId("1", "A"), True),
        (PatientId("1", "A"), PatientId("1", ""), True),
        (PatientId("1", "A"), PatientId("1", "B"), False),
        (PatientId("1", "A"), PatientId("2", "A"), False),
        (PatientId("1", ""), PatientId("01", ""), False),
    ],
)
def test_agreement_within_a_study(first: PatientId, second: PatientId, expected: bool) -> None:
    assert agree(first, second) is agree(second, first) is expected


def test_the_same_id_under_another_issuer_is_another_person(node: Node) -> None:
    with session_scope(node.database) as session:
        north = patient_key_of(session, PatientId("007", "NORTH"))
        south = patient_key_of(session, PatientId("007", "SOUTH"))
        assert patient_key_of(session, PatientId("007", "NORTH")) == north
    assert north != south
    surrogates = {p.surrogate for p in node.rows(Patient)}
    assert len(surrogates) == 2
    assert all(len(bytes.fromhex(s)) == 16 for s in surrogates)


def test_fifty_first_contacts_at_once_make_one_patient(node: Node) -> None:
    def contact(_: int) -> str:
        with session_scope(node.database) as session:
            return patient_key_of(session, PatientId("007", "NORTH"))

    with ThreadPoolExecutor(50) as pool:
        keys = set(pool.map(contact, range(50)))
    assert len(keys) == 1
    assert len(node.rows(Patient)) == len(node.rows(PatientIdentifier)) == 1


def first_images(count: int) -> list[Dataset]:
    return [mr_image(study=f"1.2.840.99.{n}", series=f"1.2.840.99.{n}.1", number=1) for n in range(count)]


def assert_one_patient(node: Node, studies: int) -> None:
    (patient,) = node.rows(Patient)
    assert [s.patient_key for s in node.rows(Study)] == [patient.patient_key] * studies
    assert node.rows(Quarantine) == []


def test_fifty_studies_of_a_new_patient_at_once(node: Node) -> None:
    receiver = Receiver(node.database, node.received, ArrivalRules.from_settings(node.settings))
    arriving = [
        EncodedInstance(str(i.SOPClassUID), i.SOPInstanceUID, ExplicitVRLittleEndian, "PACS", encoded(i))
        for i in first_images(50)
    ]
    with ThreadPoolExecutor(50) as pool:
        verdicts = {outcome.verdict for outcome in pool.map(receiver.take, arriving)}
    assert verdicts == {Verdict.STORED}
    assert_one_patient(node, 50)


def test_ten_associations_with_a_new_patient_at_once(node: Node) -> None:
    with node.listening() as scp, ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda image: send(scp.port, [image]), first_images(10)))
    assert statuses == [[0]] * 10
    assert_one_patient(node, 10)


def test_merges_lead_to_the_survivor(node: Node) -> None:
    with session_scope(node.database) as session:
        old, new = (patient_key_of(session, PatientId(i, "A")) for i in ("1", "2"))
        session.get_one(Patient, old).merged_into = new
        session.flush()
        assert patient_key_of(session, PatientId("1", "A")) == survivor_of(session, old) == new
    with read_scope(node.database) as session:
        assert identifiers_of(session, new) == [PatientId("2", "A")]


def test_a_circle_of_merges_is_an_error(node: Node) -> None:
    with session_scope(node.database) as session:
        one, two = (patient_key_of(session, PatientId(i, "A")) for i in ("1", "2"))
        session.get_one(Patient, one).merged_into = two
        session.get_one(Patient, two).merged_into = one
        session.flush()
        with pytest.raises(IdentityConflict):
            survivor_of(session, one)
        with pytest.raises(NotFound):
            survivor_of(session, "p-unknown")


def test_the_sender_decides_on_a_missing_issuer(tmp_path_factory: pytest.TempPathFactory) -> None:
    peers = [{"ae_title": "NORTH", "issuer": "North"}, {"ae_title": "SOUTH", "issuer": "South"}]
    node = make_node(tmp_path_factory.mktemp("issuers"), dicom={"peers": peers})
    with node.listening() as scp:
        for number, sender in enumerate(["NORTH", "SOUTH", "NORTH"]):
            study = f"1.2.840.99.{number}"
            assert send(scp.port, [mr_image(study=study, series=study, number=1, issuer="")], calling=sender) == [0]
    assert sorted(i.issuer for i in node.rows(PatientIdentifier)) == ["NORTH", "SOUTH"]
    assert len(node.rows(Patient)) == 2

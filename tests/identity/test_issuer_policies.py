"""What decides whose an image is where the issuer of its patient ID is missing, not trusted or contradicted."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node, make_node
from pydicom.uid import ExplicitVRLittleEndian
from sqlmodel import select

from gateway.arrivals import ArrivalRules, Outcome, Verdict
from gateway.database import open_database, read_scope, session_scope
from gateway.identity import DERIVED, IssuerRules, PatientId, agree, patient_key_of
from gateway.identity_settings import IdentityRules
from gateway.instance_facts import Identity
from gateway.merges import merge, unmerge
from gateway.part10 import EncodedInstance
from gateway.quarantine import list_open
from gateway.quarantine_decisions import Action, Decision, resolve
from gateway.receiver import Receiver
from gateway.settings import Settings
from gateway.tables import Patient, PatientIdentifier, QuarantineKind, Study, StudyState

JANE = {"name": "Doe^Jane", "birth_date": "19700101", "sex": "F"}


def rules(dicom: dict[str, Any] | None = None, **identity: Any) -> IssuerRules:
    settings = Settings(dicom=dicom or {}, identity=identity)
    return IssuerRules.from_settings(settings.dicom, settings.identity)


def take(node: Node, number: int, study: str = "1.2.840.99.1", source: str = "PACS", **stated: Any) -> Outcome:
    image = mr_image(study=study, series=f"{study}.1", number=number, **stated)
    receiver = Receiver(node.database, node.received, ArrivalRules.from_settings(node.settings))
    content = encoded(image)
    return receiver.take(
        EncodedInstance(str(image.SOPClassUID), image.SOPInstanceUID, ExplicitVRLittleEndian, source, content)
    )


def test_a_missing_issuer_is_taken_as_it_is_by_default() -> None:
    assert rules().normalise(Identity("7", ""), "PACS") == PatientId("7", "")


def test_a_missing_issuer_can_wait_for_a_person(tmp_path: Path) -> None:
    node = make_node(tmp_path, identity={"missing_issuer": "quarantine"})
    outcome = take(node, 1, issuer="")
    assert (outcome.verdict, outcome.kind) == (Verdict.STORED, QuarantineKind.MISSING_PATIENT_ID)
    assert node.study().patient_key is None
    assert node.rows(PatientIdentifier) == []
    with session_scope(node.database) as session:
        (item,) = list_open(session)
        decision = Decision(Action.ASSIGN, "user-1", "PAT-001", "North")
        resolve(session, item.quarantine_key, decision, node.received, ArrivalRules.from_settings(node.settings))
    (identifier,) = node.rows(PatientIdentifier)
    assert (identifier.patient_id, identifier.issuer) == ("PAT-001", "NORTH")
    assert take(node, 2, issuer="").kind is None  # the rest of the study follows
    assert node.study().state is StudyState.RECEIVING
    node.database.dispose()


def test_a_derived_issuer_keeps_two_people_of_one_number_apart() -> None:
    derive = rules(missing_issuer="derive")
    jane = derive.normalise(Identity("7", "", **JANE), "PACS")
    again = derive.normalise(Identity("7", "", "DOE^Jane^", "1970.01.01", "f"), "OTHER")
    john = derive.normalise(Identity("7", "", "Doe^John", "19700101", "M"), "PACS")
    assert jane is not None
    assert john is not None
    assert jane.issuer.startswith(DERIVED)
    assert jane == again != john
    assert "DOE" not in jane.issuer
    assert derive.normalise(Identity("7", "", "Doe^Jane", "", "F"), "PACS") is None
    assert derive.normalise(Identity("7", "North"), "PACS") == PatientId("7", "NORTH")
    assert agree(jane, PatientId("7", "NORTH"))
    assert not agree(jane, john)


def test_peer_and_site_fill_in_and_a_peer_can_overrule() -> None:
    peers = [{"ae_title": "NORTH", "issuer": "North", "stated_issuer": "ignore"}, {"ae_title": "MR1", "issuer": "Mr"}]
    site = rules({"peers": peers, "default_issuer": "City"}, missing_issuer="quarantine")
    assert site.normalise(Identity("7", "Wrong"), "NORTH") == PatientId("7", "NORTH")
    assert site.normalise(Identity("7", "Right"), "MR1") == PatientId("7", "RIGHT")
    assert site.normalise(Identity("7", ""), "MR1 ") == PatientId("7", "MR")
    assert site.normalise(Identity("7", "Stated"), "ELSE") == PatientId("7", "STATED")
    assert site.normalise(Identity("7", ""), "ELSE") == PatientId("7", "CITY")


def test_an_ignored_issuer_without_another_is_a_missing_one() -> None:
    peers = [{"ae_title": "NORTH", "stated_issuer": "ignore"}]
    assert rules({"peers": peers}).normalise(Identity("7", "X"), "NORTH") == PatientId("7", "")
    assert rules({"peers": peers}, missing_issuer="quarantine").normalise(Identity("7", "X"), "NORTH") is None


def test_issuers_that_are_not_trusted() -> None:
    trusting = {"trusted_issuers": ["North", "1.2.*"]}
    for stated, expected in (("north", "NORTH"), ("1.2.3", "1.2.3")):
        assert rules(**trusting).normalise(Identity("7", stated), "PACS") == PatientId("7", expected)
    assert rules(**trusting).normalise(Identity("7", "Clinic"), "PACS") is None
    ignoring = rules({"default_issuer": "City"}, untrusted_issuer="ignore", **trusting)
    assert ignoring.normalise(Identity("7", "Clinic"), "PACS") == PatientId("7", "CITY")


def test_an_alias_is_the_same_issuer_and_is_what_is_trusted() -> None:
    aliased = rules(issuer_aliases={"1.2.3": "North"}, trusted_issuers=["North"])
    assert aliased.normalise(Identity("7", "1.2.3"), "PACS") == PatientId("7", "NORTH")


def test_unknown_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="missing_issuer"):
        IdentityRules(missing_issuer="guess")  # type: ignore[arg-type]


def merged_study(node: Node) -> None:
    """A study of PAT-001 of which one image states PAT-002, after the records of both were merged."""
    take(node, 1)
    with session_scope(node.database) as session:
        keys = [patient_key_of(session, PatientId(i, "HOSPITAL")) for i in ("PAT-001", "PAT-002")]
        merge(session, keys[0], keys[1], "user-1")
    assert take(node, 2, patient_id="PAT-002").verdict is Verdict.STORED


def test_two_ids_of_a_merged_person_do_not_conflict(node: Node) -> None:
    merged_study(node)
    assert node.study().instance_count == 2
    assert take(node, 3, patient_id="PAT-003").kind is QuarantineKind.CONFLICTING_PATIENT


def test_an_unmerge_puts_a_study_of_both_aside(node: Node) -> None:
    merged_study(node)
    with session_scope(node.database) as session:
        unmerge(session, patient_key_of_retired(session), "user-1")
    assert node.study().state is StudyState.QUARANTINED
    assert "two patient identities" in node.study().reason


def patient_key_of_retired(session: Any) -> str:
    query = select(PatientIdentifier.patient_key).where(PatientIdentifier.patient_id == "PAT-002")
    return str(session.exec(query).one())


def test_merged_ids_conflict_where_the_site_wants_it(tmp_path: Path) -> None:
    node = make_node(tmp_path, identity={"conflicting_ids": "quarantine"})
    take(node, 1)
    with session_scope(node.database) as session:
        keys = [patient_key_of(session, PatientId(i, "HOSPITAL")) for i in ("PAT-001", "PAT-002")]
        merge(session, keys[0], keys[1], "user-1")
    assert take(node, 2, patient_id="PAT-002").kind is QuarantineKind.CONFLICTING_PATIENT
    node.database.dispose()


def contact(url: str) -> str:
    database = open_database(url)
    with session_scope(database) as session:
        key = patient_key_of(session, PatientId("007", "NORTH"))
    database.dispose()
    return key


def test_fifty_first_contacts_from_several_processes_make_one_patient(node: Node) -> None:
    url = node.settings.database.url
    with ProcessPoolExecutor(5, multiprocessing.get_context("spawn")) as pool:
        keys = set(pool.map(contact, [url] * 50))
    assert len(keys) == 1
    assert len(node.rows(Patient)) == len(node.rows(PatientIdentifier)) == 1


def test_arrivals_during_a_merge_end_with_the_survivor(node: Node) -> None:
    """Studies of the retired record that come in while it is merged: none is left behind."""
    from concurrent.futures import ThreadPoolExecutor

    with session_scope(node.database) as session:
        keys = [patient_key_of(session, PatientId(i, "HOSPITAL")) for i in ("PAT-001", "PAT-002")]

    def arrive(number: int) -> None:
        take(node, 1, study=f"1.2.840.99.{number}", patient_id="PAT-002")

    def unite(_: int) -> None:
        with session_scope(node.database) as session:
            merge(session, keys[0], keys[1], "user-1")

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(arrive, n) for n in range(12)]
        jobs.append(pool.submit(unite, 0))
        jobs += [pool.submit(arrive, n) for n in range(12, 24)]
        for job in jobs:
            job.result()
    with read_scope(node.database) as session:
        assert set(session.exec(select(Study.patient_key)).all()) == {keys[0]}

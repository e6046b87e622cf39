"""Messages over MLLP to a real listener: answers, repeats, merges, what waits for a person, what is refused."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from gateway_receive.certificates import Authority
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node
from identity.mllp import END, START, Sender, adt, merge
from peers.ports import free_port
from pydicom.uid import ExplicitVRLittleEndian

from gateway.arrivals import ArrivalRules
from gateway.blobs import RESULTS, open_blobs
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.hl7.handling import message_store
from gateway.hl7.listener import Hl7Listener, is_allowed
from gateway.identity import PatientId, first_contact, survivor_of
from gateway.identity_settings import Hl7
from gateway.merges import unmerge
from gateway.part10 import EncodedInstance
from gateway.quarantine import list_open
from gateway.quarantine_decisions import Action, Decision, resolve
from gateway.receiver import Receiver
from gateway.tables import Audit, Patient, Quarantine, QuarantineKind, Study

NEW, OLD = "NEW^^^Hospital", "OLD^^^Hospital"


def gateway_of(node: Node, **hl7: Any) -> Gateway:
    options = {"enabled": True, "port": 0, "merge_issuers": ["hospital"], **hl7}
    settings = node.settings.model_copy(update={"hl7": Hl7(**options)})
    return Gateway(settings, node.database, node.received, open_blobs(settings.storage.url, RESULTS))


@contextmanager
def listening(node: Node, **hl7: Any) -> Iterator[Hl7Listener]:
    listener = Hl7Listener(gateway_of(node, **hl7))
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def survivor(node: Node, patient_id: str) -> str:
    with session_scope(node.database) as session:
        return survivor_of(session, first_contact(session, PatientId(patient_id, "HOSPITAL")))


def answer_of(answer: Any) -> tuple[str, str]:
    return str(answer.segment("MSA")(1)), str(answer.segment("MSA")(2))


def test_a_merge_of_a_listed_issuer_acts_at_once_and_a_late_study_lands_on_the_survivor(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        assert answer_of(sender.send(merge(NEW, OLD, "m-1"))) == ("AA", "m-1")
    assert survivor(node, "OLD") == survivor(node, "NEW")
    image = mr_image(study="1.2.840.99.5", series="1.2.840.99.5.1", number=1, patient_id="OLD", issuer="Hospital")
    Receiver(node.database, node.received, ArrivalRules.from_settings(node.settings)).take(
        EncodedInstance(str(image.SOPClassUID), image.SOPInstanceUID, ExplicitVRLittleEndian, "PACS", encoded(image))
    )
    assert node.study().patient_key == survivor(node, "NEW")
    assert [row.action for row in node.rows(Audit)] == ["patient.merge"]
    assert node.rows(Audit)[0].actor == "hl7:ADT|HOSP"


@pytest.mark.parametrize("event", ["A40", "A47"])
def test_a_repeat_is_answered_the_same_and_not_done_twice(node: Node, event: str) -> None:
    message = merge(NEW, OLD, "m-1", event)
    with listening(node) as listener, Sender(listener.port) as sender:
        first = answer_of(sender.send(message))
        retired = [p.patient_key for p in node.rows(Patient) if p.merged_into]
        with session_scope(node.database) as session:
            unmerge(session, retired[0], "user-1")
        assert answer_of(sender.send(message)) == first == ("AA", "m-1")
        assert survivor(node, "OLD") != survivor(node, "NEW")  # a person's word stands
        assert answer_of(sender.send(merge(NEW, OLD, "m-2", event)))[0] == "AA"
    assert survivor(node, "OLD") == survivor(node, "NEW")


def test_a_control_id_used_for_another_message_is_rejected(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        sender.send(merge(NEW, OLD, "m-1"))
        assert answer_of(sender.send(merge("X^^^Hospital", "Y^^^Hospital", "m-1"))) == ("AR", "m-1")
        other = merge("X^^^Hospital", "Y^^^Hospital", "m-1", sender="RIS|HOSP")
        assert answer_of(sender.send(other)) == ("AA", "m-1")
    assert [row.kind for row in node.rows(Quarantine)] == [QuarantineKind.HL7_MESSAGE]


def test_the_same_message_on_eight_connections_at_once_is_done_once(node: Node) -> None:
    with listening(node) as listener:

        def send(_: int) -> tuple[str, str]:
            with Sender(listener.port) as sender:
                return answer_of(sender.send(merge(NEW, OLD, "m-1")))

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(send, range(8))) == {("AA", "m-1")}
    assert [row.action for row in node.rows(Audit)] == ["patient.merge"]


@pytest.mark.parametrize(("action", "one"), [(Action.MERGE, True), (Action.DISCARD, False)])
def test_a_merge_of_another_issuer_waits_for_a_person(node: Node, action: Action, one: bool) -> None:
    with listening(node, merge_issuers=["elsewhere"]) as listener, Sender(listener.port) as sender:
        answer = sender.send(merge(NEW, OLD))
        assert answer_of(answer)[0] == "AA"
        assert "waits for a decision" in str(answer.segment("MSA")(3))
        sender.send(merge(NEW, OLD, "again"))
    assert survivor(node, "OLD") != survivor(node, "NEW")
    with session_scope(node.database) as session:
        (item,) = list_open(session, kind=QuarantineKind.PATIENT_MERGE)
        rules = ArrivalRules.from_settings(node.settings)
        resolve(session, item.quarantine_key, Decision(action, "user-1"), node.received, rules)
    assert (survivor(node, "OLD") == survivor(node, "NEW")) is one


def test_a_merge_across_authorities_needs_both_to_be_listed(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        sender.send(merge(NEW, "OLD^^^City"))
    assert [row.kind for row in node.rows(Quarantine)] == [QuarantineKind.PATIENT_MERGE]


def test_the_authority_of_the_prior_id_picks_the_present_one(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        assert answer_of(sender.send(merge("C1^^^City~NEW^^^Hospital", OLD)))[0] == "AA"
        unclear = answer_of(sender.send(merge("C1^^^City~D1^^^Dorf", "OTHER^^^Hospital", "m-2")))
    assert survivor(node, "OLD") == survivor(node, "NEW")
    assert unclear[0] == "AE"


def test_a_merge_that_contradicts_another_is_refused_and_kept(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        sender.send(merge(NEW, OLD, "1"))
        assert answer_of(sender.send(merge("THIRD^^^Hospital", OLD, "2"))) == ("AE", "2")
        assert answer_of(sender.send(merge(OLD, NEW, "3")))[0] == "AA"  # they are one already
    (item,) = node.rows(Quarantine)
    assert "part of another record" in item.reason
    assert item.blob is not None
    assert message_store(gateway_of(node)).read(item.blob) == merge("THIRD^^^Hospital", OLD, "2")


def unlink(one: str, other: str, control_id: str) -> bytes:
    return adt("A37", control_id, f"PID|||{one}||Doe^Jane", "PV1||O", f"PID|||{other}||Roe^Jane")


def test_an_unlink_undoes_a_merge_of_a_listed_issuer_at_once(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        sender.send(merge(NEW, OLD, "1"))
        assert survivor(node, "OLD") == survivor(node, "NEW")
        answer = sender.send(unlink(OLD, NEW, "2"))
        assert (answer_of(answer), str(answer.segment("MSA")(3))) == (("AA", "2"), "Unmerged.")
        assert survivor(node, "OLD") != survivor(node, "NEW")
        again = sender.send(unlink(NEW, OLD, "3"))
        assert (answer_of(again), str(again.segment("MSA")(3))) == (("AA", "3"), "These records are not one here.")
        assert answer_of(sender.send(unlink(NEW, NEW, "4")))[0] == "AE"
        assert answer_of(sender.send(adt("A37", "5", f"PID|||{NEW}")))[0] == "AE"
    assert [row.action for row in node.rows(Audit)] == ["patient.merge", "patient.unmerge"]


def test_an_unlink_of_records_that_others_join_is_for_a_person(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        sender.send(merge(NEW, OLD, "1"))
        sender.send(merge(NEW, "THIRD^^^Hospital", "2"))
        assert answer_of(sender.send(unlink(OLD, "THIRD^^^Hospital", "3"))) == ("AE", "3")
    assert survivor(node, "OLD") == survivor(node, "THIRD")
    (item,) = node.rows(Quarantine)
    assert "by way of others" in item.reason and item.blob is not None


def test_an_unlink_of_another_issuer_waits_for_a_person(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        sender.send(merge(NEW, OLD, "1"))
    with listening(node, merge_issuers=["elsewhere"]) as listener, Sender(listener.port) as sender:
        answer = sender.send(unlink(OLD, NEW, "2"))
        assert answer_of(answer) == ("AA", "2")
        assert "waits for a decision" in str(answer.segment("MSA")(3))
    assert survivor(node, "OLD") == survivor(node, "NEW")
    (item,) = node.rows(Quarantine)
    assert "patients unmerge" in item.remedy


@pytest.mark.parametrize("event", ["A43", "A45"])
def test_a_move_waits_for_a_person_where_studies_are_here(node: Node, event: str) -> None:
    segments = (f"PID|||{NEW}", f"MRG|{OLD}", "PV1||O", "MRG|ELSE^^^Hospital", "PV1||O")
    segments = segments if event == "A45" else segments[:2]
    with listening(node) as listener, Sender(listener.port) as sender:
        first = sender.send(adt(event, "1", *segments))
        assert (answer_of(first), "No study" in str(first.segment("MSA")(3))) == (("AA", "1"), True)
        assert node.rows(Quarantine) == []
        image = mr_image(study="1.2.840.99.5", series="1.2.840.99.5.1", number=1, patient_id="OLD", issuer="Hospital")
        rules = ArrivalRules.from_settings(node.settings)
        header = (str(image.SOPClassUID), image.SOPInstanceUID, ExplicitVRLittleEndian, "PACS", encoded(image))
        Receiver(node.database, node.received, rules).take(EncodedInstance(*header))
        answer = sender.send(adt(event, "2", *segments))
        assert answer_of(answer) == ("AA", "2")
        assert "waits for a decision" in str(answer.segment("MSA")(3))
        assert answer_of(sender.send(adt(event, "3", f"PID|||{NEW}", f"MRG|{NEW}")))[0] == "AE"
    waiting, refused = sorted(node.rows(Quarantine), key=lambda item: item.blob is not None)
    assert "studies move" in waiting.remedy and "OLD" not in waiting.reason
    assert waiting.detail == {"from": survivor(node, "OLD"), "to": survivor(node, "NEW")}
    assert "state the same ID" in refused.reason
    with session_scope(node.database) as session:
        rules = ArrivalRules.from_settings(node.settings)
        resolve(session, waiting.quarantine_key, Decision(Action.DISCARD, "user-1"), node.received, rules)


def test_an_update_is_noted_in_the_audit_and_changes_nothing(node: Node) -> None:
    key = survivor(node, "NEW")
    with listening(node) as listener, Sender(listener.port) as sender:
        assert answer_of(sender.send(adt("A08", "u-1", f"PID|||{NEW}||Doe^Joan")))[0] == "AA"
        assert answer_of(sender.send(adt("A08", "u-2", "PID|||NOBODY^^^Hospital")))[0] == "AA"
    assert [(row.action, row.subject) for row in node.rows(Audit)] == [("patient.update-told", key)]
    assert len(node.rows(Patient)) == 1


def test_bad_messages_are_answered_and_kept_and_the_connection_goes_on(node: Node) -> None:
    with listening(node) as listener, Sender(listener.port) as sender:
        assert answer_of(sender.send(adt("A40", "b-1", "PID|||SECRET^^^Hospital||Doe^Jane")))[0] == "AE"
        assert answer_of(sender.send(adt("A01", "b-2", "PID|||SECRET^^^Hospital")))[0] == "AR"
        assert answer_of(sender.send(b"nonsense"))[0] == "AE"
        assert answer_of(sender.send(merge(NEW, OLD, "b-3")))[0] == "AA"
    assert {row.kind for row in node.rows(Quarantine)} == {QuarantineKind.HL7_MESSAGE}
    assert len(node.rows(Quarantine)) == 2
    assert all("SECRET" not in row.reason and "Doe" not in row.reason for row in node.rows(Quarantine))
    assert node.rows(Study) == []


def test_a_message_in_pieces_and_two_at_once(node: Node) -> None:
    first, second = merge(NEW, OLD, "p-1"), adt("A08", "p-2", f"PID|||{NEW}")
    with listening(node) as listener, Sender(listener.port) as sender:
        content = START + first + END + START + second + END
        for byte in content[:40]:
            sender.socket.sendall(bytes([byte]))
        answers = sender.raw(content[40:])
        while answers.count(END) < 2:
            answers += sender.raw(b"")
    assert answers.count(b"MSA|AA|p-1") == answers.count(b"MSA|AA|p-2") == 1


def test_what_is_no_mllp_or_too_long_ends_the_connection(node: Node) -> None:
    with listening(node, max_message_kb=4) as listener:
        with Sender(listener.port) as sender:
            assert sender.raw(b"GET / HTTP/1.1\r\n\r\n\x1c\r") == b""
        with Sender(listener.port) as sender:
            assert b"MSA|AR" in sender.raw(START + b"MSH|" + b"x" * 20000 + END)
        with Sender(listener.port) as sender:
            assert answer_of(sender.send(merge(NEW, OLD)))[0] == "AA"


def test_hosts_that_are_not_listed_are_not_heard(node: Node) -> None:
    with listening(node, allowed_hosts=["192.0.2.7"]) as listener, Sender(listener.port) as sender:
        assert sender.raw(START + merge(NEW, OLD) + END) == b""
    assert node.rows(Patient) == []
    options = Hl7(allowed_hosts=("10.1.0.0/16", "localhost", "no-such-host.invalid"))
    assert [is_allowed(options, a) for a in ("10.1.2.3", "10.2.0.1", "127.0.0.1")] == [True, False, True]
    assert not is_allowed(Hl7(), "10.1.2.3")


def test_tls_with_a_certificate_of_the_sender(node: Node, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "Hospital CA")
    own, other = authority.issue("gateway"), authority.issue("adt")
    files = {
        "certificate_file": own.certificate_file,
        "key_file": own.key_file,
        "ca_file": authority.certificate.certificate_file,
    }
    with listening(node, tls=files) as listener:
        context = ssl.create_default_context(cafile=str(authority.certificate.certificate_file))
        context.check_hostname = False
        with suppress(ssl.SSLError, ConnectionError), Sender(listener.port, context) as sender:
            assert sender.raw(START + merge(NEW, OLD) + END) == b""
        assert node.rows(Patient) == []
        context.load_cert_chain(other.certificate_file, other.key_file)
        with Sender(listener.port, context) as sender:
            assert answer_of(sender.send(merge(NEW, OLD)))[0] == "AA"


def test_the_role_listens_until_it_is_told_to_stop(node: Node, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "timepoint.toml"
    lines = [
        f'data_dir = "{node.settings.data_dir}"',
        f'[database]\nurl = "{node.settings.database.url}"',
        f'[hl7]\nenabled = true\nport = {port}\nmerge_issuers = ["Hospital"]',
    ]
    config.write_text("\n".join(lines))
    command = [sys.executable, "-m", "timepoint", "hl7", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as role:
        assert role.stderr is not None
        while "listening for HL7 messages" not in (line := role.stderr.readline()):
            assert line, "the role ended"
        with Sender(port) as sender:
            assert answer_of(sender.send(merge(NEW, OLD)))[0] == "AA"
        role.terminate()
        assert role.wait(30) == 0
    assert survivor(node, "OLD") == survivor(node, "NEW")

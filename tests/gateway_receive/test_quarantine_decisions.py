"""What a person decides about quarantined items, and what follows for the study."""

from __future__ import annotations

import datetime as dt

import pytest
from gateway_receive.mr_images import encoded, mr_image, mr_series, mr_study
from gateway_receive.node import Node
from gateway_receive.senders import send

from gateway.arrivals import ArrivalRules
from gateway.completion import close_due_studies
from gateway.database import session_scope
from gateway.errors import NotAllowed, NotFound
from gateway.part10 import read_part10
from gateway.quarantine import list_open, show
from gateway.quarantine_decisions import Action, Decision, resolve
from gateway.receiver import rebuild_index
from gateway.tables import Audit, Instance, PatientIdentifier, Quarantine, QuarantineKind, StudyState
from longitudinal.types import Contrast

STUDY = "1.2.826.0.1.3680043.10.1"


def decide(node: Node, action: Action, **more: str) -> None:
    with session_scope(node.database) as session:
        (item,) = list_open(session)
        rules = ArrivalRules.from_settings(node.settings)
        resolve(session, item.quarantine_key, Decision(action, "user-1", **more), node.received, rules)


def two_patients(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_series(STUDY, Contrast.T1C))
        send(scp.port, mr_series(STUDY, Contrast.FLAIR, 1, patient_id="PAT-002"))


def test_discarding_an_instance_lets_the_study_go_on_without(node: Node) -> None:
    two_patients(node)
    decide(node, Action.DISCARD)
    study = node.study()
    assert (study.state, study.instance_count) == (StudyState.RECEIVING, 5)
    assert study.due is not None
    assert [(a.action, a.actor) for a in node.rows(Audit)] == [("quarantine.discard", "user-1")]
    with node.listening() as scp:  # the same again: decided once is decided
        assert send(scp.port, mr_series(STUDY, Contrast.FLAIR, 1, patient_id="PAT-002")) == [0]
    (item,) = node.rows(Quarantine)
    assert item.resolution == "discard"


def test_releasing_an_instance_takes_it_into_its_study(node: Node) -> None:
    two_patients(node)
    decide(node, Action.RELEASE)
    assert (node.study().state, node.study().instance_count) == (StudyState.RECEIVING, 6)
    assert node.study().identity["normalised"] == ["PAT-001", "HOSPITAL"]


def test_replacing_a_copy(node: Node) -> None:
    first, second = (mr_image(study=STUDY, series=f"{STUDY}.1", number=1) for _ in range(2))
    second.PixelData = bytes(reversed(second.PixelData))
    with node.listening() as scp:
        send(scp.port, [first, second])
    decide(node, Action.REPLACE)
    (row,) = node.rows(Instance)
    assert read_part10(node.received.read(row.blob)).dataset == encoded(second)
    with node.listening() as scp:
        assert rebuild_index(scp.receiver) == 0  # the old bytes are still known to the settled item
        assert send(scp.port, [second]) == [0]
    assert len(node.rows(Quarantine)) == 1


def test_assigning_a_patient(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_study(STUDY, (Contrast.T1C, Contrast.FLAIR), patient_id=""))
    decide(node, Action.ASSIGN, patient_id="PAT-9", issuer="Hospital")
    (identifier,) = node.rows(PatientIdentifier)
    study = node.study()
    assert (identifier.patient_id, identifier.issuer) == ("PAT-9", "HOSPITAL")
    assert study.patient_key == identifier.patient_key
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=61)
    assert close_due_studies(node.database, node.settings, later) == [(study.study_key, 1)]


def test_the_study_waits_until_everything_is_decided(node: Node) -> None:
    two_patients(node)
    with node.listening() as scp:
        send(scp.port, mr_series(STUDY, Contrast.T2, 1, patient_id="PAT-003"))
    with session_scope(node.database) as session:
        first, second = list_open(session, node.study().study_key)
        rules = ArrivalRules.from_settings(node.settings)
        resolve(session, first.quarantine_key, Decision(Action.DISCARD, "u"), node.received, rules)
    assert node.study().state is StudyState.QUARANTINED
    with session_scope(node.database) as session:
        resolve(session, second.quarantine_key, Decision(Action.DISCARD, "u"), node.received, rules)
    assert node.study().state is StudyState.RECEIVING


@pytest.mark.parametrize("action", [Action.RELEASE, Action.REPLACE, Action.ASSIGN])
def test_broken_bytes_can_only_be_discarded(node: Node, action: Action) -> None:
    image = mr_image(study=STUDY, series=f"{STUDY}.1", number=1)
    del image.PixelData
    with node.listening() as scp:
        send(scp.port, [image])
    with pytest.raises(NotAllowed, match="admits: discard"):
        decide(node, action)
    decide(node, Action.DISCARD)
    (item,) = node.rows(Quarantine)
    assert (item.kind, item.resolution) == (QuarantineKind.NO_PIXEL_DATA, "discard")


def test_nothing_is_decided_twice_and_unknown_keys_are_told(node: Node) -> None:
    two_patients(node)
    decide(node, Action.DISCARD)
    (item,) = node.rows(Quarantine)
    rules = ArrivalRules.from_settings(node.settings)
    with session_scope(node.database) as session:
        with pytest.raises(NotAllowed, match="settled already"):
            resolve(session, item.quarantine_key, Decision(Action.RELEASE, "u"), node.received, rules)
        with pytest.raises(NotFound):
            show(session, "q-unknown")

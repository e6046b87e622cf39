"""The identity server: a small real FHIR endpoint over HTTP, asked as PIXm and PDQm say."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateway_receive.mr_images import encoded, mr_image
from gateway_receive.node import Node
from pydicom.uid import ExplicitVRLittleEndian

from gateway.arrivals import ArrivalRules
from gateway.blobs import RESULTS, open_blobs
from gateway.context import Gateway
from gateway.database import session_scope
from gateway.identity import PatientId, patient_key_of
from gateway.identity_lookup import look_up_due
from gateway.identity_settings import IdentityLookup, IdentityRules
from gateway.part10 import EncodedInstance
from gateway.receiver import Receiver
from gateway.tables import Audit, Patient, PatientIdentifier, Quarantine, QuarantineKind
from timepoint_fhir.endpoint import running_endpoint
from timepoint_fhir.errors import FhirUnavailable
from timepoint_fhir.patient_lookup import Identifier, PatientLookup

NORTH, SOUTH = "urn:oid:1.2.3", "https://south.example/ids"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    people: list[dict[str, Any]] = [
        {"identifier": [{"system": NORTH, "value": "N1"}, {"system": SOUTH, "value": "S1"}]},
        {"identifier": [{"system": NORTH, "value": "77"}], "birthDate": "1970-01-01"},
        {"identifier": [{"system": NORTH, "value": "88"}], "birthDate": "1999-12-31"},
        {"identifier": [{"system": NORTH, "value": "99"}]},
        {"identifier": [{"system": SOUTH, "value": "99"}]},
    ]
    with running_endpoint(tmp_path_factory.mktemp("mpi")) as url:
        for person in people:
            httpx2.post(f"{url}/Patient", json={"resourceType": "Patient", **person}).raise_for_status()
        yield url


def gateway_of(node: Node, url: str, **options: Any) -> Gateway:
    lookup = IdentityLookup(base_url=url, systems={"North": NORTH, "South": SOUTH}, **options)
    update = {"lookup": lookup, "identity": IdentityRules(missing_issuer="quarantine")}
    settings = node.settings.model_copy(update=update)
    return Gateway(settings, node.database, node.received, open_blobs(settings.storage.url, RESULTS))


def receive(gateway: Gateway, patient_id: str) -> None:
    image = mr_image(study="1.2.840.99.6", series="1.2.840.99.6.1", number=1, patient_id=patient_id, issuer="")
    receiver = Receiver(gateway.database, gateway.received, ArrivalRules.from_settings(gateway.settings))
    content = encoded(image)
    receiver.take(
        EncodedInstance(str(image.SOPClassUID), image.SOPInstanceUID, ExplicitVRLittleEndian, "PACS", content)
    )


def meet(node: Node, *ids: tuple[str, str]) -> list[str]:
    with session_scope(node.database) as session:
        return [patient_key_of(session, PatientId(*one)) for one in ids]


def test_an_id_of_a_known_person_waits_for_a_decision(node: Node, server: str) -> None:
    first, second = meet(node, ("N1", "NORTH"), ("S1", "SOUTH"))
    assert look_up_due(gateway_of(node, server)) == 2
    (item,) = node.rows(Quarantine)
    assert (item.kind, item.detail) == (QuarantineKind.PATIENT_MERGE, {"surviving": first, "retired": second})
    assert look_up_due(gateway_of(node, server)) == 0  # asked once


def test_an_id_of_a_known_person_is_merged_where_the_server_is_trusted(node: Node, server: str) -> None:
    first, second = meet(node, ("S1", "SOUTH"), ("N1", "NORTH"))
    look_up_due(gateway_of(node, server, merge=True))
    assert {p.patient_key: p.merged_into for p in node.rows(Patient)} == {first: None, second: first}
    assert [(row.actor, row.action) for row in node.rows(Audit)] == [("identity-server", "patient.merge")]


def test_ids_that_the_server_does_not_know_or_must_not_see_stay(node: Node, server: str) -> None:
    meet(node, ("UNKNOWN", "NORTH"), ("N1", "ELSEWHERE"))
    assert look_up_due(gateway_of(node, server)) == 1
    asked = {row.issuer: row.looked_up_at is not None for row in node.rows(PatientIdentifier)}
    assert asked == {"NORTH": True, "ELSEWHERE": False}
    assert node.rows(Quarantine) == []


@pytest.mark.parametrize(
    ("patient_id", "assigned"),
    [("77", True), ("88", False), ("99", False), ("NOBODY", False)],
    ids=["one patient", "another birth date", "two patients", "none"],
)
def test_an_id_without_issuer(node: Node, server: str, patient_id: str, assigned: bool) -> None:
    gateway = gateway_of(node, server)
    receive(gateway, patient_id)
    assert node.study().patient_key is None
    assert look_up_due(gateway) == 1
    assert (node.study().patient_key is not None) is assigned
    (item,) = node.rows(Quarantine)
    assert (item.resolution == "assign") is assigned
    if assigned:
        (identifier,) = node.rows(PatientIdentifier)
        assert (identifier.patient_id, identifier.issuer, item.resolved_by) == ("77", "NORTH", "identity-server")


def test_a_server_that_is_down_or_silent_holds_nothing_up(node: Node, tmp_path: Path) -> None:
    meet(node, ("N1", "NORTH"))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert look_up_due(gateway_of(node, url, timeout_s=0.3)) == 0
        receive(gateway_of(node, url), "77")
        with PatientLookup(url, timeout_s=0.3) as lookup, pytest.raises(FhirUnavailable):
            lookup.same_person(Identifier(NORTH, "N1"))
    (row,) = node.rows(PatientIdentifier)
    assert row.looked_up_at is None  # it is asked again


def test_nothing_is_asked_without_a_server(node: Node) -> None:
    meet(node, ("N1", "NORTH"))
    settings = node.settings
    gateway = Gateway(settings, node.database, node.received, open_blobs(settings.storage.url, RESULTS))
    assert look_up_due(gateway) == 0
    with pytest.raises(ValueError, match=r"lookup\.systems"):
        IdentityLookup(base_url="http://127.0.0.1:9")

"""What the pages of merged records and of deliveries show and who may act on them, over the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gateway.api.app import create_app
from gateway.context import Gateway, open_gateway
from gateway.database import session_scope
from gateway.engine import InlineEngine
from gateway.identity import PatientId, first_contact
from gateway.merges import merge
from gateway.settings import Settings
from gateway.tables import Delivery, DeliveryState, Study

VIEWER, OPERATOR = ({"Authorization": f"Bearer {token}"} for token in ("v-1", "o-1"))


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    tokens = tmp_path / "tokens"
    tokens.write_text("viewer ann v-1\noperator ben o-1\n")
    places = [
        {"name": "committing", "host": "127.0.0.1", "commitment": "required"},
        {"name": "plain", "host": "127.0.0.1"},
    ]
    web = {"auth": {"mode": "token", "tokens_file": tokens}}
    return open_gateway(Settings(data_dir=tmp_path / "data", web=web, destinations=places))


def test_merged_records_are_listed_and_an_operator_separates_them(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        kept, gone = (first_contact(session, PatientId(name, "HOSPITAL")) for name in ("SECRET-1", "SECRET-2"))
        merge(session, kept, gone, "hl7:ADT|HOSP")
    with TestClient(create_app(gateway, InlineEngine())) as client:
        assert client.get("/api/v1/merges").status_code == 401
        shown = client.get("/api/v1/merges", headers=VIEWER)
        (line,) = shown.json()
        assert (line["surviving"], line["retired"], line["made_by"]) == (kept, gone, "hl7:ADT|HOSP")
        assert (line["retired_issuers"], line["unmade"]) == (["HOSPITAL"], None)
        assert "SECRET" not in shown.text
        address = f"/api/v1/patients/{gone}/unmerge"
        assert client.post(address, headers=VIEWER).status_code == 403
        elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        assert client.post(address, headers=elsewhere).status_code in (401, 403)
        assert client.post(address, headers=OPERATOR).json()["changed"] is True
        (line,) = client.get("/api/v1/merges", headers=VIEWER).json()
        assert (line["unmade_by"], line["unmade"] is not None) == ("ben", True)


def test_uncommitted_deliveries_are_those_that_an_archive_has_still_to_commit(gateway: Gateway) -> None:
    done = {"attempts": 1, "next_try": None, "revision": 1}
    with session_scope(gateway.database) as session:
        study = Study(study_instance_uid="1.2.3")
        session.add(study)
        session.flush()
        for place, name, state in (
            ("committing", "seg", DeliveryState.DELIVERED),
            ("committing", "sr", DeliveryState.COMMITTED),
            ("plain", "seg", DeliveryState.DELIVERED),
        ):
            session.add(Delivery(study_key=study.study_key, destination=place, object_name=name, state=state, **done))
    with TestClient(create_app(gateway, InlineEngine())) as client:
        shown = client.get("/api/v1/deliveries?uncommitted=true", headers=VIEWER).json()
        assert [(line["destination"], line["object"]) for line in shown] == [("committing", "seg")]
        assert len(client.get("/api/v1/deliveries", headers=VIEWER).json()) == 3

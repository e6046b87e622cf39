"""Sign-in, roles, health and problem documents of the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gateway.api.app import create_app
from gateway.context import open_gateway
from gateway.engine import InlineEngine
from gateway.errors import SettingsError
from gateway.settings import Settings, Web, WebAuth

VIEWER, OPERATOR = "viewer-token-1", "operator-token-2"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"viewer ann {VIEWER}\noperator ben {OPERATOR}\n")
    web = Web(host="0.0.0.0", auth=WebAuth(mode="token", tokens_file=tokens))
    gateway = open_gateway(Settings(data_dir=tmp_path / "data", web=web))
    with TestClient(create_app(gateway, InlineEngine())) as made:
        yield made
    gateway.database.dispose()


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["studies", "patients", "quarantine", "jobs", "destinations", "models", "exports"])
def test_nothing_is_shown_without_a_token(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(f"/api/v1/{path}", headers=_as("wrong")).status_code == 401
    assert client.get(f"/api/v1/{path}", headers=_as(VIEWER)).status_code == 200


def test_a_viewer_may_not_act_and_an_operator_may(client: TestClient) -> None:
    assert client.post("/api/v1/quarantine/q1/resolve?action=discard", headers=_as(VIEWER)).status_code == 403
    answer = client.post("/api/v1/quarantine/q1/resolve?action=discard", headers=_as(OPERATOR))
    assert answer.status_code == 404
    assert "q1" in answer.json()["detail"]


def test_the_api_is_never_open_to_the_network_without_sign_in(tmp_path: Path) -> None:
    gateway = open_gateway(Settings(data_dir=tmp_path / "data", web=Web(host="0.0.0.0")))
    with pytest.raises(SettingsError, match=r"web\.auth\.mode"):
        create_app(gateway, InlineEngine())
    gateway.database.dispose()


def test_health_and_metrics_need_no_token_and_name_nobody(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "timepoint_quarantine_open 0.0" in client.get("/metrics").text


def test_pages_forbid_foreign_scripts(client: TestClient) -> None:
    answer = client.get("/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "<script>" not in answer.text


def test_predict_takes_a_history_and_answers_with_an_interval(client: TestClient) -> None:
    import json

    from longitudinal.histories import encode
    from training.simulate.histories import simulate_histories

    document = json.loads(encode(simulate_histories(1, seed=4).histories))
    patient = document["patients"][0]
    answer = client.post("/api/v1/predict?horizons_days=90", json=patient, headers=_as(VIEWER))
    assert answer.status_code == 200, answer.text
    made = answer.json()
    if made["abstained"] is None:
        (point,) = made["points"]
        assert point["horizon_days"] == 90
        assert point["lower_ml"] <= point["median_ml"] <= point["upper_ml"]
    assert client.post("/api/v1/predict", json={"pid": "x"}, headers=_as(VIEWER)).status_code == 422

"""Sign-in by cookie, requests of other sites, limits, events, lists for operators, and the API's own description."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from gateway_archive.web import running_web
from starlette.testclient import TestClient

from gateway.api.access import Gatekeeper
from gateway.api.app import create_app
from gateway.api.rate_limit import RateLimit
from gateway.api.sessions import COOKIE, Session, SessionLimits, opened, sealed
from gateway.context import Gateway, open_gateway
from gateway.database import session_scope
from gateway.engine import InlineEngine
from gateway.settings import Settings, Web, WebAuth
from gateway.tables import Delivery, DeliveryState, Study
from longitudinal.histories import encode
from training.simulate.histories import simulate_histories

OPENAPI = Path(__file__).parents[2] / "web" / "openapi.json"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "tokens").write_text("viewer ann v-1\noperator ben o-1\nsender scanner s-1\n")
    web = Web(auth=WebAuth(mode="token", tokens_file=tmp_path / "tokens"))
    gateway = open_gateway(Settings(data_dir=tmp_path / "data", web=web))
    with TestClient(create_app(gateway, InlineEngine())) as made:
        yield made
    gateway.database.dispose()


def test_a_session_begins_with_a_token_and_ends_with_sign_out(guarded: TestClient) -> None:
    assert guarded.get("/api/v1/session").status_code == 401
    assert guarded.post("/api/v1/session", json={"token": "wrong"}).status_code == 401
    assert guarded.post("/api/v1/session", json={"token": "s-1"}).status_code == 401  # senders have no pages
    begun = guarded.post("/api/v1/session", json={"token": "o-1"})
    assert begun.json()["role"] == "operator"
    cookie = begun.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert "o-1" not in cookie
    assert guarded.get("/api/v1/studies").status_code == 200
    guarded.delete("/api/v1/session")
    assert guarded.get("/api/v1/studies").status_code == 401


def test_what_changes_something_needs_the_sessions_value(guarded: TestClient) -> None:
    csrf = guarded.post("/api/v1/session", json={"token": "o-1"}).json()["csrf"]
    path = "/api/v1/audit/verify"
    assert guarded.post(path).status_code == 403
    assert guarded.post(path, headers={"X-Timepoint-Csrf": "0" * 64}).status_code == 403
    assert guarded.post(path, headers={"X-Timepoint-Csrf": csrf}).status_code == 200


def test_pages_of_other_sites_change_nothing(client: TestClient) -> None:
    path = "/api/v1/audit/verify"
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = client.post(path, headers=headers)
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
    assert (
        client.post(path, headers={"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}).status_code == 200
    )


def test_viewers_do_not_see_the_audit_trail(guarded: TestClient) -> None:
    assert guarded.get("/api/v1/audit", headers={"Authorization": "Bearer v-1"}).status_code == 403
    assert guarded.get("/api/v1/audit", headers={"Authorization": "Bearer o-1"}).status_code == 200


def test_a_session_ends_when_it_is_idle_too_old_or_tampered_with(tmp_path: Path) -> None:
    limits = SessionLimits(idle_s=600, longest_s=3600)
    session = Session("ann", 1000, 2000)
    assert limits.holds(session, 2600)
    assert not limits.holds(session, 2601)
    assert not limits.holds(Session("ann", 1000, 4600), 4601)
    value = sealed(session, "v-1")
    assert opened(value, {"ann": "v-1"}) == session
    assert opened(value, {"ann": "v-2"}) is None  # the token was changed
    assert opened(value.replace("|2000|", "|9000|"), {"ann": "v-1"}) is None
    (tmp_path / "tokens").write_text("viewer ann v-1\n")
    keeper = Gatekeeper(Web(auth=WebAuth(mode="token", tokens_file=tmp_path / "tokens", idle_minutes=10)))
    assert keeper.limits.idle_s == 600


def test_a_session_in_use_goes_on(guarded: TestClient) -> None:
    begun = int(time.time()) - 300
    guarded.cookies.set(COOKIE, sealed(Session("ann", begun, begun), "v-1"))
    renewed = guarded.get("/api/v1/studies").headers["set-cookie"]
    assert f"ann|{begun}|" in renewed and f"|{begun}|{begun}|" not in renewed


def test_a_client_that_runs_wild_has_to_wait() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(10)] == [0] * 10
    assert limit.wait_s("a") == 1
    assert limit.wait_s("b") == 0
    now[0] = 1.0
    assert limit.wait_s("a") == 0


def test_the_limit_answers_with_a_problem_and_when_to_come_back(tmp_path: Path) -> None:
    gateway = open_gateway(Settings(data_dir=tmp_path, web=Web(requests_per_minute=60)))
    with TestClient(create_app(gateway, InlineEngine())) as client:
        answers = [client.get("/api/v1/models") for _ in range(12)]
        assert client.get("/healthz").status_code == 200
    gateway.database.dispose()
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_lists_are_read_page_by_page(client: TestClient) -> None:
    first = client.get("/api/v1/studies?limit=3")
    assert len(first.json()) == 3
    following = first.links["next"]["url"]
    second = client.get(following)
    assert len(second.json()) == 1 and "next" not in second.links
    keys = [s["study_key"] for s in first.json() + second.json()]
    assert sorted(keys) == ["s1", "s2", "s3", "s9"]


def test_dead_letters_are_listed(analysed: Gateway, client: TestClient) -> None:
    with session_scope(analysed.database) as session:
        session.add(
            Delivery(
                study_key="s1",
                revision=1,
                destination="pacs",
                object_name="seg",
                state=DeliveryState.FAILED,
                attempts=9,
                last_error="refused",
            )
        )
    (line,) = client.get("/api/v1/deliveries?state=failed").json()
    assert (line["study_key"], line["error"]) == ("s1", "refused")
    assert client.get("/api/v1/health").json()["waiting"]["failed_deliveries"] == 1


def test_rules_can_be_tried(client: TestClient) -> None:
    present = client.get("/api/v1/rules").json()
    assert client.post("/api/v1/rules/simulate", json=present).json()["simulated"] >= 3
    refused = client.post("/api/v1/rules/simulate", json={**present, "quiet": 1})
    assert refused.status_code == 422


def test_impossible_numbers_are_told_not_stumbled_over(client: TestClient) -> None:
    rules = client.get("/api/v1/rules").json()
    told = client.post("/api/v1/rules/simulate", json={**rules, "quiet_s": 1e308})
    assert told.status_code == 422 and "calendar" in told.json()["detail"]
    history = json.loads(encode(simulate_histories(1, seed=4).histories))["patients"][0]
    assert client.post("/api/v1/predict?horizons_days=0", json=history).status_code == 422


def test_both_sides_of_an_identity_question_are_shown(client: TestClient) -> None:
    sides = client.get("/api/v1/quarantine/q1").json()["compared"]
    assert (sides["study"]["patient_id"], sides["instance"]["patient_id"]) == ("A-1", "B-2")


def test_events_tell_what_moved(analysed: Gateway) -> None:
    with running_web(analysed) as base, httpx2.stream("GET", f"{base}/api/v1/events", timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        with session_scope(analysed.database) as session:
            study = session.get_one(Study, "s3")
            study.instance_count += 1
            session.add(study)
        told = next(line for line in lines if line.startswith("data:"))
    moved = json.loads(told.removeprefix("data:"))
    assert moved["changed"] == ["studies"]
    assert [s["study_key"] for s in moved["studies"]] == ["s3"]


def test_the_typed_client_is_made_from_this_api(analysed: Gateway) -> None:
    described = create_app(analysed, InlineEngine()).openapi()
    written = json.loads(OPENAPI.read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(described)), (
        "run `make web`: the API has changed since openapi.json was written"
    )


def test_pages_are_kept_by_the_browser_when_their_name_says_what_is_in_them(client: TestClient) -> None:
    index = client.get("/")
    assert index.headers["cache-control"] == "no-store"
    script = next(part.split('"')[0] for part in index.text.split('src="./')[1:])
    assert "immutable" in client.get(f"/{script}").headers["cache-control"]

"""The ledger of releases: a chain, and withdrawals that reach every release that held the person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import select

from gateway import release_ledger
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.errors import AuditBroken, NotAllowed
from gateway.export import check_folder, export_histories
from gateway.export_tables import Withdrawal
from gateway.operations import opt_out
from gateway.settings import Settings
from gateway.tables import ExportLedger, Outbox, Patient
from longitudinal import release as rules_of_release


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    opened = open_gateway(Settings(data_dir=tmp_path / "data"))
    with session_scope(opened.database) as session:
        for key in ("p1", "p2", "p3"):
            merged = "p1" if key == "p3" else None
            session.add(Patient(patient_key=key, surrogate=f"{key[1]}" * 32, merged_into=merged))
            session.flush()
    yield opened
    opened.database.dispose()


def release(gateway: Gateway, key: str, members: dict[str, str]) -> None:
    with session_scope(gateway.database) as session:
        ledger = ExportLedger(export_key=key, sha256=key * 16, counts={"patients": len(members), "scans": 0})
        release_ledger.append(session, ledger, members, {"rules": {"k": 5}, "bins": {"age_years": 10}})


def waiting(gateway: Gateway) -> list[str]:
    with read_scope(gateway.database) as session:
        return [row.kind for row in session.exec(select(Outbox)).all()]


def test_a_withdrawal_reaches_every_release_that_held_the_person(gateway: Gateway) -> None:
    release(gateway, "e1", {"p1": "p-a", "p2": "p-b"})
    release(gateway, "e2", {"p2": "p-c"})
    release(gateway, "e3", {"p3": "p-d", "p2": "p-e"})  # p3 is the same person as p1
    recalled = opt_out(gateway, "p1", "user")
    assert [(r.export_key, r.pids) for r in recalled] == [("e1", ("p-a",)), ("e3", ("p-d",))]
    assert waiting(gateway) == ["export"]
    assert [r.export_key for r in opt_out(gateway, "p1", "user")] == ["e1", "e3"]
    with read_scope(gateway.database) as session:
        assert len(session.exec(select(Withdrawal)).all()) == 2, "noted once"
        assert [r.as_json()["ledger_id"] for r in release_ledger.recalls(session)] == ["e1", "e3"]


def test_nobody_to_recall_makes_no_release(gateway: Gateway) -> None:
    release(gateway, "e1", {"p2": "p-b"})
    assert opt_out(gateway, "p1", "user") == []
    assert waiting(gateway) == []
    assert opt_out(gateway, "p2", "user", out=False) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE history_release SET members = '{}' WHERE number = 1",
        "UPDATE history_release SET statement = '{}' WHERE number = 2",
        "DELETE FROM history_release WHERE number = 1",
    ],
)
def test_a_changed_ledger_is_seen(gateway: Gateway, change: str) -> None:
    for key in ("e1", "e2", "e3"):
        release(gateway, key, {"p2": f"p-{key}"})
    with read_scope(gateway.database) as session:
        assert release_ledger.verify(session) == 3
    with session_scope(gateway.database) as session:
        session.connection().execute(sa.text(change))
    with read_scope(gateway.database) as session, pytest.raises(AuditBroken, match="Release"):
        release_ledger.verify(session)


def test_an_export_states_everything_and_links_to_the_one_before(gateway: Gateway, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_histories(gateway, tmp_path / name)
        assert check_folder(tmp_path / name) == []
    first, second = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("one", "two"))
    assert second["ledger"]["previous"] == first["ledger"]["hash"]
    assert second["rules"] == {"k": 5, "interval_days": 14, "volume_step_ml": 0.1}
    assert second["key_id"] == gateway.keys.key_id
    assert first["sha256"] == second["sha256"]
    assert {p.name for p in (tmp_path / "one").iterdir()} == {
        "patient_histories.json", "manifest.json", "residual_risk.json", "residual_risk.md",
    }  # fmt: skip


def test_what_fails_the_check_does_not_leave(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.export.check_release", lambda data, manifest: ["A date."])
    with pytest.raises(NotAllowed, match="A date"):
        export_histories(gateway, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []
    with read_scope(gateway.database) as session:
        assert release_ledger.verify(session) == 0


def test_classes_of_ages_never_get_narrower(gateway: Gateway, tmp_path: Path) -> None:
    export_histories(gateway, tmp_path / "wide", rules=rules_of_release.ReleaseRules(age_years=40))
    export_histories(gateway, tmp_path / "next")
    assert json.loads((tmp_path / "next" / "manifest.json").read_text())["bins"]["age_years"] == 40

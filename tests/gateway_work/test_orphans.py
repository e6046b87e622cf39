"""Files that no row knows and rows whose file is gone: found in both directions, deleted on request."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from peers.published import gateway_with, publish
from sqlmodel import select
from typer.testing import CliRunner

from gateway.context import Gateway
from gateway.database import read_scope
from gateway.findings import Health
from gateway.frames import analysis_folder
from gateway.orphans import Orphans, StrayFile, delete_strays, find_orphans
from gateway.storage_checks import stored_files
from gateway.tables import Audit, Delivery, Instance
from timepoint.cli import app


def aged(path: Path, hours: float) -> Path:
    when = time.time() - hours * 3600
    os.utime(path, (when, when))
    return path


def with_strays(folder: Path) -> Gateway:
    """An old and a young stray of each store, and a folder of a study that there is not."""
    gateway = gateway_with(folder, "")
    publish(gateway, "1.1")
    for store in (gateway.received, gateway.results):
        aged(store.path(store.put(b"old")), 30)
        aged(store.path(store.put(b"young")), 1)
    unknown = analysis_folder(gateway, "snobody", 1)
    unknown.mkdir()
    aged(unknown, 30)
    return gateway


def test_strays_are_found_and_only_old_ones_deleted_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = with_strays(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["storage", "orphans", "--json"])
    document = json.loads(shown.stdout)
    assert shown.exit_code == 0
    assert [s["area"] for s in document["files_without_rows"]] == ["received"] * 2 + ["results"] * 2 + ["research"]
    assert (document["rows_without_files"], document["deleted"]) == ([], [])
    assert len(find_orphans(gateway).stray) == 5
    deleted = json.loads(CliRunner().invoke(app, ["storage", "orphans", "--delete", "--json"]).stdout)["deleted"]
    assert len(deleted) == 3
    assert [(s.area, s.age_hours < 2) for s in find_orphans(gateway).stray] == [("received", True), ("results", True)]
    with read_scope(gateway.database) as session:
        assert [a.detail["files"] for a in session.exec(select(Audit)).all() if a.action == "orphans.delete"] == [3]


def test_a_file_that_got_its_row_since_is_not_deleted(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path, "")
    key = publish(gateway, "1.1")
    found = find_orphans(gateway)
    assert found.stray == ()
    with read_scope(gateway.database) as session:
        blob = session.exec(select(Instance.blob).where(Instance.study_key == key)).first()
    stale = Orphans((StrayFile("received", str(blob), 1, 100.0),), ())
    assert delete_strays(gateway, stale, 0.0, "test") == []
    assert gateway.received.exists(str(blob))


def test_rows_without_files_are_reported_and_end_the_command_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = gateway_with(tmp_path, "")
    key = publish(gateway, "1.1")
    with read_scope(gateway.database) as session:
        image = session.exec(select(Instance.blob).where(Instance.study_key == key)).first()
        report = session.exec(select(Delivery.blob).where(Delivery.object_name == "sr")).first()
    gateway.received.delete(str(image))
    gateway.results.delete(str(report))
    assert [(f.area, f.needed_for, f.study_key) for f in find_orphans(gateway).lost] == [
        ("received", "image", key), ("results", "sr", key),
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["storage", "orphans"]).exit_code == 1


def test_the_doctor_says_so(tmp_path: Path) -> None:
    gateway = gateway_with(tmp_path, "")
    publish(gateway, "1.1")
    assert [f.health for f in stored_files(gateway.settings)] == [Health.OK]
    aged(gateway.received.path(gateway.received.put(b"old")), 30)
    assert [f.health for f in stored_files(gateway.settings)] == [Health.WARNING]
    with read_scope(gateway.database) as session:
        gateway.received.delete(str(session.exec(select(Instance.blob)).first()))
    assert [f.health for f in stored_files(gateway.settings)] == [Health.FAILURE]

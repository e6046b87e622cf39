"""Rules tried on past studies: what they would choose and decide, the difference, and that nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from peers.indexed import FLAIR, NAMELESS, T1C, add_patient, add_study
from typer.testing import CliRunner

from deidentify.keys import KeyRing
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.rule_simulation import SimulatedStudy, simulate_rules
from gateway.settings import load_settings
from gateway.tables import METADATA, Analysis, StudyState
from timepoint.cli import app

T1 = {"words": "t1 se tra nativ", "series_number": "1", "acquired": "20260101095000"}
STRICT = '[study]\nrequired = ["t1c", "t2f", "t1n"]\nforce_s = 600\n'


def past(folder: Path) -> Gateway:
    """A gateway that completed, analysed, and put aside studies."""
    config = folder / "timepoint.toml"
    config.write_text(f'data_dir = "{folder / "data"}"\n', encoding="utf-8")
    gateway = open_gateway(load_settings(config))
    keys = gateway.keys
    with session_scope(gateway.database) as session:
        patient = add_patient(session)
        done = {"decided": "complete"}
        full = add_study(session, patient, "1.1", [T1C, FLAIR, T1], state=StudyState.PUBLISHED, evidence=done)
        other = add_study(session, patient, "1.2", [T1C, FLAIR], state=StudyState.PUBLISHED, evidence=done)
        add_study(session, patient, "1.3", [FLAIR], state=StudyState.QUARANTINED, evidence={"decided": "hold"})
        add_study(session, patient, "1.4", [FLAIR, NAMELESS], state=StudyState.COMPLETE, evidence=done)
        for study, used in ((full, {"t1c": "1.1.1", "t2f": "1.1.2", "t1n": "1.1.3"}), (other, {"t1c": "1.2.2"})):
            session.add(_analysis(study.study_key, patient.patient_key, used, keys))
    return gateway


def _analysis(study_key: str, patient_key: str, used: dict[str, str], keys: KeyRing) -> Analysis:
    series = {contrast: keys.uid(uid) for contrast, uid in used.items()}
    return Analysis(
        study_key=study_key, patient_key=patient_key, revision=1, labels_sha256="0", detail={"series": series}
    )


def rows(gateway: Gateway) -> dict[str, list[object]]:
    with gateway.database.connect() as connection:
        return {t.name: list(connection.execute(sa.select(t).order_by(*t.primary_key))) for t in METADATA.sorted_tables}


def simulated(gateway: Gateway, config: Path | None = None) -> dict[str, SimulatedStudy]:
    rules = load_settings(config).study if config else gateway.settings.study
    with read_scope(gateway.database) as session:
        found = simulate_rules(session, rules, gateway.keys)
        rows = session.connection().execute(sa.text("select study_key, study_instance_uid from study"))
        uids = {str(key): str(uid) for key, uid in rows}
    return {uids[s.study_key]: s for s in found}


def test_the_present_rules_on_past_studies(tmp_path: Path) -> None:
    found = simulated(past(tmp_path))
    assert {uid: s.decision for uid, s in found.items()} == {
        "1.1": "complete", "1.2": "complete", "1.3": "hold", "1.4": "complete",
    }  # fmt: skip
    assert found["1.1"].series == found["1.1"].used == {"t1c": "2", "t2f": "3", "t1n": "1"}
    assert found["1.1"].differences == []
    assert found["1.2"].differences == [
        "t1c: series 3 was used, would be 2", "t2f: series none was used, would be 3",
    ]  # fmt: skip
    assert (found["1.1"].after_last_image_s, found["1.3"].after_last_image_s) == (60, 5400)
    assert found["1.3"].reason == "no t1c series"
    assert found["1.4"].reason == "t1c left to the pixels"
    assert found["1.4"].undecided == ["series 9: neither its name nor its timing tells a contrast"]


def test_given_rules_and_what_they_would_change(tmp_path: Path) -> None:
    gateway = past(tmp_path)
    strict = tmp_path / "strict.toml"
    strict.write_text(STRICT, encoding="utf-8")
    found = simulated(gateway, strict)
    assert found["1.1"].decision == "complete"
    assert found["1.2"].decision == "hold"
    assert found["1.2"].after_last_image_s == 600
    assert "decided complete, would be hold" in found["1.2"].differences
    assert found["1.2"].reason == "no t1n series"


def test_the_command_shows_it_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = past(tmp_path)
    strict = tmp_path / "strict.toml"
    strict.write_text(STRICT, encoding="utf-8")
    before = rows(gateway)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["studies", "simulate-rules", "--rules", str(strict), "--changed", "--json"])
    table = CliRunner().invoke(app, ["studies", "simulate-rules", "--limit", "2"])
    assert (shown.exit_code, table.exit_code) == (0, 0), shown.output
    document = json.loads(shown.stdout)
    assert (document["simulated"], document["different"]) == (4, 2)
    assert {s["decision"] for s in document["studies"]} == {"hold"}
    assert "nothing is changed" in table.stdout
    assert rows(gateway) == before


def test_a_wrong_day_is_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["studies", "simulate-rules", "--since", "yesterday"]).exit_code == 2


def test_holding_and_releasing_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = past(tmp_path)
    monkeypatch.chdir(tmp_path)
    for options, held in (([], 1), (["--release"], 0)):
        assert CliRunner().invoke(app, ["studies", "hold", "1.3", *options]).exit_code == 0
        with gateway.database.connect() as connection:
            query = sa.text("select on_hold from study where study_instance_uid = '1.3'")
            assert connection.execute(query).scalar_one() == held

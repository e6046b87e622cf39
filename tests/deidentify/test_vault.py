"""The vault: nothing readable in the database, look-ups audited, and drills for rotation and destruction of keys."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from identity.hospital import Hospital, open_hospital
from planted.mr_objects import encode
from planted.single import image
from sqlmodel import select

from deidentify.keys import KeyRing
from gateway import vault
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.errors import NotAllowed, NotFound, SettingsError
from gateway.settings import Settings
from gateway.stages import deidentification
from gateway.tables import Audit, Patient, VaultEntry
from gateway.vault_key import VaultKey
from timepoint.cli import app

STUDY = "1.2.3.4.0"


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    made = open_hospital(tmp_path / "data")
    file = tmp_path / "slice.dcm"
    file.write_bytes(encode(image()))
    made.send([file], PatientID="MRN4711", IssuerOfPatientID="Hospital")
    made.close_studies()
    yield made
    made.gateway.database.dispose()


@pytest.fixture
def gateway(hospital: Hospital) -> Gateway:
    with session_scope(hospital.database) as session:
        study = session.exec(select(deidentification.Instance.study_key)).first()
    deidentification.run(hospital.gateway, {"study_key": str(study), "revision": 1})
    return hospital.gateway


def pseudonym(gateway: Gateway, keys: KeyRing | None = None) -> str:
    with read_scope(gateway.database) as session:
        surrogate = session.exec(select(Patient.surrogate)).one()
    return (keys or gateway.keys).pseudonym(bytes.fromhex(surrogate))


def audited(gateway: Gateway) -> list[tuple[str, dict[str, object]]]:
    with read_scope(gateway.database) as session:
        return [(row.action, row.detail) for row in session.exec(select(Audit).order_by(Audit.seq))]


def test_a_study_leads_back_to_its_person_and_the_look_up_is_audited(gateway: Gateway) -> None:
    (found,) = vault.reidentify(gateway, pseudonym(gateway), "officer", "incidental finding 12")
    assert found.identifiers == (("MRN4711", "HOSPITAL"),)
    (study,) = vault.reidentify(gateway, gateway.keys.uid(STUDY), "officer", "incidental finding 12")
    assert study.study_instance_uid == STUDY
    looked_up = [detail for action, detail in audited(gateway) if action == "vault.reidentify"]
    assert [d["reason"] for d in looked_up] == ["incidental finding 12"] * 2
    assert [d["found"] for d in looked_up] == [1, 1]


def test_a_look_up_in_vain_is_audited_too_and_none_goes_without_a_reason(gateway: Gateway) -> None:
    with pytest.raises(NotFound):
        vault.reidentify(gateway, "A" * 16, "officer", "curious")
    assert audited(gateway)[-1] == ("vault.reidentify", {"reason": "curious", "found": 0, "keys": []})
    with pytest.raises(NotAllowed):
        vault.reidentify(gateway, pseudonym(gateway), "officer", " ")


def test_the_rows_cannot_be_read_without_the_key_nor_moved_to_another_pseudonym(gateway: Gateway) -> None:
    with session_scope(gateway.database) as session:
        rows = session.exec(select(VaultEntry)).all()
        assert {row.kind for row in rows} == {"person", "study"}
        for row in rows:
            assert STUDY.encode() not in row.sealed
            assert row.patient_key.encode() not in row.sealed
        rows[0].pseudonym = "B" * 16
        session.add(rows[0])
    with pytest.raises(SettingsError, match="changed"):
        vault.reidentify(gateway, "B" * 16, "officer", "drill")


def test_keys_are_in_no_file_of_the_database_and_the_files_are_private(gateway: Gateway) -> None:
    settings = gateway.settings
    key_file, vault_file = settings.deidentify.key_file, settings.deidentify.vault_key_file
    assert key_file is not None
    assert vault_file is not None
    secrets = [json.loads(key_file.read_text())["key"], *json.loads(vault_file.read_text())["keys"].values()]
    for file in (key_file, vault_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for file in settings.data_dir.rglob("*"):
        if file.is_file() and file not in (key_file, vault_file):
            data = file.read_bytes()
            assert not any(s.encode() in data or bytes.fromhex(s) in data for s in secrets), file.name


def test_another_key_is_refused(gateway: Gateway) -> None:
    file = gateway.settings.deidentify.vault_key_file
    assert file is not None
    file.unlink()
    gateway.database.dispose()
    with pytest.raises(SettingsError, match="restore it"):
        _ = open_gateway(gateway.settings).vault_key
    VaultKey.create(file)
    with pytest.raises(SettingsError, match="another key"):
        vault.reidentify(open_gateway(gateway.settings), pseudonym(gateway), "officer", "drill")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 0400"):
        VaultKey.load(file)


def test_resealing_changes_the_bytes_and_no_pseudonym(gateway: Gateway) -> None:
    with read_scope(gateway.database) as session:
        before = {row.pseudonym: row.sealed for row in session.exec(select(VaultEntry))}
    former = gateway.vault_key
    assert vault.reseal(gateway, "officer") == 2
    with read_scope(gateway.database) as session:
        after = {row.pseudonym: row.sealed for row in session.exec(select(VaultEntry))}
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)
    assert former.current not in VaultKey.load(former.path).keys
    assert vault.reidentify(open_gateway(gateway.settings), pseudonym(gateway), "officer", "drill")


def test_resealing_that_was_cut_off_is_finished_by_another_run(gateway: Gateway, monkeypatch) -> None:
    def cut(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Gateway, "replace_vault_key", cut)
    with pytest.raises(KeyboardInterrupt):
        vault.reseal(gateway, "officer")
    monkeypatch.undo()
    again = open_gateway(gateway.settings)
    assert vault.reidentify(again, pseudonym(gateway), "officer", "drill")
    assert vault.reseal(again, "officer") == 2
    assert len(VaultKey.load(again.vault_key.path).keys) == 1


def test_drill_rotation_gives_new_names_and_keeps_the_old_release_resolvable(gateway: Gateway) -> None:
    old = pseudonym(gateway)
    former, made = vault.rotate(gateway, "officer")
    assert gateway.keys.key_id == made != former
    assert pseudonym(gateway) != old
    assert vault.reidentify(gateway, old, "officer", "drill")[0].key_id == f"{former}/default"
    retired = KeyRing.load(vault.retired_file(gateway, former))
    assert pseudonym(gateway, retired) == old
    assert gateway.keys.date_shift_days(b"s" * 16) != retired.date_shift_days(b"s" * 16)


def test_drill_destruction_makes_the_old_release_anonymous(gateway: Gateway) -> None:
    old = pseudonym(gateway)
    with pytest.raises(NotAllowed, match="in use"):
        vault.destroy(gateway, gateway.keys.key_id, "officer")
    former, _ = vault.rotate(gateway, "officer")
    assert vault.destroy(gateway, former, "officer") == 2
    assert not vault.retired_file(gateway, former).exists()
    with pytest.raises(NotFound):
        vault.reidentify(gateway, old, "officer", "drill")
    with pytest.raises(NotFound):
        vault.destroy(gateway, former, "officer")
    assert [a for a, _ in audited(gateway)][-3:] == ["keys.rotate", "keys.destroy", "vault.reidentify"]


def test_projects_share_no_pseudonym(gateway: Gateway, tmp_path: Path) -> None:
    given = gateway.settings.model_dump()
    given["deidentify"]["project"] = "partner"
    partner = open_gateway(Settings(**given))
    assert pseudonym(partner) != pseudonym(gateway)
    assert partner.keys.project == "partner"


def test_the_commands(gateway: Gateway, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    config = tmp_path / "timepoint.toml"
    config.write_text(f'data_dir = "{gateway.settings.data_dir}"\n')
    told = pseudonym(gateway)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["vault", *words, "--config", str(config)])
        return done.exit_code, done.stdout

    assert run("reidentify", told)[0] == 2
    code, text = run("reidentify", told, "--reason", "drill", "--json")
    assert code == 0
    assert json.loads(text)[0]["identifiers"] == [{"patient_id": "MRN4711", "issuer": "HOSPITAL"}]
    assert json.loads(run("reseal", "--json")[1]) == {"rows": 2}
    former = json.loads(run("rotate", "--json")[1])["former"]
    assert run("destroy", former)[0] == 2
    assert json.loads(run("destroy", former, "--yes", "--json")[1]) == {"key_id": former, "rows": 2}
    assert json.loads(run("status", "--json")[1])["versions"] == {}

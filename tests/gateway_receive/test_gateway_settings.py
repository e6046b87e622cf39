"""Configuration: defaults, file, environment, and what a mistake is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.settings import ForcePolicy, Settings, load_settings
from longitudinal.types import Contrast


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    file = Path("my.toml")
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_those_promised(tmp_path: Path) -> None:
    settings = load_settings()
    assert (settings.dicom.ae_title, settings.dicom.host, settings.dicom.port) == ("TIMEPOINT", "127.0.0.1", 11112)
    assert (settings.study.quiet_s, settings.study.force_s) == (60, 5400)
    assert settings.study.required == (Contrast.T1C, Contrast.FLAIR)
    assert settings.study.force_policy is ForcePolicy.HOLD
    assert (settings.web.host, settings.web.port, settings.fhir.version) == ("127.0.0.1", 8080, "R4")
    data = tmp_path / "timepoint-data"
    assert settings.storage.url == (data / "objects").as_uri()
    assert settings.database.url == f"sqlite:///{data / 'timepoint.db'}"
    assert settings.engine.url == f"sqlite:///{data / 'engine.db'}"
    assert not settings.dicom.allow_unknown_peers


def test_environment_overrides_file_overrides_default(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("[dicom]\nport = 104\nae_title = 'NEURO'\n[study]\nquiet_s = 5\nrequired = ['t1c']\n")
    monkeypatch.setenv("TIMEPOINT_DICOM__PORT", "2104")
    monkeypatch.setenv("TIMEPOINT_DESTINATIONS", '[{"name": "pacs", "host": "10.0.0.1", "ae_title": "PACS"}]')
    settings = load_settings(file)
    assert (settings.dicom.ae_title, settings.dicom.port) == ("NEURO", 2104)
    assert settings.study.required == (Contrast.T1C,)
    assert settings.destinations[0].host == "10.0.0.1"


def test_timepoint_toml_of_the_working_directory_is_read() -> None:
    Path("timepoint.toml").write_text("[web]\nport = 9000\n", encoding="utf-8")
    assert load_settings().web.port == 9000


def test_settings_made_in_code_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEPOINT_DICOM__PORT", "2104")
    assert Settings().dicom.port == 11112


def test_data_dir_moves_everything(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "elsewhere", storage={"min_free_mb": 1})
    assert settings.storage.url.endswith("/elsewhere/objects")
    assert settings.storage.min_free_mb == 1
    assert settings.deidentify.key_file == tmp_path / "elsewhere" / "keys" / "deidentify.key"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[dicom]\nprot = 1\n", "unknown key 'dicom.prot'; did you mean 'port'?"),
        ("[dcom]\nport = 1\n", "unknown key 'dcom'; did you mean 'dicom'?"),
        ("[[dicom.peers]]\nae_title = 'A'\nhots = 'x'\n", "unknown key 'dicom.peers.0.hots'; did you mean 'host'?"),
        ("[dicom]\nport = 70000\n", "dicom.port: Input should be less than or equal to 65535"),
        ("[dicom]\nae_title = 'LONGER THAN SIXTEEN'\n", "dicom.ae_title: String should have at most 16 characters"),
        ("[study]\nrequired = ['t9']\n", "study.required.0: Input should be 't1c', 't1n', 't2w' or 't2f'"),
        ("[[destinations]]\nname = 'pacs'\n", "destination pacs of kind dicom needs a host"),
        ("[database]\nurl = 'mysql://x'\n", "database.url must begin with sqlite:/// or postgresql+psycopg://"),
        ("[storage]\nurl = 's3://bucket'\n", "storage.url must begin with file:///"),
        ("[dicom\n", "my.toml is no valid TOML"),
    ],
)
def test_a_mistake_is_named(text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(text))
    assert expected in str(caught.value)
    assert "my.toml" in str(caught.value)


def test_a_mistake_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEPOINT_DICM__PORT", "1")
    with pytest.raises(SettingsError, match="TIMEPOINT_DICM__PORT: there is no section 'dicm'; did you mean 'dicom'"):
        load_settings()


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"no file nowhere\.toml"):
        load_settings(Path("nowhere.toml"))


def test_no_secret_is_printed_and_no_value_is_quoted() -> None:
    file = write("[database]\nurl = 'postgresql+psycopg://u:geheim@h/db'\n")
    shown = json.dumps(load_settings(file).printable())
    assert "geheim" not in shown
    assert "postgresql+psycopg://u:***@h/db" in shown
    with pytest.raises(SettingsError) as caught:
        load_settings(write("[database]\nurl = 'mysql://u:geheim@h/db'\n"))
    assert "geheim" not in str(caught.value)

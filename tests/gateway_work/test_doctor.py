"""What the doctor says of a site before anything runs there."""

from __future__ import annotations

from pathlib import Path

import pytest

from deidentify import text_reader
from gateway.doctor import examine
from gateway.findings import Health
from gateway.settings import Settings
from gateway.vault_key import VaultKey

pytestmark = [
    pytest.mark.usefixtures("refused_connections"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def health(settings: Settings) -> dict[str, tuple[Health, str]]:
    return {finding.check: (finding.health, finding.detail) for finding in examine(settings)}


def test_a_vault_key_that_others_may_read_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "vault.key"
    settings = Settings(data_dir=tmp_path, deidentify={"vault_key_file": file})
    assert health(settings)["vault key"][0] is Health.WARNING
    VaultKey.create(file)
    assert health(settings)["vault key"][0] is Health.OK
    file.chmod(0o644)
    assert health(settings)["vault key"][0] is Health.FAILURE


def test_a_site_without_the_text_reader_is_told_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    assert health(settings)["text in pixels"][0] is Health.OK
    monkeypatch.setattr(text_reader.importlib.util, "find_spec", lambda _: None)
    verdict, detail = health(settings)["text in pixels"]
    assert verdict is Health.WARNING
    assert "refused" in detail

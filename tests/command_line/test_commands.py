"""The command line: light to start, plain about mistakes, exit codes as promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "timepoint", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


@pytest.mark.parametrize("module", ["timepoint.cli", "gateway.storage_scp", "gateway.roles"])
def test_help_and_receiver_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'monai', 'SimpleITK'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_promised_command_is_there() -> None:
    text = run("--help").stdout
    promised = (
        "demo", "serve", "receive", "work", "web", "doctor", "studies", "patients", "quarantine", "jobs",
        "deidentify", "segment", "simulate", "train", "evaluate", "compare", "models", "export", "db",
    )  # fmt: skip
    assert [name for name in promised if f" {name} " not in text] == []


def test_wrong_use_is_2() -> None:
    assert run("studies", "frobnicate").returncode == 2
    assert run("work", "--queues", "cpu").returncode == 2


def test_an_unknown_key_names_the_nearest_and_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "timepoint.toml").write_text("[study]\nquiet_time_s = 3\n")
    done = run("serve", "--print-config", cwd=tmp_path)
    assert done.returncode == 2
    assert "quiet_s" in done.stderr
    assert "Traceback" not in done.stderr


def test_print_config_shows_the_effective_values(tmp_path: Path) -> None:
    (tmp_path / "timepoint.toml").write_text("[dicom]\nport = 4711\n")
    done = run("serve", "--print-config", cwd=tmp_path)
    assert json.loads(done.stdout)["dicom"]["port"] == 4711


def test_an_unreadable_folder_is_refused_input(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no DICOM")
    done = run("segment", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_an_unknown_study_is_said_to_be_unknown(tmp_path: Path) -> None:
    done = run("studies", "show", "nothing", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing" in done.stderr and "Traceback" not in done.stderr


def test_an_export_of_nobody_has_a_manifest(tmp_path: Path) -> None:
    done = run("export", "--out", str(tmp_path / "out"), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"] == {"patients": 0, "scans": 0}
    assert run("export", "--out", str(tmp_path / "out"), cwd=tmp_path).returncode == 1


def test_simulated_histories_go_through_evaluate(tmp_path: Path) -> None:
    file = tmp_path / "histories.json"
    assert run("simulate", "histories", "--patients", "70", "--seed", "9", "--out", str(file)).returncode == 0
    done = run("evaluate", "forecast-1", "--data", str(file), "--json", "--html", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    methods = json.loads(done.stdout)["horizons"]["3mo"]["methods"]
    assert {"model", "last_value", "population_prior"} <= methods.keys()
    assert "<html" in (tmp_path / "page.html").read_text()

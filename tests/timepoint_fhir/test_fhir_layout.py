"""`fhir.resources` and our FHIR package live side by side: the top folder `fhir/` is no package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("deidentify", "fhir", "gateway", "inference", "longitudinal", "tests", "timepoint", "training")


@pytest.mark.parametrize("folder", [ROOT, Path("/")], ids=["repository", "elsewhere"])
def test_both_packages_import(folder: Path) -> None:
    code = "import fhir.resources, timepoint_fhir; print(timepoint_fhir.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "fhir" / "timepoint_fhir" / "__init__.py")


def test_fhir_is_no_package_of_ours() -> None:
    assert not (ROOT / "fhir" / "__init__.py").exists()


def test_tests_are_no_packages() -> None:
    assert [p for p in (ROOT / "tests").rglob("__init__.py") if "node_modules" not in p.parts] == []


def test_nothing_imports_from_fhir_but_fhir_resources() -> None:
    files = [p for name in PACKAGES for p in (ROOT / name).rglob("*.py") if "node_modules" not in p.parts]
    assert len(files) > 20
    strangers = {name for p in files for name in _imports(p) if name == "fhir" or name.startswith("fhir.")}
    assert {name for name in strangers if not name.startswith("fhir.resources")} == set()


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("timepoint_fhir", ("fhir.resources", "httpx2", "fastapi")),
        ("timepoint_fhir.client", ("fhir.resources", "httpx2", "fastapi")),
        ("timepoint_fhir.context", ("fhir.resources", "httpx2", "fastapi")),
        ("timepoint_fhir.bundle", ("httpx2", "fastapi", "torch", "pydicom")),
    ],
)
def test_import_stays_cheap(module: str, slow: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([n for n in {slow!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

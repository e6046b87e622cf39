"""The generated conformance pages are those of the code, and the CapabilityStatement is valid FHIR."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from timepoint_fhir.capability import shortcomings
from timepoint_fhir.context import Write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_conformance", ROOT / "tools" / "write_conformance.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_statement_is_that_of_the_code(generator: ModuleType) -> None:
    written = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert written == generator.statement(), "run `make conformance`: the code has changed since it was written"


def test_the_capability_statement_is_that_of_the_code_and_valid(generator: ModuleType) -> None:
    written = json.loads((ROOT / "docs" / "fhir-capability.json").read_text(encoding="utf-8"))
    assert written == generator.capability(), "run `make conformance`: the code has changed since it was written"
    CapabilityStatement.model_validate(written)


@pytest.mark.parametrize("write", Write)
def test_a_server_that_offers_what_is_asked_is_enough(generator: ModuleType, write: Write) -> None:
    assert shortcomings(generator.capability(), write) == ()


def test_every_chapter_of_the_standard_layout_is_there(generator: ModuleType) -> None:
    chapters = [line for line in generator.statement().splitlines() if line.startswith("## ")]
    assert [chapter.split()[1] for chapter in chapters] == [str(number) for number in range(1, 9)]

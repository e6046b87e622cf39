"""FHIR and SR use one private scheme, and every own code is published."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from inference.encoding import codes as sr_codes
from timepoint_fhir.codes import DEFAULT_CODE_SYSTEM, own_codes

DOCS = Path(__file__).resolve().parents[2] / "docs"


def published(page: str) -> dict[str, str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^\| (TP\d{3}) \| ([^|]+?) \|", text, flags=re.MULTILINE))


def test_what_both_encodings_say_has_the_same_code() -> None:
    shared = own_codes().keys() & sr_codes.PRIVATE_CODES.keys()
    assert {"TP010", "TP101", "TP106"} & shared
    assert all(own_codes()[value] == sr_codes.PRIVATE_CODES[value] for value in shared)
    assert {value for value in own_codes() if value < "TP100"} <= shared
    assert f"urn:oid:{sr_codes.PRIVATE_SCHEME_UID}" == DEFAULT_CODE_SYSTEM


def test_what_only_fhir_says_is_published() -> None:
    own = {value: display for value, display in own_codes().items() if value not in sr_codes.PRIVATE_CODES}
    assert published("fhir.md") == own


def test_own_codes_fit_a_dicom_code() -> None:
    assert all(len(value) <= 16 and len(display) <= 64 and display.isascii() for value, display in own_codes().items())


def test_a_bundle_uses_no_other_own_code(bundle: dict[str, Any]) -> None:
    used = set(
        re.findall(r'"system": "' + re.escape(DEFAULT_CODE_SYSTEM) + r'", "code": "([^"]+)"', json.dumps(bundle))
    )
    assert len(used) > 20
    assert used <= own_codes().keys()

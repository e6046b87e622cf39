"""The private coding scheme is published as it is written, and every code fits its value representation."""

from __future__ import annotations

import re
from pathlib import Path

from inference.encoding import EncodedStudy, codes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "codes.md"


def test_the_published_list_is_the_list_in_use() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (TP\d{3}) \| ([^|]+?) \|", text, flags=re.MULTILINE)
    assert dict(rows) == codes.PRIVATE_CODES
    assert len(rows) == len(codes.PRIVATE_CODES)
    assert codes.PRIVATE_SCHEME_UID in text
    assert f"version {codes.PRIVATE_SCHEME_VERSION}" in text


def test_code_values_and_meanings_fit_dicom() -> None:
    meanings = list(codes.PRIVATE_CODES.values())
    assert len(set(meanings)) == len(meanings)
    for value, meaning in codes.PRIVATE_CODES.items():
        assert len(value) <= 16  # SH
        assert len(meaning) <= 64  # LO
        assert meaning.isascii()


def test_every_object_declares_the_scheme(encoded: EncodedStudy) -> None:
    for ds in encoded.objects:
        (item,) = ds.CodingSchemeIdentificationSequence
        assert item.CodingSchemeDesignator == "99TIMEPOINT"
        assert item.CodingSchemeUID == codes.PRIVATE_SCHEME_UID

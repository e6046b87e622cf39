"""Malformed and foreign input ends in a result that verifies or in a refusal, never in another error."""

from __future__ import annotations

import random
from pathlib import Path

import pydicom
import pytest
from planted.mr_objects import encode, enhanced
from planted.single import PATIENT, UIDS, image
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from deidentify.engine import deidentify
from deidentify.errors import Refused
from deidentify.keys import KeyRing
from deidentify.profile import Profile
from deidentify.reading import read
from deidentify.subject import Subject, identifiers_of
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes

PACKAGED = sorted((Path(pydicom.__file__).parent / "data").rglob("*.dcm"))


def outcome(data: bytes, keys: KeyRing) -> str:
    try:
        received = read(data)
        subject = Subject(b"s" * 16, identifiers_of(received))
        result = deidentify(received, subject, keys, Profile.default())
        encoded = to_bytes(result.dataset)
    except Refused as refused:
        return refused.code.value
    return "clean" if not verify_bytes(encoded, subject, result.original_uids, result.charsets) else "found"


def test_every_file_that_pydicom_packages_for_tests_is_answered(keys):
    answers = [outcome(path.read_bytes(), keys) for path in PACKAGED]
    assert answers.count("clean") >= 10
    assert "found" not in answers
    assert len(answers) > 100


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_damaged_headers_are_answered(keys, syntax):
    chance = random.Random(17)
    whole = encode(enhanced(PATIENT, 0, UIDS)) if syntax is None else encode(image(), syntax)
    answers: list[str] = []
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            offset = chance.randrange(132, min(len(data), 3500))
            match chance.randrange(3):
                case 0:
                    data[offset] = chance.randrange(256)
                case 1:
                    del data[offset : offset + chance.randrange(1, 9)]
                case _:
                    data[offset:offset] = chance.randbytes(chance.randrange(1, 9))
        answers.append(outcome(bytes(data), keys))
    assert "clean" in answers
    assert len(set(answers)) > 2


def test_every_truncation_is_answered(keys):
    whole = encode(image())
    for length in range(0, len(whole), 7):
        assert outcome(whole[:length], keys) != "found"

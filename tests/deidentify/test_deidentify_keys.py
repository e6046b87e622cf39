"""Keys and what derives from them."""

from __future__ import annotations

import json
import stat

import pytest

from deidentify.errors import KeyFileError
from deidentify.keys import KeyRing

SURROGATE = bytes(16)


def test_a_new_key_file_is_private_and_loads(tmp_path):
    path = tmp_path / "key.json"
    made = KeyRing.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = KeyRing.load(path)
    assert loaded.key_id == made.key_id
    assert loaded.pseudonym(SURROGATE) == made.pseudonym(SURROGATE)
    assert len(bytes.fromhex(json.loads(path.read_text())["key"])) == 32


def test_an_existing_key_is_never_overwritten(tmp_path):
    path = tmp_path / "key.json"
    KeyRing.create(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        KeyRing.create(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "key.json"
    KeyRing.create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 0400"):
        KeyRing.load(path)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "other", "key": "00", "key_id": "a"}', "zz"])
def test_what_is_no_key_file_is_refused(tmp_path, content):
    path = tmp_path / "key.json"
    path.write_text(content)
    path.chmod(0o400)
    with pytest.raises(KeyFileError, match="not a key file"):
        KeyRing.load(path)


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(KeyFileError, match="no key file at"):
        KeyRing.load(tmp_path / "absent")


def test_identifiers_are_fixed_for_good(keys):
    """These values are in released data: a change of the derivation would break the link to it."""
    assert keys.pseudonym(SURROGATE) == "2BQZIEYIGUUA2DPM"
    assert keys.uid("1.2.3.4") == "2.25.274500682393154482535052972544587468613"
    assert keys.date_shift_days(SURROGATE) == 3464
    assert keys.surrogate("issuer\0id").hex() == "40364504baf3e0dfa13e09cefc127819"


def test_projects_share_no_identifier(keys):
    other = keys.for_project("partner")
    assert other.pseudonym(SURROGATE) != keys.pseudonym(SURROGATE)
    assert other.uid("1.2.3") != keys.uid("1.2.3")
    assert other.surrogate("a") != keys.surrogate("a")
    assert other.for_project(keys.project).pseudonym(SURROGATE) == keys.pseudonym(SURROGATE)


def test_uids_are_valid_and_those_of_the_standard_stay(keys):
    mapped = keys.uid("1.3.12.2.1107.5.2.19.45123.2019010710150012345678901")
    assert mapped.startswith("2.25.")
    assert len(mapped) <= 44
    assert int(mapped[5:]) < 2**128
    for standard in (
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.4.1.1",
        "1.2.840.10008.2.16.4",
    ):
        assert keys.uid(standard) == standard


@pytest.mark.parametrize("forged", ["1.2.840.10008.12345678.19500101", "1.2.840.10008.", "1.2.840.10008.SMITH"])
def test_a_uid_that_only_claims_the_standard_root_is_mapped(keys, forged):
    assert keys.uid(forged).startswith("2.25.")


def test_shifts_are_whole_days_within_bounds_and_differ_between_persons(keys):
    shifts = [keys.date_shift_days(number.to_bytes(16, "big")) for number in range(2000)]
    assert all(365 <= shift <= 3650 for shift in shifts)
    assert len(set(shifts)) > 1300  # 2000 draws out of 3286
    assert max(shifts) > 3600
    assert min(shifts) < 415


def test_pseudonyms_are_80_bit_base32(keys):
    found = {keys.pseudonym(number.to_bytes(16, "big")) for number in range(2000)}
    assert len(found) == 2000
    assert all(len(text) == 16 and set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for text in found)


def test_the_key_is_in_no_representation(keys):
    assert bytes(range(32)).hex() not in f"{keys!r}{keys}"

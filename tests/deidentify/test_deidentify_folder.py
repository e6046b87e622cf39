"""Folder to folder: who is who, what is refused, and that two processes agree to the byte."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from planted.mr_objects import encode
from planted.scoring import leaks
from planted.single import image

from deidentify.errors import FolderError, RefusalCode
from deidentify.folder import deidentify_folder
from deidentify.identity import Claim, Identities
from deidentify.keys import KeyRing
from deidentify.profile import Profile

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, name: str, **changes: object) -> Path:
    ds = image()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(ds))
    return path


def run(folder: Path, keys: KeyRing, **options: object):
    return deidentify_folder(folder / "in", folder / "out", keys, Profile.default(), **options)


def outputs(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.dcm"))


def test_output_is_named_by_pseudonym_and_new_uids(keys, tmp_path):
    write(tmp_path, "in/Doe_Jane/MRN123456.dcm")
    report = run(tmp_path, keys)
    assert (report.written, report.persons, report.refused) == (1, 1, [])
    (name,) = outputs(tmp_path)
    person, study, series, instance = name.split("/")
    assert (study, series) == (keys.uid("1.2.3.4.0"), keys.uid("1.2.3.4.2"))
    assert instance == f"{keys.uid('1.2.3.4.3')}.dcm"
    assert person == keys.pseudonym(keys.surrogate("\0MRN123456"))


def test_what_is_not_dicom_is_listed_and_never_copied(keys, tmp_path):
    write(tmp_path, "in/a.dcm")
    (tmp_path / "in/notes.txt").write_text("Jane Doe")
    (tmp_path / "in/empty").write_bytes(b"")
    broken = (tmp_path / "in/a.dcm").read_bytes()[:400]
    (tmp_path / "in/broken.dcm").write_bytes(broken)
    report = run(tmp_path, keys)
    codes = {str(entry.path): entry.code for entry in report.refused}
    assert codes["notes.txt"] is RefusalCode.NOT_DICOM
    assert codes["empty"] is RefusalCode.NOT_DICOM
    assert codes["broken.dcm"] in (RefusalCode.UNREADABLE, RefusalCode.MISSING_ATTRIBUTE)
    assert len(outputs(tmp_path)) == report.written == 1
    assert [path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".dcm"]


def test_a_repeated_instance_is_counted_and_a_conflicting_one_refused(keys, tmp_path):
    write(tmp_path, "in/a.dcm")
    write(tmp_path, "in/b.dcm")
    write(tmp_path, "in/c.dcm", EchoTime="99")
    report = run(tmp_path, keys)
    assert (report.written, report.duplicates) == (1, 1)
    assert [(str(entry.path), entry.code) for entry in report.refused] == [("c.dcm", RefusalCode.DUPLICATE)]


def test_nothing_is_written_that_fails_verification(keys, tmp_path):
    """The name stands in the pixels, where no rule of the header reaches."""
    pixels = b"  Zwicky  " + image().PixelData[10:]
    write(tmp_path, "in/a.dcm", BitsStored=16, HighBit=15, PatientName="Zwicky^Fritz", PixelData=pixels)
    report = run(tmp_path, keys, ledger_file=tmp_path / "ledger.jsonl")
    assert [entry.code for entry in report.refused] == [RefusalCode.VERIFICATION]
    assert outputs(tmp_path) == []
    assert "Zwicky" not in (tmp_path / "ledger.jsonl").read_text()
    assert "Zwicky" not in report.refused[0].message


def test_unusable_folders_are_refused(keys, tmp_path):
    write(tmp_path, "in/a.dcm")
    profile = Profile.default()
    for source, target in (
        ("absent", "out"), ("in", "in"), ("in", "in/out"), ("in", ""),
    ):  # fmt: skip
        with pytest.raises(FolderError):
            deidentify_folder(tmp_path / source, tmp_path / target, keys, profile)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("x")
    with pytest.raises(FolderError, match="not an empty folder"):
        deidentify_folder(tmp_path / "in", tmp_path / "full", keys, profile)


def test_progress_is_told_after_each_file(keys, tmp_path):
    for number in range(3):
        write(tmp_path, f"in/{number}.dcm", SOPInstanceUID=f"1.2.3.9.{number}")
    told: list[tuple[int, int]] = []
    run(tmp_path, keys, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("claims", "persons"),
    [
        ([Claim("", "1", "s"), Claim("A", "1", "s")], 1),  # named in some slices only
        ([Claim("", "1", "s"), Claim("A", "1", "t")], 1),  # named in another study only
        ([Claim("A", "1", "s"), Claim("B", "1", "t")], 2),  # two authorities
        ([Claim("A", "1", "s"), Claim("B", "1", "t"), Claim("", "1", "t")], 2),  # the study decides
        ([Claim("A", "1", "s"), Claim("B", "1", "t"), Claim("", "1", "u")], 3),  # nobody can tell
        ([Claim("", "", "s"), Claim("", "", "t"), Claim("", "", "s")], 2),  # no ID: by study
    ],
)
def test_persons(claims, persons):
    for order in (claims, list(reversed(claims))):
        identities = Identities.of(order)
        assert len({identities.person(claim) for claim in order}) == persons


def test_a_person_is_one_across_character_sets_and_padding(keys, tmp_path):
    write(tmp_path, "in/a.dcm", SOPInstanceUID="1.2.3.9.1", PatientID="Ö-17", SpecificCharacterSet="ISO_IR 100")
    write(tmp_path, "in/b.dcm", SOPInstanceUID="1.2.3.9.2", PatientID="Ö-17 ", SpecificCharacterSet="ISO_IR 192")
    assert run(tmp_path, keys).persons == 1


def test_a_name_that_does_not_fit_its_character_set_is_refused(keys, tmp_path):
    path = write(tmp_path, "in/a.dcm", SpecificCharacterSet="ISO_IR 192", PatientName="Doe^Jane")
    path.write_bytes(path.read_bytes().replace(b"Doe^Jane", b"D\xf6e^Jane"))
    report = run(tmp_path, keys)
    assert [entry.code for entry in report.refused] == [RefusalCode.CHARACTER_SET]


_SCRIPT = """
import sys
from pathlib import Path
from deidentify.folder import deidentify_folder
from deidentify.keys import KeyRing
from deidentify.profile import Profile
source, target, key = map(Path, sys.argv[1:])
deidentify_folder(source, target, KeyRing.load(key), Profile.default(), target.with_suffix(".ledger"))
"""


def test_two_processes_agree_to_the_byte(processed, tmp_path):
    key = tmp_path / "key.json"
    KeyRing.create(key)
    source = processed.source / "second"
    results = []
    for number in (1, 2):
        target = tmp_path / f"out{number}"
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-W", "error", "-c", _SCRIPT, source, target, key], check=True, env=environment)
        files = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*.dcm")}
        results.append((files, target.with_suffix(".ledger").read_bytes()))
    assert results[0] == results[1]
    assert len(results[0][0]) > 10


def test_warnings_and_log_lines_never_quote_a_value(processed, keys, tmp_path, caplog, capfd):
    """pydicom complains about overlong and malformed values with the value in the text."""
    source = processed.source / "first"
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        deidentify_folder(source, tmp_path / "out", keys, Profile.default())
    out, err = capfd.readouterr()
    said = "\n".join([caplog.text, out, err, *(str(entry.message) for entry in caught)]).encode()
    assert leaks({"said": said}, processed.corpus.plants) == []

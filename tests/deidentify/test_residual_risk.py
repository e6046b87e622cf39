"""The residual-risk report: what was kept and what a recipient could still do, in counts."""

from __future__ import annotations

import json

from planted.mr_objects import encode
from planted.scoring import leaks
from planted.single import image
from typer.testing import CliRunner

from deidentify.residual_risk import as_text
from timepoint.cli import app


def test_counts_of_the_planted_corpus(processed):
    found = processed.report.risk.report()
    assert found["persons"] == len(processed.corpus.patients)
    assert sum(found["instances"].values()) == processed.report.written
    assert found["refused"] == processed.report.refused_by_code
    assert found["edition"] == "2026c"
    assert found["risks"]["images_with_a_face_that_was_not_removed"] > 50
    assert found["risks"]["smallest_group_of_equal_sex_and_age"] == 1
    assert found["risks"]["persons_alone_in_sex_and_age"] == 2  # 64 and over 90; three are 51
    assert found["kept"]["safe_private_elements"] > 0
    assert found["kept"]["characteristics"]["PatientSex"] == processed.report.written


def test_the_report_names_nobody(processed):
    found = processed.report.risk.report()
    texts = {"json": json.dumps(found).encode(), "text": as_text(found).encode()}
    assert leaks(texts, processed.corpus.plants) == []
    pseudonyms = {path.parts[-4] for path in processed.outputs.values()}
    assert pseudonyms
    assert not any(pseudonym.encode() in text for pseudonym in pseudonyms for text in texts.values())


def test_the_command_writes_it_as_text_or_json(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(5):
        ds = image()
        ds.StudyInstanceUID, ds.SOPInstanceUID = f"1.2.3.{number + 1}", f"1.2.4.{number + 1}"
        (tmp_path / "in" / f"{number}").write_bytes(encode(ds))
    for out, file in (("a", "risk.txt"), ("b", "risk.json")):
        options = ["--key-file", str(tmp_path / "key"), "--risk-report", str(tmp_path / file)]
        done = CliRunner().invoke(app, ["deidentify", str(tmp_path / "in"), str(tmp_path / out), *options])
        assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "risk.json").read_text())
    assert found["risks"]["persons_with_exact_intervals_of_four_or_more_studies"] == 1
    assert (tmp_path / "risk.txt").read_text() == as_text(found)
    assert "1 persons, 5 studies, 5 instances" in as_text(found)

"""Independent judges of every object: dciodvfy, DCMTK's dsrdump and dcmqi's report reader."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from encoding.source_series import (
    AXIAL,
    CREATED,
    Geometry,
    SourceSeries,
    classic,
    empty_result,
    enhanced,
    masks,
    study_result,
    volume,
)
from peers.validators import complaints
from pydicom.dataset import Dataset

from inference.encoding import EncodedStudy, encode_study, read_report
from longitudinal.types import Contrast

BIN = Path(sys.executable).parent


def test_dciodvfy_still_sees_an_error(encoded: EncodedStudy, tmp_path: Path) -> None:
    broken = Dataset()
    broken.update(encoded.report)
    broken.file_meta = encoded.report.file_meta
    del broken.CompletionFlag
    broken.save_as(tmp_path / "broken.dcm", enforce_file_format=True)
    assert any("CompletionFlag" in line for line in complaints(tmp_path / "broken.dcm"))


@pytest.mark.parametrize("name", ["seg", "report", "diameters", "forecast"])
def test_dciodvfy_finds_nothing(name: str, encoded_files: dict[str, Path]) -> None:
    assert complaints(encoded_files[name]) == []


def variants() -> dict[str, EncodedStudy]:
    geometry = Geometry(AXIAL)
    labels, lesions = masks(geometry)
    result = study_result(labels, lesions)
    nothing = volume(labels.array * 0, geometry)
    recipe = SourceSeries(geometry)
    japanese = SourceSeries(geometry, charset=["", "ISO 2022 IR 87"], patient_name="Yamada^Tarou=山田^太郎")
    bare = classic(SourceSeries(geometry, charset=None, patient_name="Doe^Jane", issuer=None))
    ordered = classic(SourceSeries(geometry, extra={"RequestAttributesSequence": [Dataset()]}))
    first = encode_study(result, labels, lesions, {Contrast.T1C: classic(recipe)}, Contrast.T1C, CREATED)
    sources = {
        "enhanced": [enhanced(SourceSeries(geometry))],
        "japanese": classic(japanese),
        "bare": bare,
        "ordered": ordered,
    }
    made = {
        name: encode_study(result, labels, lesions, {Contrast.T1C: images}, Contrast.T1C, CREATED)
        for name, images in sources.items()
    }
    made["nothing"] = encode_study(
        empty_result(), nothing, nothing, {Contrast.T1C: classic(recipe)}, Contrast.T1C, CREATED
    )
    second = replace(result, revision=2, preliminary=True)
    made["revised"] = encode_study(
        second, labels, lesions, {Contrast.T1C: classic(recipe)}, Contrast.T1C, CREATED, first.objects
    )
    return made


def test_dciodvfy_finds_nothing_in_any_variant(tmp_path: Path) -> None:
    found = {}
    for name, study in variants().items():
        for number, ds in enumerate(study.objects):
            file = tmp_path / f"{name}-{number}.dcm"
            ds.save_as(file, enforce_file_format=True)
            found[file.name] = complaints(file)
    assert len(found) == 5 * 4 + 1
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.peer
@pytest.mark.parametrize("name", ["report", "diameters", "forecast"])
def test_dcmtk_parses_the_tree(name: str, encoded_files: dict[str, Path]) -> None:
    done = subprocess.run(["dsrdump", "+Ps", str(encoded_files[name])], capture_output=True, check=True)
    assert b"Measurement Group" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["report", "diameters", "forecast"])
def test_dcmqi_reads_the_same_groups(
    name: str, encoded_files: dict[str, Path], encoded: EncodedStudy, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    command = [str(BIN / "tid1500reader"), "--inputDICOM", str(encoded_files[name]), "--outputMetadata", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    theirs = json.loads(out.read_text())["Measurements"]
    ours = read_report({"report": encoded.report, "diameters": encoded.diameters, "forecast": encoded.forecast}[name])  # type: ignore[arg-type]
    assert len(theirs) == len(ours)
    for group, own in zip(theirs, ours, strict=True):
        assert group["TrackingIdentifier"] == own.tracking_id
        assert group["TrackingUniqueIdentifier"] == own.tracking_uid
        assert group.get("ReferencedSegment") == (own.segment[1] if own.segment else None)
        values = {i["quantity"]["CodeValue"]: float(i["value"]) for i in group["measurementItems"]}
        for number in own.numbers:
            assert values[number.name.value] == pytest.approx(number.value)

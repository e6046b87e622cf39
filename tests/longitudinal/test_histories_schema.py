"""`patient-histories/1`: validated both ways, named errors, the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import longitudinal
from longitudinal.histories import (
    HistoriesError,
    decode,
    decode_truth,
    encode,
    encode_lines,
    json_schema_text,
    sha256,
)
from training.simulate.histories import SimulatedHistories, simulate_histories


@pytest.fixture(scope="module")
def simulated() -> SimulatedHistories:
    return simulate_histories(12, seed=4)


@pytest.fixture
def document(simulated: SimulatedHistories) -> dict[str, Any]:
    return json.loads(encode(simulated.histories))


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def test_bytes_survive_a_round_trip_in_both_forms(simulated: SimulatedHistories) -> None:
    data = encode(simulated.histories)
    lines = b"".join(encode_lines(simulated.histories))
    assert encode(decode(data)) == data
    assert encode(decode(lines)) == data
    assert len(lines.splitlines()) == 13
    header = simulated.histories.model_copy(update={"patients": ()})
    assert b"".join(encode_lines(header, iter(simulated.histories.patients))) == lines
    assert decode_truth(encode(simulated.truth)).histories_sha256 == sha256(data)


def test_keys_are_sorted_and_numbers_have_six_digits(simulated: SimulatedHistories) -> None:
    text = encode(simulated.histories).decode()
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"
    assert all(
        float(f"{scan['target_cc']:.6g}") == scan["target_cc"]
        for patient in document["patients"]
        for scan in patient["scans"]
    )


def test_the_committed_schema_is_that_of_the_models(document: dict[str, Any]) -> None:
    file = Path(longitudinal.__file__).parent / "schemas" / "patient_histories_1.schema.json"
    assert file.read_text(encoding="utf-8") == json_schema_text(), (
        "regenerate with: python -c 'from longitudinal.histories import json_schema_text; "
        "print(json_schema_text(), end=str())' > longitudinal/schemas/patient_histories_1.schema.json"
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p["scans"][2].update(t=-5), r"patient {pid}: scans.2.t is -5, before"),
        (lambda p: p["scans"][0].update(t=3), r"patient {pid}: scans.0.t is 3; the first scan is day 0"),
        (lambda p: p["scans"][1].update(target_cc=-1.0), r"patient {pid}, scans.1.target_cc: .*greater than or equal"),
        (lambda p: p["scans"][1]["features"].pop(), r"patient {pid}, scans.1.features: .*at least 10"),
        (lambda p: p["scans"][1]["features"].__setitem__(0, 9.9), r"patient {pid}: scans.1.features.0 is 9.9 where"),
        (lambda p: p.update(tumour_type="GLIOMA"), r"patient {pid}, tumour_type: "),
        (lambda p: p.update(birth_date="1970-01-01"), r"patient {pid}, birth_date: Extra inputs"),
        (
            lambda p: p.update(treatments=[{"kind": "rt", "decided": 9, "start": 5, "stop": 20}]),
            r"patient {pid}, treatments.0: decided \(day 9\) lies after start \(day 5\)",
        ),
    ],
)
def test_an_error_names_patient_and_field(document: dict[str, Any], spoil: Any, message: str) -> None:
    patient = document["patients"][3]
    spoil(patient)
    with pytest.raises(HistoriesError, match=message.format(pid=patient["pid"])):
        decode(_bytes(document))


def test_truth_and_doubled_patients_are_refused(document: dict[str, Any]) -> None:
    patient = document["patients"][5]
    patient["truth"] = {"t": [0], "target_cc": [1.0], "law": "gompertz"}
    decode(_bytes(document))
    document["source"]["kind"] = "site-export"
    with pytest.raises(HistoriesError, match=f"patient {patient['pid']}: truth has no place in a site-export"):
        decode(_bytes(document))
    del patient["truth"]
    document["patients"][6]["pid"] = patient["pid"]
    with pytest.raises(HistoriesError, match="pid is used twice"):
        decode(_bytes(document))


@pytest.mark.parametrize("data", [b"", b"no json", b"[1, 2]", b"\xff\xfe", b'{"schema": "other/1"}', b"{}\n{"])
def test_what_is_no_history_file_gets_a_sentence(data: bytes) -> None:
    with pytest.raises(HistoriesError):
        decode(data)

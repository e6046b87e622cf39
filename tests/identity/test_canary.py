"""A marked patient goes through the whole service, with a failure injected at every stage that quotes the mark, as a
library's message may: the mark is in no log, metric, answer to an error, job state, research file or export."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from identity.hospital import Hospital, open_hospital
from peers.simulated import SimulatedStudies
from starlette.testclient import TestClient

from gateway import export
from gateway.api.app import create_app
from gateway.logs import configure_logging
from gateway.operations import replay_study
from gateway.settings import Log
from gateway.stages import deidentification, encoding, forecasting, recording, segmentation
from gateway.tables import Audit, Study

MARK = "ZQCANARYX"
NUMBER = "77199288"
MARKED = {
    "PatientName": f"{MARK}^Bird", "PatientID": f"{MARK}{NUMBER}", "IssuerOfPatientID": "Hospital",
    "AccessionNumber": f"{MARK[:8]}", "StudyDescription": f"brain {MARK}", "SeriesDescription": f"t1 {MARK}",
    "ProtocolName": f"{MARK} head", "InstitutionName": f"{MARK} clinic", "ReferringPhysicianName": f"{MARK}^Doctor",
    "PatientAddress": f"{MARK} street", "PatientComments": f"{MARK} {NUMBER}", "StationName": MARK,
    "OperatorsName": f"{MARK}^Op", "ImageComments": f"call {NUMBER}", "StudyID": MARK,
}  # fmt: skip
POINTS: tuple[tuple[Any, str], ...] = (
    (deidentification, "deidentify"), (deidentification, "verify_bytes"), (segmentation, "analyse_series"),
    (recording, "assign_tracking_uids"), (forecasting, "patient_from_record"), (encoding, "encode_study"),
)  # fmt: skip


def forms() -> tuple[bytes, ...]:
    """The mark as it stands, in lower case, in UTF-16 and in base64 (all three alignments)."""
    wide = [text.encode("utf-16-le") for text in (MARK, NUMBER)]
    coded = [base64.b64encode(b" " * n + MARK.encode())[4 * (n > 0) : 12] for n in range(3)]
    return (MARK.encode(), MARK.lower().encode(), NUMBER.encode(), *wide, *coded)


def marked(data: bytes | str) -> bool:
    data = data.encode() if isinstance(data, str) else data
    return any(form in data for form in forms())


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging(Log(format="json", level="DEBUG"))
    written = io.StringIO()
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written)
    yield written
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    logging.captureWarnings(False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Hospital]:
    made = open_hospital(tmp_path / "data")
    yield made
    made.gateway.database.dispose()


@pytest.mark.slow
def test_the_mark_is_found_nowhere_it_must_not_be(
    site: Hospital, one_person: SimulatedStudies, log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = one_person.truths[0].study_instance_uid
    site.send(one_person.files(one_person.truths[0]), **MARKED)
    site.close_studies()
    seen: list[str] = []
    for module, name in POINTS:
        original = getattr(module, name)
        calls: list[str] = []

        def broken(*_args: object, _name: str = name, _calls: list[str] = calls, **_kwargs: object) -> None:
            _calls.append(_name)
            raise ValueError(f"Invalid value for VR PN: '{MARK}^Bird' {NUMBER} in {_name}")

        monkeypatch.setattr(module, name, broken)
        run(site)
        seen += told(site, uid)
        monkeypatch.setattr(module, name, original)
        assert calls, f"{name} was never reached"
    run(site)
    assert site.study(uid).state.value not in ("failed", "quarantined")
    seen += told(site, uid)
    export.export_histories(site.gateway, tmp_path / "export")
    assert not [text for text in seen if marked(text)]
    assert not marked(log.getvalue())
    assert "study failed" in log.getvalue()
    for row in site.rows(Audit):
        assert not marked(f"{row.actor} {row.action} {row.subject} {row.detail}"), row.action
    research = [p for p in site.gateway.research_folder.rglob("*") if p.is_file()]
    assert len(research) > 10
    for file in [*research, *(p for p in (tmp_path / "export").rglob("*") if p.is_file())]:
        assert not marked(str(file.relative_to(tmp_path))), "file name"
        assert not marked(file.read_bytes()), file.name


def run(site: Hospital) -> None:
    """Replay what failed, and run all jobs."""
    for study in site.rows(Study):
        if study.state.value == "failed":
            replay_study(site.gateway, study.study_key, "tester")
    site.run_jobs()


def told(site: Hospital, uid: str) -> list[str]:
    """What the service says of failures: states of study and jobs, metrics, answers to wrong requests with their
    headers."""
    said = [site.study(uid).reason, *(f"{status}" for status in site.engine.jobs())]
    key = site.study(uid).study_key
    with TestClient(create_app(site.gateway, site.engine)) as client:
        said.append(client.get("/metrics").text)
        for path in ("jobs", "exports", "destinations", "models", f"studies/{key}/volume", f"studies/{key}x"):
            answer = client.get(f"/api/v1/{path}", follow_redirects=False)
            said.append(f"{answer.headers} {answer.text if answer.status_code != 200 or path == 'jobs' else ''}")
    return said

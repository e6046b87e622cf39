"""A contrast that headers leave open: settled by the pixels of the de-identified study, else by a person."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from sqlmodel import select

from gateway.arrivals import ArrivalRules, StoredInstance, index_instance
from gateway.column_types import utc_now
from gateway.completion import close_due_studies, complete_study
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.engine import JobHalted
from gateway.instance_facts import read_facts
from gateway.part10 import read_part10
from gateway.quarantine import list_open
from gateway.series_choice import choose
from gateway.settings import load_settings
from gateway.stages import deidentification
from gateway.stages.deidentification import research_study
from gateway.tables import QuarantineKind, Study, StudyState
from longitudinal.types import Contrast
from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies

NAMES = (
    "SeriesDescription", "ProtocolName", "SequenceName", "ScanningSequence", "SequenceVariant", "EchoTime",
    "RepetitionTime", "InversionTime", "ContrastBolusAgent", "ContrastBolusVolume", "ContrastBolusRoute",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[Contrast, list[Dataset]]:
    folder = tmp_path_factory.mktemp("simulated")
    truth = simulate_studies(1, 1, 5, folder, size=StudySize.SMALL)[0]
    return {c: [pydicom.dcmread(f) for f in sorted((folder / truth.folder / c.value).glob("*.dcm"))] for c in Contrast}


def nameless(images: list[Dataset], noise: bool = False) -> list[Dataset]:
    """The images without what tells their contrast; as noise, also without what their pixels tell."""
    out: list[Dataset] = []
    random = np.random.default_rng(1)
    for image in images:
        copy = pydicom.dcmread(io.BytesIO(_bytes(image)))
        for keyword in NAMES:
            if keyword in copy:
                delattr(copy, keyword)
        if noise:
            copy.PixelData = random.integers(0, 900, (copy.Rows, copy.Columns)).astype("<u2").tobytes()
        out.append(copy)
    return out


def received(folder: Path, required: str, *series: list[Dataset]) -> tuple[Gateway, str]:
    """A gateway that received these series, found them complete and de-identified them; the study's key."""
    config = folder / "timepoint.toml"
    config.write_text(f'data_dir = "{folder / "data"}"\n[study]\nrequired = {required}\n', encoding="utf-8")
    gateway = open_gateway(load_settings(config))
    rules = ArrivalRules.from_settings(gateway.settings)
    with session_scope(gateway.database) as session:
        for image in (i for images in series for i in images):
            instance = read_part10(_bytes(image))
            digest = hashlib.sha256(instance.dataset).hexdigest()
            stored = StoredInstance(read_facts(instance)[0], instance.transfer_syntax_uid, "PACS",
                                    gateway.received.put(_bytes(image)), digest, len(instance.dataset))  # fmt: skip
            index_instance(session, stored, rules)
    closed = close_due_studies(gateway.database, gateway.settings, utc_now() + dt.timedelta(seconds=61))
    assert [revision for _, revision in closed] == [1]
    deidentification.run(gateway, {"study_key": closed[0][0], "revision": 1})
    return gateway, closed[0][0]


def _bytes(image: Dataset) -> bytes:
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def row(gateway: Gateway, study_key: str) -> Study:
    with read_scope(gateway.database) as session:
        return session.exec(select(Study).where(Study.study_key == study_key)).one()


def test_pixels_settle_what_completeness_counted_on_and_the_evidence_is_kept(
    tmp_path: Path, study: dict[Contrast, list[Dataset]]
) -> None:
    gateway, key = received(tmp_path, '["t2w", "t1c"]', nameless(study[Contrast.T2]), study[Contrast.T1C])
    assert row(gateway, key).evidence["to_settle"] == ["t2w"]
    chosen = choose(gateway, key, 1, research_study(gateway, key, 1))
    assert set(chosen.files) == {Contrast.T1C, Contrast.T2}
    assert len(chosen.files[Contrast.T2]) == len(study[Contrast.T2])
    pixels = row(gateway, key).evidence["pixels"]
    assert [(p["series_number"], p["contrast"]) for p in pixels] == [("2", "t2w")]
    assert pixels[0]["probabilities"]["t2w"] > 0.9


def test_what_pixels_do_not_settle_ends_with_a_person_who_learns_which_series_and_what_helps(
    tmp_path: Path, study: dict[Contrast, list[Dataset]]
) -> None:
    gateway, key = received(
        tmp_path, '["t1c", "t2f"]', nameless(study[Contrast.T1C], noise=True), study[Contrast.FLAIR]
    )
    with pytest.raises(JobHalted):
        choose(gateway, key, 1, research_study(gateway, key, 1))
    with read_scope(gateway.database) as session:
        item = list_open(session, key)[0]
    assert item.kind is QuarantineKind.INCOMPLETE
    assert item.reason.startswith(
        "No t1c series: the headers leave it open and the pixels do not settle it (series 4: "
    )
    assert "complete the study as it is" in item.remedy
    assert row(gateway, key).state is StudyState.QUARANTINED
    assert row(gateway, key).evidence["pixels"][0]["contrast"] is None


def test_a_person_completes_it_without_that_contrast(tmp_path: Path, study: dict[Contrast, list[Dataset]]) -> None:
    gateway, key = received(
        tmp_path, '["t1c", "t2f"]', nameless(study[Contrast.T1C], noise=True), study[Contrast.FLAIR]
    )
    with pytest.raises(JobHalted):
        choose(gateway, key, 1, research_study(gateway, key, 1))
    with session_scope(gateway.database) as session:
        assert complete_study(session, key, "test") == 2
    deidentification.run(gateway, {"study_key": key, "revision": 2})
    assert set(choose(gateway, key, 2, research_study(gateway, key, 2)).files) == {Contrast.FLAIR}


def test_no_pixels_are_looked_at_where_the_headers_tell_all(
    tmp_path: Path, study: dict[Contrast, list[Dataset]]
) -> None:
    gateway, key = received(tmp_path, '["t1c", "t2f"]', study[Contrast.T1C], study[Contrast.FLAIR])
    chosen = choose(gateway, key, 1, research_study(gateway, key, 1))
    assert (set(chosen.files), chosen.seen) == ({Contrast.T1C, Contrast.FLAIR}, ())
    assert "pixels" not in row(gateway, key).evidence

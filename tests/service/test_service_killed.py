"""The whole service is killed again and again while studies pass.

Nothing acknowledged is lost, nothing comes twice, and no result is made of half a study.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from peers.simulated import SimulatedStudies
from peers.site import Site, prepare_site
from sqlmodel import select

from gateway.tables import Instance, Measurement, TimePoint
from timepoint.small_pacs import SmallPacs, running_small_pacs
from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    # pynetdicom leaves its socket unclosed where a connection is refused, which is what this test provokes.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KILLS = 20
SEED = 2026


@pytest.fixture(scope="module")
def ten_studies(tmp_path_factory: pytest.TempPathFactory) -> SimulatedStudies:
    folder = tmp_path_factory.mktemp("ten-studies")
    return SimulatedStudies(folder, simulate_studies(5, 2, seed=SEED, out=folder, size=StudySize.SMALL))


@pytest.fixture(scope="module")
def survivor(
    tmp_path_factory: pytest.TempPathFactory, ten_studies: SimulatedStudies
) -> Iterator[tuple[Site, SmallPacs]]:
    """A site that was killed 20 times while a patient sender delivered ten studies, and has come to rest."""
    folder = tmp_path_factory.mktemp("killed")
    with running_small_pacs(folder / "pacs") as pacs:
        site = prepare_site(folder / "site", destination=(pacs.ae_title, pacs.port), quiet_s=6.0)
        site.start()
        sender = threading.Thread(target=_send_until_acknowledged, args=[site, ten_studies])
        sender.start()
        try:
            moments = random.Random(SEED)
            for _ in range(KILLS):
                time.sleep(moments.uniform(2.0, 35.0))  # the moments are the experiment, not a wait for a condition
                site.kill()
                site.start(wait=False)
            sender.join(900)
            assert not sender.is_alive()
            site.await_settled(ten_studies.uids, timeout_s=1800)
            yield site, pacs
        finally:
            site.kill()


def _send_until_acknowledged(site: Site, studies: SimulatedStudies) -> None:
    """A sender that keeps what was not acknowledged and tries again, as a PACS does."""
    for truth in studies.truths:
        left = studies.files(truth)
        while left:
            outcomes = site.send(left)
            left = [file for file, outcome in zip(left, outcomes, strict=True) if not outcome.stored]
            if left:
                time.sleep(0.5)


def test_nothing_acknowledged_is_lost(survivor: tuple[Site, SmallPacs], ten_studies: SimulatedStudies) -> None:
    site, _ = survivor
    gateway = site.gateway()
    rows = site.read(lambda session: session.exec(select(Instance)).all())
    assert site.acknowledged <= {row.sop_instance_uid for row in rows}
    assert len(site.acknowledged) == sum(len(ten_studies.files(t)) for t in ten_studies.truths)
    for row in rows:
        gateway.received.read(row.blob)  # raises when the bytes are missing or damaged


def test_every_study_is_published_from_all_its_images(
    survivor: tuple[Site, SmallPacs], ten_studies: SimulatedStudies
) -> None:
    site, pacs = survivor
    assert {s.state.value for s in site.studies()} == {"published"}, site.describe()
    for truth in ten_studies.truths:
        reports = [
            ds for ds in _objects(pacs) if ds.StudyInstanceUID == truth.study_instance_uid and ds.Modality == "SR"
        ]
        sent = {str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in ten_studies.files(truth)}
        for report in reports:
            if "CurrentRequestedProcedureEvidenceSequence" in report and "Oncology" in _title(report):
                assert sent <= set(_evidence(report)), "a report was made of half a study"


def test_no_result_comes_twice(survivor: tuple[Site, SmallPacs], ten_studies: SimulatedStudies) -> None:
    site, pacs = survivor
    objects = _objects(pacs)
    assert set(
        Counter((str(ds.StudyInstanceUID), ds.Modality, _title(ds), ds.InstanceNumber) for ds in objects).values()
    ) == {1}
    # A follow-up that was through before its baseline is reported anew, by reports that name the ones they replace.
    baselines = {str(t.study_instance_uid) for t in ten_studies.truths if t.timepoint == 1}
    for ds in objects:
        if ds.InstanceNumber > 1:
            assert str(ds.StudyInstanceUID) not in baselines
            assert ds.Modality == "SEG" or "PredecessorDocumentsSequence" in ds
    points = site.read(lambda session: session.exec(select(TimePoint)).all())
    assert len(points) == len({p.study_key for p in points}) == len(ten_studies.truths)
    measured = site.read(lambda session: session.exec(select(Measurement)).all())
    assert len({(m.study_key, m.tracking_uid) for m in measured}) == len(measured)


def _objects(pacs: SmallPacs) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(Path(pacs.folder).glob("*.dcm"))]


def _title(ds: pydicom.Dataset) -> str:
    return (
        str(ds.SeriesDescription)
        if ds.Modality != "SR"
        else str(ds.ConceptNameCodeSequence[0].CodeMeaning) + str(ds.SeriesDescription)
    )


def _evidence(report: pydicom.Dataset) -> list[str]:
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]

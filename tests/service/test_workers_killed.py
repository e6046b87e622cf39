"""Workers are killed at a hundred moments while studies come in: by the clock, and at chosen commits and renames.

Two workers run the real steps (de-identification, the shipped network, SEG and SR) on small simulated studies and
deliver to a PACS. Nothing is lost or made twice, no result is made of half a study, and the jobs of a patient run one
after the other in the order in which its studies were closed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from gateway_receive.senders import associate
from peers.postgres import running_postgres
from peers.simulated import SimulatedStudies
from peers.site import Site, prepare_site
from peers.waiting import await_condition
from sqlmodel import col, select

from gateway.engine_dbos import DbosQueue
from gateway.settings import load_settings
from gateway.tables import Delivery, Instance, Measurement, Outbox, TimePoint
from timepoint.small_pacs import SmallPacs, running_small_pacs
from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SEED, KILLS, WORKERS, PATIENTS = 20260310, 100, 2, 6
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("killed_worker.py")
STEPS_TELL = {"deidentified", "measured", "recorded", "forecast", "encoded"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> SimulatedStudies:
    """Three time points of each patient; of each the two contrasts that are required, 69 images."""
    folder = tmp_path_factory.mktemp("studies")
    made = simulate_studies(PATIENTS, 3, seed=SEED, out=folder, size=StudySize.SMALL)
    for file in folder.rglob("*.dcm"):
        if file.parent.name not in ("t1c", "t2f"):
            file.unlink()
    return SimulatedStudies(folder, made)


@dataclass
class Killing:
    """The workers of a site, killed again and again, and what they died of."""

    site: Site
    kills: int = 0
    deaths: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    changed: threading.Condition = field(default_factory=threading.Condition)

    def worker(self, moment: str, mark: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(PROGRAM), str(self.site.config), moment, str(mark)]
        with self.site.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)

    def kill_again_and_again(self, number: int, times: int) -> None:
        rng = random.Random(f"{SEED}/{number}")
        for _ in range(times):
            moment, mark = self.moment(rng), self.site.folder / f"mark-{number}"
            mark.unlink(missing_ok=True)
            worker = self.worker(moment, mark)
            try:
                await_condition(mark.exists, 120, "the worker does not start")
                worker.wait(rng.uniform(0.5, 16.0))
                died_of = moment.rpartition(":")[0] if worker.returncode < 0 else f"exit {worker.returncode}"
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
                died_of = "clock"
            with self.changed:
                self.kills += 1
                self.deaths[died_of] += 1
                print(f"kill {self.kills} of worker {number} at {moment or 'random'}: {died_of}")
                self.changed.notify_all()

    @staticmethod
    def moment(rng: random.Random) -> str:
        what, most = rng.choice((("", 0), ("study", 15), ("engine", 30), ("rename", 2)))
        return f"{what}:{rng.choice(('before', 'after'))}:{rng.randint(1, most)}" if what else ""

    def wait_for_kills(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.kills >= min(count, KILLS), 600)


def send_between_kills(killing: Killing, studies: SimulatedStudies, failures: list[BaseException]) -> None:
    """Each study over one association, the second half after another kill; time points in any order."""
    order = random.Random(SEED).sample(studies.truths, len(studies.truths))
    try:
        for number, truth in enumerate(order):
            killing.wait_for_kills(number * KILLS // len(order))
            images = [pydicom.dcmread(file) for file in studies.files(truth)]
            random.Random(number).shuffle(images)
            contexts = [(str(i.SOPClassUID), str(i.file_meta.TransferSyntaxUID)) for i in images]
            association = associate(killing.site.dicom_port, contexts, calling="TESTER")
            for at, image in enumerate(images):
                if at == len(images) // 2:
                    killing.wait_for_kills(killing.kills + 1)
                assert association.send_c_store(image).Status == 0
            association.release()
    except BaseException as error:
        failures.append(error)
        raise


@dataclass
class Survivor:
    """A site that has come to rest, and the PACS it delivered to."""

    site: Site
    pacs: SmallPacs
    killing: Killing

    def objects(self) -> list[pydicom.Dataset]:
        return [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(self.pacs.folder.glob("*.dcm"))]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def survivor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, studies: SimulatedStudies
) -> Iterator[Survivor]:
    folder = tmp_path_factory.mktemp(f"killed-{request.param}")
    if request.param == "sqlite":
        yield from survived(folder, studies, "")
        return
    with running_postgres() as cluster:
        urls = f'[database]\nurl = "{cluster.new_database()}"\n[engine]\nurl = "{cluster.new_database()}"'
        yield from survived(folder, studies, urls)


def survived(folder: Path, studies: SimulatedStudies, databases: str) -> Iterator[Survivor]:
    with running_small_pacs(folder / "pacs") as pacs:
        site = prepare_site(folder / "site", destination=(pacs.ae_title, pacs.port), quiet_s=3.0, more=databases)
        killing, failures, left = Killing(site), [], []
        with site.log.open("ab") as log:
            command = [sys.executable, "-m", "timepoint", "receive", "--config", str(site.config)]
            site.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            site.await_receiver()
            threads = [threading.Thread(target=send_between_kills, args=[killing, studies, failures])]
            for number in range(WORKERS):
                threads.append(threading.Thread(target=killing.kill_again_and_again, args=[number, KILLS // WORKERS]))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []
            left += [killing.worker("", folder / "mark") for _ in range(WORKERS)]
            site.await_settled(studies.uids, timeout_s=1500)
            print(f"{killing.kills} kills: {dict(killing.deaths)}")
            yield Survivor(site, pacs, killing)
        finally:
            for worker in left:
                worker.kill()
                worker.wait()
            site.kill()


def test_every_death_was_a_kill(survivor: Survivor) -> None:
    assert survivor.killing.kills == KILLS
    assert not [died_of for died_of in survivor.killing.deaths if died_of.startswith("exit")], survivor.killing.deaths


def test_nothing_is_lost_and_every_study_is_published(survivor: Survivor, studies: SimulatedStudies) -> None:
    site = survivor.site
    assert {s.state.value for s in site.studies()} == {"published"}, site.describe()
    rows = site.read(lambda session: session.exec(select(Instance)).all())
    assert len(rows) == sum(len(studies.files(truth)) for truth in studies.truths)
    queue = DbosQueue(load_settings(site.config).engine.url)
    states = {job.job_id: job.state for job in queue.jobs(1000)}
    queue.close()
    asked = site.read(lambda session: session.exec(select(Outbox.job)).all())
    assert {states[job] for job in asked} == {"done"}


def test_no_result_is_made_of_half_a_study(survivor: Survivor, studies: SimulatedStudies) -> None:
    sent = {
        truth.study_instance_uid: {
            str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in studies.files(truth)
        }
        for truth in studies.truths
    }
    reports = [ds for ds in survivor.objects() if ds.Modality == "SR" and "Oncology" in _title(ds)]
    assert {ds.StudyInstanceUID for ds in reports} == sent.keys()
    for report in reports:
        assert sent[report.StudyInstanceUID] <= set(_evidence(report))


def test_each_result_comes_once_and_is_the_one_of_the_rows(survivor: Survivor) -> None:
    objects = survivor.objects()
    named = [(str(ds.StudyInstanceUID), ds.Modality, _title(ds), int(ds.InstanceNumber)) for ds in objects]
    assert len(set(named)) == len(named)
    rows = survivor.site.read(lambda session: session.exec(select(Delivery)).all())
    assert {str(ds.SOPInstanceUID) for ds in objects} <= {row.sop_instance_uid for row in rows}
    delivered = [row for row in rows if row.state.value == "delivered"]
    assert {row.sop_instance_uid for row in delivered} <= {str(ds.SOPInstanceUID) for ds in objects}
    studies = {s.study_key: s for s in survivor.site.studies()}
    last = {(row.study_key, row.object_name) for row in delivered if row.revision == studies[row.study_key].revision}
    assert {(key, name) for key in studies for name in ("seg", "sr")} <= last


def test_the_record_holds_each_study_once(survivor: Survivor, studies: SimulatedStudies) -> None:
    points = survivor.site.read(lambda session: session.exec(select(TimePoint)).all())
    assert sorted(p.study_key for p in points) == sorted(s.study_key for s in survivor.site.studies())
    assert len(points) == len(studies.truths)
    measured = survivor.site.read(lambda session: session.exec(select(Measurement)).all())
    assert len({(m.study_key, m.tracking_uid) for m in measured}) == len(measured)


def test_the_jobs_of_a_patient_keep_their_order_and_never_overlap(survivor: Survivor) -> None:
    patient_of = {s.study_key: s.patient_key for s in survivor.site.studies()}
    ran: dict[str | None, list[tuple[str, int]]] = defaultdict(list)
    for line in survivor.site.log.read_text(encoding="utf-8", errors="replace").splitlines():
        told = _told(line)
        if told.get("event") == "study moved on" and told["state"] in STEPS_TELL:
            job = (told["study_key"], told["revision"])
            if ran[patient_of[job[0]]][-1:] != [job]:
                ran[patient_of[job[0]]].append(job)
    asked = survivor.site.read(lambda session: session.exec(select(Outbox).order_by(col(Outbox.id))).all())
    places = {
        (row.payload["study_key"], row.payload["revision"]): n
        for n, row in enumerate(asked)
        if "study_key" in row.payload
    }
    assert len(ran) == PATIENTS
    for jobs in ran.values():
        assert [places[job] for job in jobs] == sorted({places[job] for job in jobs})


def _told(line: str) -> dict[str, object]:
    try:
        found = json.loads(line[line.index("{") :])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _title(ds: pydicom.Dataset) -> str:
    kind = str(ds.ConceptNameCodeSequence[0].CodeMeaning) if ds.Modality == "SR" else ""
    return kind + str(ds.SeriesDescription)


def _evidence(report: pydicom.Dataset) -> list[str]:
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]

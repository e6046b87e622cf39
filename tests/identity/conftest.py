"""One simulated person with four studies, known to the hospital under two numbers; analysed once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_receive.conftest import node, postgres, postgres_url, sqlite_template  # noqa: F401 - fixtures
from identity.hospital import Hospital, open_hospital
from peers.simulated import SimulatedStudies

from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies


@pytest.fixture(scope="session")
def one_person(tmp_path_factory: pytest.TempPathFactory) -> SimulatedStudies:
    folder = tmp_path_factory.mktemp("one-person")
    return SimulatedStudies(folder, simulate_studies(1, 4, seed=11, out=folder, size=StudySize.SMALL))


@pytest.fixture(scope="session")
def analysed(one_person: SimulatedStudies, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """First and third study came as patient A, the second one as patient B; all were analysed and sent out."""
    folder = tmp_path_factory.mktemp("analysed") / "data"
    hospital = open_hospital(folder)
    for number, patient_id in ((0, "A"), (2, "A"), (1, "B")):
        hospital.send(one_person.files(one_person.truths[number]), PatientID=patient_id, IssuerOfPatientID="Hospital")
        hospital.close_studies()
        hospital.run_jobs()
        hospital.deliver_all()
    hospital.gateway.database.dispose()
    return folder


@pytest.fixture
def hospital(analysed: Path, tmp_path: Path) -> Iterator[Hospital]:
    """A copy of the analysed hospital."""
    shutil.copytree(analysed, tmp_path / "data")
    made = open_hospital(tmp_path / "data")
    yield made
    made.gateway.database.dispose()

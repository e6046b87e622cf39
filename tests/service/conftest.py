"""Simulated studies that the service tests send, made once for a test run."""

from __future__ import annotations

import pytest
from peers.simulated import SimulatedStudies

from training.simulate.protocol import StudySize
from training.simulate.studies import simulate_studies


@pytest.fixture(scope="session")
def two_patients(tmp_path_factory: pytest.TempPathFactory) -> SimulatedStudies:
    """Two patients with three time points each, small."""
    folder = tmp_path_factory.mktemp("two-patients")
    return SimulatedStudies(folder, simulate_studies(2, 3, seed=11, out=folder, size=StudySize.SMALL))

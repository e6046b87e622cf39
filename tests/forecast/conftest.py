"""Small simulated cohorts and a small trained model that the forecast tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.forecast.model import ForecastModel
from training.forecast.config import TrainConfig
from training.forecast.train import TrainedModel, train
from training.simulate.histories import SimulatedHistories, simulate_histories

SMALL = TrainConfig(name="small", patients=400, hidden=24, layers=1, dropout=0.1, epochs=12, patience=4, seed=11)


@pytest.fixture(scope="session")
def small_trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A small network trained for seconds: enough to beat the last value, not to be proud of."""
    return train(SMALL, out=tmp_path_factory.mktemp("small"), progress=lambda line: None)


@pytest.fixture(scope="session")
def small_model(small_trained: TrainedModel) -> ForecastModel:
    return ForecastModel.load(small_trained.folder)


@pytest.fixture(scope="session")
def fresh() -> SimulatedHistories:
    """Patients that no model in these tests was trained with."""
    return simulate_histories(150, seed=505)


@pytest.fixture(scope="session")
def small_folder(small_trained: TrainedModel) -> Path:
    return small_trained.folder

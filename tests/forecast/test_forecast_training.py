"""Training: beats the last value, reproducible, resumable, leak-free splits, configuration with clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.forecast.arrays import TUMOUR_TYPES, arrays_of
from inference.forecast.model import ForecastModel
from inference.forecast.network import Architecture, ForecastNet
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import Queries, context_of
from longitudinal.histories import Histories
from training.forecast.config import ConfigError, TrainConfig
from training.forecast.network_fit import Fit, ResumeError, Samples, fit_network
from training.forecast.prior_fit import START
from training.forecast.train import DataError, TrainedModel, train
from training.forecast.windows import split_patients, windows_of
from training.simulate.histories import SimulatedHistories, simulate_histories

TINY = TrainConfig(name="tiny", patients=70, hidden=8, layers=2, epochs=4, patience=4, seed=5)


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def tiny_data() -> Histories:
    return simulate_histories(70, seed=21).histories


def test_the_default_is_the_production_configuration() -> None:
    config = TrainConfig()
    assert (config.hidden, config.layers, config.dropout, config.batch_patients) == (128, 3, 0.3, 32)
    assert (config.epochs, config.learning_rate, config.weight_decay, config.patience) == (200, 5e-4, 1e-5, 30)
    assert (config.share_validation, config.share_test) == (0.15, 0.15)
    assert config.patients * (1 - config.share_validation - config.share_test) >= 10_000


def test_beats_the_last_value_on_its_test_patients(small_trained: TrainedModel) -> None:
    summary = small_trained.report["summary"]["all"]
    assert summary["mae_ml"] < summary["mae_last_value_ml"]
    assert summary["crps_ml"] < summary["crps_last_value_ml"]
    assert summary["floor_mae_ml"] < summary["mae_ml"]


def test_an_untrained_network_is_the_prior(fresh: SimulatedHistories) -> None:
    arrays = arrays_of(fresh.histories.patients[:10])
    prior = PopulationPrior(np.tile(START, (len(TUMOUR_TYPES), 1)))
    queries = Queries(np.arange(10), np.full(10, 2), np.full(10, 91.0))
    context = context_of(arrays, prior.filter(arrays), prior, queries)
    network = ForecastNet(Architecture(context.inputs.shape[1])).eval()
    with torch.inference_mode():
        hidden = network.encode(torch.from_numpy(arrays.features.astype(np.float32)))[:, 2]
        mean, sd = (torch.from_numpy(v.astype(np.float32)) for v in (context.prior.mean, context.prior.sd))
        out = network(hidden, torch.from_numpy(context.inputs.astype(np.float32)), mean, sd).numpy()
    np.testing.assert_allclose(out[:, 3], context.prior.mean, atol=1e-5)
    np.testing.assert_allclose(out[:, -1], context.prior.mean + 1.6448536 * context.prior.sd, atol=1e-4)
    np.testing.assert_allclose(out[:, 1], context.prior.mean - 1.2815516 * context.prior.sd, atol=1e-4)


class Bench:
    """What `fit_network` needs, with an unfitted prior: only the training of the network is looked at."""

    def __init__(self, data: Histories) -> None:
        arrays = arrays_of(data.patients)
        windows = windows_of(arrays)
        windows = windows.where(~windows.surgery)
        prior = PopulationPrior(np.tile(START, (len(TUMOUR_TYPES), 1)))
        device = torch.device("cpu")
        self.known = Samples.of(arrays, windows, prior, device)
        self.unknown = Samples.of(arrays.of_unknown_type(), windows, prior, device)
        self.split = split_patients(data.patients, TINY.seed, 0.15, 0.15)

    def fit(self, work: Path, progress=quiet, resume: bool = False, config: TrainConfig = TINY) -> Fit:
        work.mkdir(exist_ok=True)
        return fit_network(config, self.known, self.unknown, self.split.train, self.split.stop, work, progress, resume)


def weights(fit: Fit) -> list[bytes]:
    return [value.numpy().tobytes() for value in fit.network.state_dict().values()]


def test_same_seed_same_weights_and_a_resumed_run_ends_alike(tiny_data: Histories, tmp_path: Path) -> None:
    bench = Bench(tiny_data)
    whole = bench.fit(tmp_path / "whole")
    assert weights(bench.fit(tmp_path / "again")) == weights(whole)
    assert weights(bench.fit(tmp_path / "other", config=TINY.model_copy(update={"seed": 6}))) != weights(whole)

    class CutOffError(Exception):
        pass

    def cut_off(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise CutOffError

    with pytest.raises(CutOffError):
        bench.fit(tmp_path / "cut", progress=cut_off)
    with pytest.raises(ResumeError, match="another configuration"):
        bench.fit(tmp_path / "cut", resume=True, config=TINY.model_copy(update={"learning_rate": 1e-3}))
    said: list[str] = []
    resumed = bench.fit(tmp_path / "cut", progress=said.append, resume=True)
    assert said[0] == "resumed after epoch 2"
    assert weights(resumed) == weights(whole)
    assert resumed.stop_loss == whole.stop_loss


def test_training_stops_when_validation_no_longer_falls(tiny_data: Histories, tmp_path: Path) -> None:
    eager = TINY.model_copy(update={"learning_rate": 0.05, "epochs": 60, "patience": 3})
    fit = Bench(tiny_data).fit(tmp_path / "eager", config=eager)
    assert len(fit.stop_loss) < 60
    assert fit.best_epoch == len(fit.stop_loss) - 3


def test_patients_are_in_one_part_and_the_order_of_the_file_does_not_matter(fresh: SimulatedHistories) -> None:
    patients = list(fresh.histories.patients)
    split = split_patients(patients, 3, 0.15, 0.15)
    parts = [set(rows.tolist()) for rows in (split.train, split.stop, split.calibrate, split.test)]
    assert sum(len(p) for p in parts) == len(set().union(*parts)) == len(patients)
    assert len(parts[3]) == round(0.15 * len(patients))
    turned = patients[::-1]
    again = split_patients(turned, 3, 0.15, 0.15)
    assert {turned[r].pid for r in again.test} == {patients[r].pid for r in split.test}
    assert {turned[r].pid for r in again.calibrate} == {patients[r].pid for r in split.calibrate}


def test_a_stated_split_is_kept(fresh: SimulatedHistories) -> None:
    patients = [p.model_copy(update={"split": "test"}) for p in fresh.histories.patients[:5]]
    patients += fresh.histories.patients[5:40]
    assert set(range(5)) <= set(split_patients(patients, 1, 0.15, 0.15).test.tolist())


def test_windows_are_all_pairs_up_to_the_longest_horizon(fresh: SimulatedHistories) -> None:
    patients = fresh.histories.patients[:15]
    windows = windows_of(arrays_of(patients))
    expected = {
        (row, k, j)
        for row, p in enumerate(patients)
        for k in range(len(p.scans))
        for j in range(k + 1, len(p.scans))
        if 7 <= p.scans[j].t - p.scans[k].t <= 411
    }
    found = list(
        zip(windows.queries.rows.tolist(), windows.queries.scans.tolist(), windows.target.tolist(), strict=True)
    )
    assert set(found) == expected
    assert found == sorted(found)
    assert 0 in windows.queries.scans
    for (row, k, j), surgery in zip(found, windows.surgery.tolist(), strict=True):
        begin, until = patients[row].scans[k].t, patients[row].scans[j].t
        between = any(t.kind == "surgery" and begin <= t.start < until for t in patients[row].treatments)
        assert surgery == between


def test_too_few_patients_get_a_sentence(tiny_data: Histories, tmp_path: Path) -> None:
    few = tiny_data.model_copy(update={"patients": tiny_data.patients[:4]})
    with pytest.raises(DataError, match="4 patients are too few"):
        train(TINY, few, "cpu", tmp_path, progress=quiet)


def test_configuration_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text("hidden = 48\nlayers = 1\n")
    assert TrainConfig.from_toml(file) == TrainConfig(hidden=48, layers=1)
    file.write_text("hiden = 48\n")
    with pytest.raises(ConfigError, match="unknown key hiden; the nearest known one is hidden"):
        TrainConfig.from_toml(file)
    file.write_text("dropout = 1.5\n")
    with pytest.raises(ConfigError, match=r"dropout: .*less than 1"):
        TrainConfig.from_toml(file)
    file.write_text("hidden = \n")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        TrainConfig.from_toml(file)


def test_the_model_folder_tells_what_it_was_made_of(small_trained: TrainedModel) -> None:
    card = json.loads((small_trained.folder / "model.json").read_text())
    assert card["kind"] == "forecast"
    assert card["training"]["source"]["generator"] == "generator/1"
    assert card["training"]["patients"]["train"] == 280
    assert set(card["metrics"]["3mo"]) >= {"mae_ml", "mae_last_value_ml", "floor_mae_ml", "coverage"}
    text = (small_trained.folder / "README.md").read_text()
    assert "Not for" in text
    assert card["training"]["data_sha256"] in text
    assert ForecastModel.load(small_trained.folder).identity.weights_sha256 == card["weights_sha256"]

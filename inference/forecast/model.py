"""The forecasting model as a whole: prior, network, calibration, and the folder it is stored in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from inference.forecast.arrays import FLOOR_ML, Floats, Ints, PatientArrays
from inference.forecast.calibration import GRID_DAYS, Calibration, at_horizon
from inference.forecast.network import QUANTILES, Architecture, ForecastNet
from inference.forecast.persistence import Persistence
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import CONTEXT_SCHEMA, CONTEXT_WIDTH_WITHOUT_TYPE, Queries, context_of
from inference.model_folder import (
    SHIPPED_MODELS,
    WEIGHTS_NAME,
    ModelFolder,
    ModelFolderError,
    read_model_folder,
    write_model_folder,
)
from longitudinal.features import FEATURE_SCHEMA
from longitudinal.types import AlgorithmIdentity

KIND = "forecast"
DEFAULT_MODEL = SHIPPED_MODELS / "forecast-1"
_BATCH = 512
_LARGEST_LN = np.log(1000.0)


class ForecastModelError(ModelFolderError):
    """The folder holds a forecaster that this version cannot run; the message says why."""


@dataclass(frozen=True)
class ForecastModel:
    """A forecaster ready to run. `card` is what `model.json` holds beside prior, calibration and architecture."""

    network: ForecastNet
    prior: PopulationPrior
    calibration: Calibration
    card: dict[str, Any]
    identity: AlgorithmIdentity
    persistence: Persistence = field(default_factory=Persistence.none)

    @property
    def types(self) -> int:
        """How many of `TUMOUR_TYPES` the network was trained with."""
        return self.network.architecture.context - CONTEXT_WIDTH_WITHOUT_TYPE

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and verify a model folder.

        Raises:
            ModelFolderError: when the folder is incomplete, damaged, or of another kind.
            ForecastModelError: when its features, context or quantiles are not those of this version.
        """
        found = read_model_folder(folder, KIND)
        card = found.card
        expected = {
            "feature_schema": FEATURE_SCHEMA,
            "context_schema": CONTEXT_SCHEMA,
            "quantiles": list(QUANTILES),
        }
        for key, value in expected.items():
            if card.get(key) != value:
                raise ForecastModelError(f"{folder}: {key} is {card.get(key)}, this version reads {value}")
        try:
            network = ForecastNet(Architecture(**card["architecture"]))
            network.load_state_dict(load_file(found.weights))
            prior = PopulationPrior.from_json(card["prior"])
            calibration = Calibration.from_json(card["calibration"])
            persistence = Persistence.from_json(card.get("persistence"))
        except (KeyError, TypeError, RuntimeError) as error:
            raise ForecastModelError(f"{folder}: model.json and the weights do not fit together ({error})") from error
        network.eval()
        return cls(network, prior, calibration, card, found.identity, persistence)

    def save(self, folder: Path, readme: str) -> ModelFolder:
        """Write the model folder; `card` must hold `name` and `version`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(state, folder / WEIGHTS_NAME)
        # safetensors writes for the owner only; a model is read by the accounts of the service.
        (folder / WEIGHTS_NAME).chmod(0o644)
        card = {
            **self.card,
            "kind": KIND,
            "feature_schema": FEATURE_SCHEMA,
            "context_schema": CONTEXT_SCHEMA,
            "quantiles": list(QUANTILES),
            "architecture": self.network.architecture.to_json(),
            "prior": self.prior.to_json(),
            "calibration": self.calibration.to_json(),
            "calibration_id": self.calibration.id,
            "persistence": self.persistence.to_json(),
        }
        return write_model_folder(folder, card, readme)

    def raw_grid(self, arrays: PatientArrays, rows: Ints, scans: Ints) -> Floats:
        """Uncalibrated ln quantiles at `GRID_DAYS` from the given scan of each given patient: (n, horizons, 7).

        What is computed for a scan depends on the scans up to it and on nothing after.
        """
        batches = [
            self._grid_batch(arrays, rows[begin : begin + _BATCH], scans[begin : begin + _BATCH])
            for begin in range(0, len(rows), _BATCH)
        ]
        return np.concatenate(batches) if batches else np.zeros((0, len(GRID_DAYS), len(QUANTILES)))

    def grid(self, arrays: PatientArrays, rows: Ints, scans: Ints) -> Floats:
        """Calibrated ln quantiles at `GRID_DAYS`, (n, horizons, 7)."""
        tumour = arrays.tumour[rows]
        calibrated = self.calibration.apply(self.raw_grid(arrays, rows, scans), tumour)
        return self.persistence.mix(calibrated, arrays.ln_volume[rows, scans], tumour)

    def quantiles_ml(self, arrays: PatientArrays, queries: Queries) -> Floats:
        """Calibrated quantiles of the volume in ml for each query, (queries, 7).

        A quantile too small to be found in a scan (0.1 ml and less) is 0, as a measurement of it would be.
        """
        origins, back = np.unique(np.stack(queries.index), axis=1, return_inverse=True)
        grid = self.grid(arrays, origins[0], origins[1])
        ln = at_horizon(grid[back.ravel()], queries.horizon_days)
        found = np.exp(np.minimum(ln, _LARGEST_LN))
        return np.where(found <= FLOOR_ML, 0.0, found)

    def _grid_batch(self, arrays: PatientArrays, rows: Ints, scans: Ints) -> Floats:
        patients, local = np.unique(rows, return_inverse=True)
        part = arrays.take(patients)
        steps = len(GRID_DAYS)
        queries = Queries(
            np.repeat(local.ravel(), steps), np.repeat(scans, steps), np.tile(GRID_DAYS, len(rows)).astype(np.float64)
        )
        context = context_of(part, self.prior.filter(part), self.prior, queries, self.types)
        with torch.inference_mode():
            hidden = self.network.encode(_tensor(part.features))
            ln = self.network(
                hidden[torch.from_numpy(queries.rows), torch.from_numpy(queries.scans)],
                _tensor(context.inputs),
                _tensor(context.prior.mean),
                _tensor(context.prior.sd),
            )
        result: Floats = ln.numpy().astype(np.float64).reshape(len(rows), steps, len(QUANTILES))
        return result


def _tensor(values: Floats) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

"""The shipped fallback: the last value with empirical quantiles, as a model folder like any other.

It is what a forecaster is demoted to, so its quantiles are those of real patients where there are some: of
MU-Glioma-Post (TCIA, CC BY 4.0) for glioma and where the type is not stated, of simulated patients for the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inference.forecast.arrays import TUMOUR_TYPES, Floats, arrays_of
from inference.forecast.calibration import Calibration
from inference.forecast.model import ForecastModel
from inference.forecast.network import MEDIAN, Architecture, ForecastNet
from inference.forecast.persistence import Persistence
from inference.forecast.prior import PopulationPrior
from inference.forecast.queries import CONTEXT_WIDTH_WITHOUT_TYPE
from longitudinal.histories import Histories, encode, sha256
from longitudinal.types import AlgorithmIdentity, TumourType
from training.forecast.baselines import Baselines
from training.forecast.prior_fit import START
from training.forecast.windows import windows_of

NAME, VERSION = "forecast-fallback", "1.0"
_REAL = (TumourType.GBM, TumourType.ASTROCYTOMA, TumourType.OLIGODENDROGLIOMA, TumourType.OTHER)
_README = """# forecast-fallback 1.0: the last value stays

**For** what is forecast when the forecaster in use has raised an alarm: the last measured volume, with the interval
in which later volumes lay in real patients. It learns nothing and knows no treatment.

Intervals: MU-Glioma-Post (TCIA, CC BY 4.0; {real} patients) for glioma and unstated types, {simulated} simulated
patients (generator/1) for the others. On those real patients its 90 % interval holds 90 % by construction.

Apache-2.0.
"""


def write_fallback(simulated: Histories, real: Histories, folder: Path) -> ForecastModel:
    """Write the folder; `real` is MU-Glioma-Post with the whole tumour as target."""
    tables = {str(kind): _residuals(simulated if kind not in _REAL else real, kind) for kind in TUMOUR_TYPES}
    residuals = np.stack([tables[str(kind)] for kind in TUMOUR_TYPES])
    width = CONTEXT_WIDTH_WITHOUT_TYPE + len(TUMOUR_TYPES)
    network = ForecastNet(Architecture(width, hidden=4, layers=1, dropout=0.0, head=4))
    for parameter in network.parameters():
        parameter.data.zero_()
    arrays = arrays_of(simulated.patients)
    windows = windows_of(arrays)
    card: dict[str, Any] = {
        "name": NAME,
        "version": VERSION,
        "model_schema": "tgf-model/1",
        "licence": "Apache-2.0",
        "baselines": Baselines.fit(arrays, windows.where(~windows.surgery)).to_json(),
        "training": {"data_sha256": sha256(encode(real)), "source": real.source.model_dump(mode="json"), "config": {}},
    }
    model = ForecastModel(
        network,
        PopulationPrior(np.tile(START, (len(TUMOUR_TYPES), 1))),
        Calibration.none(),
        card,
        AlgorithmIdentity(NAME, VERSION, ""),
        Persistence(np.zeros(len(TUMOUR_TYPES)), residuals),
    )
    model.save(folder, _README.format(real=len(real.patients), simulated=len(simulated.patients)))
    return model


def _residuals(data: Histories, kind: TumourType) -> Floats:
    arrays = arrays_of(data.patients)
    windows = windows_of(arrays)
    found = Baselines.fit(arrays, windows.where(~windows.surgery)).residuals["last_value"]
    table = found[TUMOUR_TYPES.index(kind)].copy()
    table[:, MEDIAN] = 0.0
    return np.sort(table, axis=1)

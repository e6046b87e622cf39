"""The model card: what the model is for, what it was made of, what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.forecast.calibration import HORIZON_BINS

_CARD = """# {name} {version}: forecast of tumour volume

**For** showing a clinician, beside the measured course, where the volume of a brain tumour is likely to go over the
next 13 months, with an interval. **Not for** choosing treatment, and not for tumours under 0.1 ml or over 200 ml, for
the time after a planned resection, or for other diseases: there the forecaster abstains and says why.

**Caution.** Trained on histories of this source: {source}. On real post-treatment glioma no published model has been
shown to beat "the last value stays" in mean absolute error; recalibrate on your own patients before you rely on it.

## How it works
A hierarchical Kalman filter on ln volume draws each patient towards the population of the tumour type. A causal LSTM
({layers} layers of {hidden}) over ten features per scan (`{feature_schema}`) and a head that knows horizon, tumour type
and the treatment already decided on correct that prior. Split conformal calibration on separate patients sets the
90 % interval; it never gets narrower further out. It works from one scan.

## Data
{train} patients for training, {early_stop} for early stopping, {calibration} for calibration, {test} for the test
below. Data SHA-256 `{data_sha256}`. Best epoch {best_epoch} of {epochs}; seed {seed}; torch {torch}.

## Measured on {patients} test patients, {windows} pairs of scans
{table}

MAE and CRPS in ml against the *measured* volume; the floor is the error of the measurement itself, which no
forecast can beat. Relative change is against the last value, with its 95 % interval over patients.

## TRIPOD+AI (BMJ 2024;385:e078378): where its items are answered
| item | answer |
|---|---|
| intended use, population, horizon | first paragraph |
| data, eligibility | Data above; `training/simulate/histories_parameters.py` names the source of every parameter |
| outcome | volume of the followed region (`TumourType.target`) in a later scan |
| predictors | ten features per scan (`longitudinal/features.py`), treatment decided by the day of the forecast |
| missing data | what was not segmented is carried forward and marked; unstated types: the whole tumour |
| sample size, analysis, class of model | Data, How it works; configuration in `model.json` |
| performance, by subgroup | Measured; by type, horizon and scans known: `timepoint evaluate --html` |
| fairness | type and scanner in the gate; sex and age do not enter and were not examined on real patients |
| open science | code, weights, configuration and seeds are public; no registration, no protocol |
| limitations | Caution above; no prospective and no external clinical validation |

## Licence
{licence}. Weights are safetensors; nothing is unpickled.
"""


def readme(card: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The card in Markdown, from `model.json` and the evaluation report."""
    training = card["training"]
    source = training["source"]
    origin = source["kind"]
    if source.get("generator"):
        origin += f" ({source['generator']}, seed {source['seed']})"
    return _CARD.format(
        name=card["name"],
        version=card["version"],
        source=origin,
        feature_schema="tgf-10/1",
        layers=training["config"]["layers"],
        hidden=training["config"]["hidden"],
        **training["patients"],
        data_sha256=training["data_sha256"],
        best_epoch=training["best_epoch"],
        epochs=training["epochs"],
        seed=training["config"]["seed"],
        torch=training["software"]["torch"],
        patients=report["data"]["patients"],
        windows=report["data"]["windows"],
        table=metrics_table(report),
        licence=card["licence"],
    )


def metrics_table(report: Mapping[str, Any]) -> str:
    """The main figures by horizon as a Markdown table."""
    head = (
        "| horizon | pairs | mean volume | floor | last value | prior | **model** | change of MAE | CRPS last/model "
        "| R2 last/model | coverage |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(
        _row(name, report["horizons"][name]) for name in ("all", *HORIZON_BINS) if name in report["horizons"]
    )


def _row(name: str, part: Mapping[str, Any]) -> str:
    methods, against = part["methods"], part["against"]["last_value"]
    value, low, high = (100 * v for v in against["mae_ml"]["relative"])
    last, ours = methods["last_value"], methods["model"]
    floor = f"{part['floor_mae_ml']:.2f}" if "floor_mae_ml" in part else "unknown"
    cells = [
        name,
        str(part["windows"]),
        f"{part['mean_volume_ml']:.1f}",
        floor,
        f"{last['mae_ml']:.2f}",
        f"{methods['population_prior']['mae_ml']:.2f}",
        f"**{ours['mae_ml']:.2f}**",
        f"{value:+.0f} % [{low:+.0f}, {high:+.0f}]",
        f"{last['crps_ml']:.2f} / {ours['crps_ml']:.2f}",
        f"{last['r2']:.3f} / {ours['r2']:.3f}",
        f"{ours['coverage']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"

"""`train`, `evaluate`, `compare` and `models`: the forecaster's life."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timepoint.commands.options import DeviceOption, JsonOption
from timepoint.output import REFUSED_INPUT, say, show_json, show_table, stop

if TYPE_CHECKING:
    from longitudinal.histories import Histories, Truth

models = typer.Typer(help="Installed models.", no_args_is_help=True)
DataOption = Annotated[Path, typer.Option("--data", exists=True, dir_okay=False, help="patient_histories.json.")]
ModelArgument = Annotated[str, typer.Argument(help="Name of an installed model, or a model folder.")]


def train(
    config: Annotated[Path | None, typer.Option("--config", exists=True, help="Training configuration (TOML).")] = None,
    data: Annotated[Path | None, typer.Option("--data", exists=True, help="Histories; default: simulated.")] = None,
    device: DeviceOption = "auto",
    out: Annotated[Path, typer.Option("--out", help="Model folder to write.")] = Path("forecast-model"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was cut off.")] = False,
) -> None:
    """Train a forecaster; with no argument, the production configuration on simulated histories."""
    from training.forecast.config import TrainConfig
    from training.forecast.train import train as run

    settings = TrainConfig.from_toml(config) if config else TrainConfig()
    histories, truth = read_histories(data) if data else (None, None)
    trained = run(settings, histories, device, out, truth=truth, resume=resume, progress=say)
    if not trained.report:
        return  # another process of torchrun writes the model and tells of it
    say(f"Model written to {trained.folder}.")
    _show_metrics(trained.report, f"{settings.name} {settings.version} on its own test patients")


def evaluate(
    model: ModelArgument,
    data: DataOption,
    html: Annotated[Path | None, typer.Option("--html", help="Write the page with plots there.")] = None,
    as_json: JsonOption = False,
    acceptance: Annotated[
        int | None,
        typer.Option("--acceptance", min=50, help="Also the claims T1-T4, on so many patients of each frozen cohort."),
    ] = None,
) -> None:
    """Measure a forecaster on histories, beside last value, population prior and the noise floor."""
    from training.forecast.evaluate import evaluate as run
    from training.forecast.report_html import render

    histories, truth = read_histories(data)
    report = run(model_folder(model), histories, truth)
    if acceptance:
        from inference.forecast.model import ForecastModel
        from training.forecast.acceptance import accept

        report["acceptance"] = accept(ForecastModel.load(model_folder(model)), acceptance, say)
    if html:
        html.write_text(render(report), encoding="utf-8")
        say(f"Page written to {html}.")
    if as_json:
        show_json(report)
    else:
        _show_metrics(report, f"{model} on {data.name}")
        _show_claims(report)


def compare(
    a: Annotated[str, typer.Argument(help="The model in use.")],
    b: Annotated[str, typer.Argument(help="The model that may replace it.")],
    data: DataOption,
    as_json: JsonOption = False,
) -> None:
    """Compare two forecasters on patients that neither was trained with; differences are B minus A."""
    from training.forecast.compare import compare as run

    histories, truth = read_histories(data)
    report = run(model_folder(a), model_folder(b), histories, truth)
    if as_json:
        show_json(report)
        return
    rows = [[m["name"], m["version"], _number(m["mae_ml"]), _number(m["crps_ml"])] for m in report["models"]]
    show_table("Compared", ["model", "version", "MAE ml", "CRPS ml"], rows)
    typer.echo(f"Verdict: {report['verdict']}")


@models.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that are installed."""
    cards = [_card(folder) for folder in _installed()]
    if as_json:
        show_json(cards)
    else:
        columns = ("name", "version", "kind", "weights_sha256")
        show_table("Models", columns, [[c[k] if k != "weights_sha256" else c[k][:12] for k in columns] for c in cards])


@models.command("show")
def show_model(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Show a model's card."""
    folder = model_folder(model)
    if as_json:
        show_json(_card(folder))
    else:
        typer.echo((folder / "README.md").read_text(encoding="utf-8"))


def _installed() -> list[Path]:
    from inference.model_folder import SHIPPED_MODELS

    return sorted(card.parent for card in SHIPPED_MODELS.glob("*/model.json"))


def _card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return card


def model_folder(model: str) -> Path:
    """The folder of a model by the name of one that ships, or by its path."""
    named = {folder.name: folder for folder in _installed()}
    if model in named:
        return named[model]
    if not (Path(model) / "model.json").is_file():
        stop(f"There is no model {model}: neither installed ({', '.join(named)}) nor a model folder.", REFUSED_INPUT)
    return Path(model)


def read_histories(file: Path) -> tuple[Histories, dict[str, Truth] | None]:
    """Histories and, where it lies beside them, the latent truth of simulated ones."""
    from longitudinal.histories import decode, decode_truth

    truth_file = file.with_suffix(f".truth{file.suffix}")
    truth = decode_truth(truth_file.read_bytes()).truth if truth_file.is_file() else None
    return decode(file.read_bytes()), dict(truth) if truth else None


def _show_metrics(report: dict[str, Any], title: str) -> None:
    horizons = {name: part for name, part in report["summary"].items() if isinstance(part, dict)}
    rows = [
        [
            name,
            _number(part["floor_mae_ml"]),
            _number(part["mae_last_value_ml"]),
            _number(part["mae_prior_ml"]),
            _number(part["mae_ml"]),
            _number(part["crps_ml"]),
            f"{part['coverage']:.1%}",
        ]
        for name, part in horizons.items()
    ]
    columns = ["horizon", "noise floor", "last value MAE", "prior MAE", "model MAE", "model CRPS", "coverage"]
    show_table(f"{title} (ml)", columns, rows)


def _show_claims(report: dict[str, Any]) -> None:
    claims = report.get("acceptance", {}).get("claims", {})
    rows = [
        [name, f"{c['value']:.3g}", c["limit"], "passed" if c["passed"] else f"missed by {c['missed_by']:.3g}"]
        for name, c in claims.items()
    ]
    if rows:
        show_table("Claims on the frozen cohorts", ["claim", "value", "limit", ""], rows)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"

"""`finetune`, `import` and the life of installed forecasters: add, gate, shadow, promote, rollback, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from timepoint.commands.models import DataOption, model_folder, models, read_histories
from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.commands.records import actor
from timepoint.output import say, show_json, show_table

if TYPE_CHECKING:
    from longitudinal.histories import Histories

import_ = typer.Typer(help="Public cohorts as patient_histories.json.", no_args_is_help=True)
OutOption = Annotated[Path, typer.Option("--out", help="patient_histories.json to write.")]
NameArgument = Annotated[str, typer.Argument(help="Name of an installed forecaster.")]
FromOption = Annotated[str, typer.Option("--from", help="Model to start from: a name or a folder.")]


def finetune(
    data: DataOption,
    origin: FromOption = "forecast-1",
    out: Annotated[Path, typer.Option("--out", help="Model folder to write.")] = Path("site-model"),
    name: Annotated[str | None, typer.Option("--name", help="Name of the new model.")] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Bring a forecaster to a site's own patients: prior, head, intervals and the share of the last value."""
    from inference.forecast.model import ForecastModel
    from training.forecast.site_model import finetune as run

    histories, _ = read_histories(data)
    made = run(ForecastModel.load(model_folder(origin)), histories, out, name, seed, say)
    summary = made.report["summary"] if made.report else None
    if as_json:
        show_json({"folder": str(made.folder), "steps": made.steps, "gate_patients": summary})
        return
    show_table("What was done", ["step", "result"], [[k, str(v)] for k, v in made.steps.items()])
    say(f"Model written to {made.folder}. Next: timepoint models add {made.folder}")


@models.command("cross-validate")
def cross_validate(
    model: Annotated[str, typer.Argument(help="Name of a model that ships, or a model folder.")],
    data: DataOption,
    teach: Annotated[
        Path | None, typer.Option("--teach", exists=True, help="Histories that are learnt from and never tested on.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Five folds over patients: every method, and the stack of them, against the last value."""
    from inference.forecast.model import ForecastModel
    from training.forecast.cross_validation import cross_validate as run

    histories, _ = read_histories(data)
    extra = read_histories(teach)[0] if teach else None
    report = run(histories, ForecastModel.load(model_folder(model)), extra, say)
    if as_json:
        show_json(report)
        return
    rows = [
        [name, f"{m['mae_ml']:.2f}", _change(m["mae_relative"]), _change(m["crps_relative"]), f"{m['coverage'][0]:.1%}"]
        for name, m in report["methods"].items()
    ]
    title = f"{report['patients']} patients, {report['windows']} pairs of scans; change against the last value"
    show_table(title, ["method", "MAE ml", "MAE", "CRPS", "coverage"], rows)


def _change(relative: list[float]) -> str:
    value, low, high = (100 * v for v in relative)
    return f"{value:+.0f} % [{low:+.0f}, {high:+.0f}]"


@models.command("add")
def add(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)], config: ConfigOption = None) -> None:
    """Install a forecaster's folder; it is not used before it is promoted."""
    gateway = gateway_from(config)
    from gateway.forecast_models import install

    row = install(gateway, folder, actor())
    typer.echo(f"Installed {row.name} {row.version}. Next: timepoint models gate {row.name} --data FILE")


@models.command("gate")
def gate(
    challenger: NameArgument,
    data: DataOption,
    config: ConfigOption = None,
    champion: Annotated[str | None, typer.Option("--champion", help="Default: the one in use.")] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", exists=True, help="Simulated histories, say of MIX-REF-1.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold an installed forecaster against the one in use; the report is kept and counts in the next test."""
    gateway = gateway_from(config)
    from gateway import forecast_models
    from gateway.database import read_scope
    from training.forecast.gate import judge

    with read_scope(gateway.database) as session:
        before = forecast_models.tests_so_far(session)
        in_use = forecast_models.active(session)
        ours = forecast_models.folder_of(session, challenger)
    theirs = model_folder(champion) if champion else Path(in_use.folder) if in_use else model_folder("forecast-1")
    simulated = read_histories(reference)[0] if reference else None
    report = judge(theirs, ours, read_histories(data)[0], simulated, before)
    forecast_models.record_gate(gateway, challenger, report, actor())
    if as_json:
        show_json(report)
        return
    typer.echo(f"Verdict: {report['verdict']} (at {report['confidence']:.1%} confidence)")
    for reason in report["reasons"]:
        typer.echo(f"  {reason}")
    for baseline in report["better_baselines"]:
        typer.echo(f"  note: {baseline} has a lower CRPS than both")


@models.command("shadow")
def shadow(challenger: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Run an installed forecaster beside the one in use, on every outcome since it was installed."""
    gateway = gateway_from(config)
    from gateway.forecast_watch import shadow as run

    report = run(gateway, challenger)
    if as_json:
        show_json(report)
        return
    rows = [[who, f"{report[who]['mae_ml']}", f"{report[who]['coverage']}"] for who in ("champion", "challenger")]
    show_table(f"{report['outcomes']} outcomes", ["forecaster", "MAE ml", "coverage"], rows)


@models.command("promote")
def promote(challenger: NameArgument, config: ConfigOption = None) -> None:
    """Put an installed forecaster into use, after a passed gate and a shadow run of 30 outcomes."""
    gateway = gateway_from(config)
    from gateway.forecast_models import promote as run
    from gateway.forecast_watch import shadow as beside

    row = run(gateway, challenger, actor(), beside(gateway, challenger)["outcomes"])
    typer.echo(f"{row.name} {row.version} is in use. To go back: timepoint models rollback")


@models.command("rollback")
def rollback(config: ConfigOption = None) -> None:
    """Go back to the forecaster that was in use before."""
    gateway = gateway_from(config)
    from gateway.forecast_models import rollback as run

    typer.echo(f"In use again: {run(gateway, actor())}.")


@models.command("status")
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the forecaster in use, those installed, and live coverage and alarms."""
    gateway = gateway_from(config)
    from gateway.forecast_watch import status as run

    found = run(gateway)
    if as_json:
        show_json(found)
        return
    typer.echo(f"In use: {found['in_use']}")
    rows = [
        [n, str(w["outcomes"]), f"{w['coverage']:.0%}", "; ".join(w["alarms"]) or "none"]
        for n, w in found["live"].items()
    ]
    show_table("Live", ["model", "outcomes", "coverage of the last 50", "alarms"], rows)


@import_.command("mu-glioma-post")
def import_mu_glioma_post(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    out: OutOption = Path("patient_histories.json"),
    target: Annotated[
        Literal["by-type", "whole"], typer.Option("--target", help="Which volume is followed.")
    ] = "by-type",
    inferred: Annotated[
        bool, typer.Option("--inferred", help="Also patients whose scans are dated by the order of rows.")
    ] = False,
) -> None:
    """MU-Glioma-Post (TCIA): the folder with its two workbooks."""
    from training.cohorts.mu_glioma_post import read_mu_glioma_post

    _write(read_mu_glioma_post(folder, target, inferred), out)


@import_.command("lesions")
def import_lesions(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], out: OutOption = Path("patient_histories.json")
) -> None:
    """A table of lesions (Pt_hashID, T_days, Lesion_vol in mm3), as of Laleh et al. 2022."""
    from training.cohorts.lesions import read_lesions

    _write(read_lesions(file), out)


@import_.command("lumiere")
def import_lumiere(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    out: OutOption = Path("patient_histories.json"),
) -> None:
    """Tables in the layout of LUMIERE: Patient, Date (week-044-1) and volumes in mm3."""
    from training.cohorts.lumiere import read_lumiere

    _write(read_lumiere(folder), out)


def _write(histories: Histories, out: Path) -> None:
    from longitudinal.histories import encode

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(encode(histories))
    say(f"{len(histories.patients)} patients, {sum(len(p.scans) for p in histories.patients)} scans written to {out}.")

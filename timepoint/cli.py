"""The command line. Importing this module must stay cheap: no torch, no MONAI, no DICOM."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from timepoint import __version__
from timepoint.commands import (
    clinical,
    demo,
    identity,
    maintenance,
    model_life,
    models,
    priors,
    records,
    releases,
    service,
    storage,
    study_rules,
    tools,
    vault,
)

app = typer.Typer(
    name="timepoint",
    help="Follow brain tumours over time: PACS in, SEG + SR + FHIR out, one longitudinal record per patient.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"timepoint {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (
    demo.demo,
    service.serve,
    service.receive,
    service.work,
    service.web,
    service.hl7,
    service.doctor,
    tools.deidentify,
    tools.segment,
    maintenance.export,
    models.train,
    models.evaluate,
    models.compare,
    model_life.finetune,
):
    app.command()(_command)
for _group, _name in (
    (study_rules.studies, "studies"),
    (records.patients, "patients"),
    (records.quarantine, "quarantine"),
    (priors.priors, "priors"),
    (releases.releases, "releases"),
    (records.jobs, "jobs"),
    (tools.simulate, "simulate"),
    (models.models, "models"),
    (model_life.import_, "import"),
    (maintenance.db, "db"),
    (storage.storage, "storage"),
    (vault.vault, "vault"),
):
    app.add_typer(_group, name=_name)

identity.add_to(records.patients, records.studies)
clinical.add_to(records.patients)


def main() -> None:
    """Run the command line; an error that a user can mend is a sentence and an exit code, never a traceback."""
    try:
        app()
    except Exception as error:
        sentence, code = _explained(error)
        if sentence is None:
            raise
        typer.echo(sentence, err=True)
        sys.exit(code)


def _explained(error: Exception) -> tuple[str | None, int]:
    """The sentence and exit code for an error of ours; None for one that nobody foresaw."""
    module = type(error).__module__
    if module == "gateway.errors":
        from gateway.errors import SettingsError, TimepointError, Unreadable

        codes: dict[type[Exception], int] = {Unreadable: 3, SettingsError: 2}
        if isinstance(error, TimepointError):
            return error.explanation, codes.get(type(error), 1)
    if module.startswith(("inference.", "deidentify.", "longitudinal.", "training.", "timepoint_fhir.")):
        refused = module.startswith(("inference.", "deidentify.", "longitudinal."))
        return str(error) or type(error).__name__, 3 if refused else 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror or 'Cannot be used'}: {error.filename}", 1
    return None, 1

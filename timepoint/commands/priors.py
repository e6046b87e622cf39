"""`priors`: earlier studies of patients that were fetched from the archive."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.output import show_json, show_table

priors = typer.Typer(help="Earlier studies that were fetched from the archive.", no_args_is_help=True)
PatientArgument = Annotated[str, typer.Argument(metavar="PATIENT", help="Patient key.")]
_SEARCH_COLUMNS = ("patient_key", "state", "counts", "problem", "since")
_STUDY_COLUMNS = ("acquired", "state", "arrived_images", "expected_images", "attempts", "study_key", "problem")


@priors.command("list")
def list_searches(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the patients whose earlier studies were searched for, the newest first."""
    gateway = gateway_from(config)
    from gateway.database import read_scope
    from gateway.prior_operations import list_searches as look

    with read_scope(gateway.database) as session:
        lines = look(session)
    if as_json:
        show_json(lines)
        return
    rows = [[_counted(line["counts"]) if c == "counts" else line[c] for c in _SEARCH_COLUMNS] for line in lines]
    show_table("Searches for priors", _SEARCH_COLUMNS, rows)


@priors.command("show")
def show_search(patient: PatientArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what was found, asked for and has arrived of a patient's earlier studies."""
    gateway = gateway_from(config)
    from gateway.database import read_scope
    from gateway.prior_operations import show_search as look

    with read_scope(gateway.database) as session:
        found = look(session, patient)
    if as_json:
        show_json(found)
        return
    title = f"Priors of {patient}: {found['state']}; {_counted(found['counts'])}"
    show_table(title, _STUDY_COLUMNS, [[study[c] for c in _STUDY_COLUMNS] for study in found["studies"]])


@priors.command("ask")
def ask(patient: PatientArgument, config: ConfigOption = None) -> None:
    """Ask the archive now; what did not arrive is fetched again."""
    gateway = gateway_from(config)
    from gateway.prior_operations import ask_for_priors

    typer.echo(ask_for_priors(gateway, patient, f"cli:{getpass.getuser()}"))


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items())

"""Whose is it: `patients find|merge|unmerge` and `studies move`."""

from __future__ import annotations

from typing import Annotated

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.commands.records import actor
from timepoint.output import WRONG_USE, show_json, show_table, stop

IssuerOption = Annotated[str, typer.Option("--issuer", help="Issuer of the patient ID.")]


def add_to(patients: typer.Typer, studies: typer.Typer) -> None:
    """Add these commands to the groups they belong to."""
    patients.command("find")(find_patient)
    patients.command("merge")(merge_patients)
    patients.command("unmerge")(unmerge_patients)
    studies.command("move")(move_study)


def find_patient(
    patient_id: Annotated[str, typer.Argument(help="Patient ID as the images state it.")],
    issuer: IssuerOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the record behind a patient ID; without --issuer under every issuer."""
    gateway = gateway_from(config)
    from gateway.identity_operations import find_patients

    found = find_patients(gateway, patient_id, issuer, actor())
    if as_json:
        show_json(found)
    else:
        columns = ("patient_key", "issuer", "merged_into", "studies")
        show_table("Records of this patient ID", columns, [[line[c] for c in columns] for line in found])


def merge_patients(
    surviving: Annotated[str, typer.Argument(help="Key of the record that stays.")],
    retired: Annotated[str, typer.Argument(help="Key of the record that becomes part of it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one record of two of the same person; results that change are published again."""
    gateway = gateway_from(config)
    from gateway.identity_operations import merge_patients as act

    done = act(gateway, surviving, retired, actor())
    if as_json:
        show_json({"changed": done.changed, "studies": list(done.studies)})
    elif done.changed:
        typer.echo(f"Merged: {len(done.studies)} studies come to {surviving}. `patients unmerge {retired}` undoes it.")
    else:
        typer.echo("They are one record already.")


def unmerge_patients(
    retired: Annotated[str, typer.Argument(help="Key of the record to take out again.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a merge: both records are as they were; what was sent out about the wrong person is taken back."""
    gateway = gateway_from(config)
    from gateway.identity_operations import unmerge_patients as act

    done = act(gateway, retired, actor())
    if as_json:
        show_json({"changed": done.changed, "studies": list(done.studies)})
    elif done.changed:
        typer.echo(f"Unmerged: {len(done.studies)} studies go back to {retired} or where their identifier says.")
    else:
        typer.echo("It was unmerged already.")


def move_study(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study key or Study Instance UID.")],
    to: Annotated[str, typer.Option("--to", help="Key of the right patient's record.")] = "",
    patient_id: Annotated[str, typer.Option("--patient-id", help="Or the right patient's ID.")] = "",
    issuer: IssuerOption = "",
    back: Annotated[bool, typer.Option("--back", help="Take the decision back: its images say whose it is.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a study to another patient; what was sent out about the wrong one is taken back."""
    if sum(map(bool, (to, patient_id, back))) != 1:
        stop("Give one of --to, --patient-id (with --issuer) and --back.", WRONG_USE)
    gateway = gateway_from(config)
    from gateway.identity_operations import move_study as act
    from gateway.identity_operations import record_of

    target = None if back else to or record_of(gateway, patient_id, issuer)
    done = act(gateway, study, target, actor())
    if as_json:
        show_json({"changed": done.changed, "studies": list(done.studies)})
    else:
        typer.echo("Moved; its results are made again." if done.studies else "It is there already.")

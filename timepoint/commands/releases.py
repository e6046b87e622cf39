"""`releases`: the ledger of what left, its check, and what is to be recalled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.output import FAILED, REFUSED_INPUT, say, show_json, show_table

releases = typer.Typer(help="Histories that left, and what of them is to be recalled.", no_args_is_help=True)


@releases.command("list")
def list_releases(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the releases, the newest first, after checking that the ledger was not changed."""
    gateway = gateway_from(config)
    from gateway import release_ledger
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        release_ledger.verify(session)
        recalled = {recall.export_key for recall in release_ledger.recalls(session)}
        lines = [
            {
                "number": link.number,
                "ledger_id": link.export_key,
                "created": ledger.created_at.isoformat(timespec="seconds"),
                "patients": ledger.counts["patients"],
                "k": link.statement["rules"]["k"],
                "sha256": ledger.sha256,
                "recalled": link.export_key in recalled,
            }
            for link, ledger in release_ledger.releases(session)
        ]
    if as_json:
        show_json(lines)
    else:
        columns = ("number", "ledger_id", "created", "patients", "k", "recalled")
        show_table("Releases", columns, [[line[c] for c in columns] for line in lines])


@releases.command("recalled")
def recalled_releases(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the releases that hold a patient who withdrew, with the ids to delete at the recipients."""
    gateway = gateway_from(config)
    from gateway import release_ledger
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        lines = [recall.as_json() for recall in release_ledger.recalls(session)]
    if as_json:
        show_json(lines)
    else:
        columns = ("ledger_id", "sha256", "pids")
        show_table("To be recalled", columns, [[line[c] for c in columns] for line in lines])


@releases.command("check")
def check_release(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `timepoint export` wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Check an export by its files alone: k, rounding, no dates, counts, hash. Exit 1 when anything is wrong."""
    from gateway.export import check_folder

    if not folder.is_dir():
        typer.echo(f"{folder} is no folder.", err=True)
        raise typer.Exit(REFUSED_INPUT)
    problems = check_folder(folder)
    if as_json:
        show_json({"problems": problems})
    elif problems:
        show_table("What is wrong", ["problem"], [[problem] for problem in problems])
    else:
        say("Nothing is wrong with this export.")
    if problems:
        raise typer.Exit(FAILED)

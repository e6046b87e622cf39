"""`export` and `db`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from timepoint.commands.options import ConfigOption, JsonOption, SinceOption, day_of, gateway_from, settings_from
from timepoint.output import FAILED, say, show_json, stop

db = typer.Typer(help="Database care.", no_args_is_help=True)


def export(
    out: Annotated[Path, typer.Option("--out", help="New folder to write.")],
    since: SinceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the anonymised histories of all patients who have not opted out, with a manifest."""
    gateway = gateway_from(config)
    from gateway.export import export_histories

    try:
        summary = export_histories(gateway, out.absolute(), day_of(since))
    except FileExistsError:
        stop(f"{out} exists already: an export never changes an earlier one.", FAILED)
    if as_json:
        show_json(
            {"folder": str(summary.folder), "ledger_id": summary.ledger_key, "sha256": summary.sha256, **summary.counts}
        )
    else:
        say(f"{summary.counts['patients']} histories written to {summary.folder}, ledger entry {summary.ledger_key}.")


@db.command("upgrade")
def upgrade(config: ConfigOption = None) -> None:
    """Bring the database to the schema of this program."""
    settings = settings_from(config)
    from gateway import database

    database.upgrade(database.open_database(settings.database.url, settings.database.password_file))
    say("The database has the schema of this program.")


@db.command("verify-audit")
def verify_audit(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the hash chain of the audit trail."""
    gateway = gateway_from(config)
    from gateway.audit import verify
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        links = verify(session)
    if as_json:
        show_json({"links": links, "intact": True})
    else:
        say(f"The audit trail is intact: {links} links.")

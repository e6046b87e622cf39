"""`storage`: what retention would delete or deletes, and files without rows and rows without files."""

from __future__ import annotations

from typing import Annotated

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.commands.records import actor
from timepoint.output import FAILED, say, show_json, show_table

storage = typer.Typer(help="What is kept, for how long, and what has no owner.", no_args_is_help=True)


@storage.command("expire")
def expire(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go, and why.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what has been kept for the days of [retention] and is needed no more; --dry-run first."""
    gateway = gateway_from(config)
    from gateway.retention import apply
    from gateway.retention_plan import days_of, plan

    removals = plan(gateway) if dry_run else apply(gateway, actor())
    freed_mb = sum(r.size_bytes for r in removals) / 2**20
    if as_json:
        days = {kind.value: kept for kind, kept in days_of(gateway.settings).items()}
        show_json({"dry_run": dry_run, "days": days, "removals": [r.as_json() for r in removals]})
        return
    columns = ("class", "study", "objects", "MB", "what", "why")
    rows = [
        [r.data_class.value, r.study_key or None, r.objects, f"{r.size_bytes / 2**20:.1f}", r.where or None, r.why]
        for r in removals
    ]
    show_table("Would be deleted" if dry_run else "Deleted", columns, rows)
    say(f"{freed_mb:.1f} MB {'would be' if dry_run else 'were'} freed.")


@storage.command("orphans")
def orphans(
    config: ConfigOption = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete files that no row knows, once they are older than the grace time.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show files that no row knows and rows whose file is gone; exit 1 when a row has lost its file."""
    gateway = gateway_from(config)
    from gateway.orphans import delete_strays, find_orphans

    found = find_orphans(gateway)
    grace = gateway.settings.retention.orphan_grace_hours
    deleted = delete_strays(gateway, found, grace, actor()) if delete else []
    if as_json:
        show_json({**found.as_json(), "grace_hours": grace, "deleted": [s.name for s in deleted]})
    else:
        gone = {(s.area, s.name) for s in deleted}
        rows = [
            [s.area, s.name[:60], f"{s.size_bytes / 2**20:.1f}", f"{s.age_hours:.1f}",
             "deleted" if (s.area, s.name) in gone else "young" if s.age_hours < grace else "can be deleted"]
            for s in found.stray
        ]  # fmt: skip
        show_table("Files that no row knows", ("area", "name", "MB", "age h", ""), rows)
        lost = [[f.area, f.name[:60], f.needed_for, f.study_key] for f in found.lost]
        show_table("Rows whose file is gone", ("area", "name", "needed for", "study"), lost)
    if found.lost:
        raise typer.Exit(FAILED)

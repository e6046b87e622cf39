"""`vault`: who is behind a pseudonym, and the keys that make and hide it."""

from __future__ import annotations

from typing import Annotated

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.output import WRONG_USE, say, show_json, show_table, stop

vault = typer.Typer(help="Who is behind a pseudonym, and the keys of it. Every act is audited.", no_args_is_help=True)
_ACTOR = "command-line"


@vault.command("status")
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Keys in use and rows by key version; no values."""
    from gateway.vault import status as read

    found = read(gateway_from(config))
    if as_json:
        show_json(found)
        return
    rows = [[key, str(n.get("person", 0)), str(n.get("study", 0))] for key, n in sorted(found["versions"].items())]
    show_table(
        f"De-identification key {found['key']}, vault key {found['vault_key']}", ["key", "persons", "studies"], rows
    )


@vault.command("reidentify")
def reidentify(
    pseudonym: Annotated[str, typer.Argument(help="Pseudonym, or Study Instance UID of a de-identified study.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit trail.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look up whom a pseudonym stands for."""
    if not reason.strip():
        stop("--reason is needed: every look-up stays in the audit trail with its reason.", WRONG_USE)
    from gateway.vault import reidentify as look_up

    found = look_up(gateway_from(config), pseudonym, _ACTOR, reason)
    if as_json:
        show_json([
            {"patient_key": f.patient_key, "key_id": f.key_id, "kind": f.kind,
             "study_instance_uid": f.study_instance_uid,
             "identifiers": [{"patient_id": i, "issuer": issuer} for i, issuer in f.identifiers]}
            for f in found
        ])  # fmt: skip
        return
    rows = [
        [f.patient_key, f.key_id, ", ".join(f"{i} ({u})" for i, u in f.identifiers), f.study_instance_uid]
        for f in found
    ]
    show_table("Looked up; the audit trail says so", ["record", "key", "patient IDs (issuer)", "study"], rows)


@vault.command("reseal")
def reseal(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Encrypt the vault with a new key. Pseudonyms stay."""
    from gateway.vault import reseal as run

    count = run(gateway_from(config), _ACTOR)
    if as_json:
        show_json({"rows": count})
    else:
        say(f"{count} rows sealed with a new key. Back up the new vault key file; the former one opens nothing now.")


@vault.command("rotate")
def rotate(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make a new de-identification key: what is de-identified from now on has new pseudonyms, UIDs and date shifts."""
    from gateway.vault import rotate as run

    former, made = run(gateway_from(config), _ACTOR)
    if as_json:
        show_json({"former": former, "key_id": made})
    else:
        say(f"Key {made} is in use, {former} is kept for its releases. Back up both; restart the gateway.")


@vault.command("destroy")
def destroy(
    key_id: Annotated[str, typer.Argument(help="Id of a key that was rotated out.")],
    sure: Annotated[bool, typer.Option("--yes", help="I know that this cannot be undone.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy a former de-identification key and its rows: nobody can resolve its releases any more."""
    if not sure:
        stop("This cannot be undone; say --yes. Copies of the key in backups must be destroyed as well.", WRONG_USE)
    from gateway.vault import destroy as run

    count = run(gateway_from(config), key_id, _ACTOR)
    if as_json:
        show_json({"key_id": key_id, "rows": count})
    else:
        say(f"Key {key_id} and {count} rows of the vault are destroyed. Destroy the copies in backups as well.")

"""`serve`, the single roles, and `doctor`."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from timepoint.commands.options import ConfigOption, JsonOption, settings_from
from timepoint.output import FAILED, WRONG_USE, show_json, show_table, stop

SupervisedOption = Annotated[bool, typer.Option("--supervised", hidden=True, help="End when standard input closes.")]
_MARKS = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]", "failure": "[red]FAILURE[/red]"}


def serve(
    config: ConfigOption = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show the effective configuration.")] = False,
) -> None:
    """Run all roles on this machine. Ctrl-C or SIGTERM drains and stops."""
    settings = settings_from(config)
    if print_config:
        show_json(settings.printable())
        return
    from gateway.context import open_gateway
    from gateway.heartbeat import forget_the_dead
    from gateway.roles import until_told_to_stop
    from gateway.supervisor import ROLES, run_all_roles

    gateway = open_gateway(settings)  # schema and signs of life are put in order once, before the roles start
    forget_the_dead(gateway, "receive")
    gateway.database.dispose()
    with until_told_to_stop(supervised=False) as told:
        run_all_roles(config, told, (*ROLES, "hl7") if settings.hl7.enabled else ROLES)


def receive(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Receive studies over DICOM."""
    settings = settings_from(config)
    from gateway.roles import run_receive

    run_receive(settings, supervised)


def work(
    config: ConfigOption = None,
    queues: Annotated[
        str, typer.Option("--queues", help="Which queues to work on: patient, gpu or both.")
    ] = "patient,gpu",
    supervised: SupervisedOption = False,
) -> None:
    """Run the jobs of studies and deliver their results."""
    names = [name.strip() for name in queues.split(",") if name.strip()]
    if not names or set(names) - {"patient", "gpu"}:
        stop("--queues takes patient, gpu or patient,gpu.", WRONG_USE)
    settings = settings_from(config)
    from gateway.engine import QueueName
    from gateway.roles import run_work

    run_work(settings, [cast(QueueName, n) for n in names], supervised)


def web(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Serve the HTTP API and the web pages."""
    settings = settings_from(config)
    from gateway.api.server import run_web

    run_web(settings, supervised)


def hl7(config: ConfigOption = None, supervised: SupervisedOption = False) -> None:
    """Listen for HL7 v2 messages about patients (ADT over MLLP)."""
    settings = settings_from(config)
    from gateway.hl7.role import run_hl7

    run_hl7(settings, supervised)


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check this site: configuration, database, disk, models, DICOM, FHIR; print what to ask the PACS for."""
    settings = settings_from(config)
    from gateway.doctor import Health, examine, pacs_settings

    findings = examine(settings)
    advice = pacs_settings(settings)
    if as_json:
        show_json(
            {
                "findings": [{**vars(f), "health": f.health.value} for f in findings],
                "healthy": all(f.health is not Health.FAILURE for f in findings),
                "pacs_settings": advice,
            }
        )
    else:
        rows = [
            (f.check, _MARKS[f.health.value], f.detail, f.remedy if f.health is not Health.OK else "") for f in findings
        ]
        show_table("Timepoint doctor", ["check", "", "found", "what to do"], rows)
        for line in ["", "Settings to ask for at the PACS:", *(f"  - {line}" for line in advice)]:
            typer.echo(line)
    if any(f.health is Health.FAILURE for f in findings):
        raise typer.Exit(FAILED)

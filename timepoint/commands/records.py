"""`studies`, `patients`, `quarantine` and `jobs`: what the pages show and do, on the command line."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from, settings_from
from timepoint.output import WRONG_USE, show_json, show_table, stop

if TYPE_CHECKING:
    from gateway.engine import JobQueue

studies = typer.Typer(help="Studies and how far they have come.", no_args_is_help=True)
patients = typer.Typer(help="Patients and their records.", no_args_is_help=True)
quarantine = typer.Typer(help="What waits for a person's decision.", no_args_is_help=True)
jobs = typer.Typer(help="Jobs of the workflow engine.", no_args_is_help=True)

StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="Study key or Study Instance UID.")]
PatientArgument = Annotated[str, typer.Argument(metavar="PATIENT", help="Patient key.")]
_RECALLS = ("ledger id", "sha256", "ids to delete")
_STUDY_COLUMNS = ("study_key", "patient_key", "acquired", "state", "revision", "instances", "reason")


def actor() -> str:
    """Who acts, for the audit trail."""
    return f"cli:{getpass.getuser()}"


def _show(lines: Sequence[dict[str, Any]], columns: Sequence[str], title: str, as_json: bool) -> None:
    if as_json:
        show_json(list(lines))
    else:
        show_table(title, columns, [[line[c] for c in columns] for line in lines])


@studies.command("list")
def list_studies(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    state: Annotated[str | None, typer.Option("--state", help="Only studies in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 200,
) -> None:
    """List studies, the newest arrival first."""
    gateway = gateway_from(config)
    from gateway import overview
    from gateway.database import read_scope
    from gateway.tables import StudyState

    if state is not None and state not in list(StudyState):
        stop(f"There is no state {state!r}; states are {', '.join(StudyState)}.", WRONG_USE)
    with read_scope(gateway.database) as session:
        lines = overview.list_studies(session, StudyState(state) if state else None, limit)
    _show(lines, _STUDY_COLUMNS, "Studies", as_json)


@studies.command("show")
def show_study(study: StudyArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a study: evidence, result, deliveries, what waits for a decision."""
    gateway = gateway_from(config)
    from gateway import overview
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        found = overview.show_study(session, study)
    if as_json:
        show_json(found)
        return
    show_table(f"Study {found['study_key']}", ["", ""], [[k, found[k]] for k in (*_STUDY_COLUMNS[1:], "last_arrival")])
    if found["result"]:
        rows = [[lesion["tracking_id"], lesion["response"], *_volumes(lesion)] for lesion in found["result"]["lesions"]]
        show_table("AI result - not verified", ["lesion", "response", "whole ml", "core ml", "enhancing ml"], rows)
    columns = ("destination", "object", "revision", "state", "attempts", "error")
    show_table("Deliveries", columns, [[d[c] for c in columns] for d in found["deliveries"]])
    for item in found["quarantine"]:
        typer.echo(f"waits: {item['key']}: {item['reason']} {item['remedy']}")


def _volumes(lesion: dict[str, Any]) -> list[str]:
    measured = lesion["measurement"]
    return [f"{measured['volumes_ml'][r]:.1f}" if measured else "0.0" for r in ("whole", "core", "enhancing")]


@studies.command("complete")
def complete_study(study: StudyArgument, config: ConfigOption = None) -> None:
    """Close a study as it is, on your word."""
    gateway = gateway_from(config)
    from gateway.operations import complete

    typer.echo(f"Closed as revision {complete(gateway, study, actor())}.")


@studies.command("replay")
def replay_study(study: StudyArgument, config: ConfigOption = None) -> None:
    """Try again what failed: deliveries that were given up, else the whole way."""
    gateway = gateway_from(config)
    from gateway.operations import replay_study as act

    typer.echo(act(gateway, study, actor()))


@patients.command("list")
def list_patients(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List patients."""
    gateway = gateway_from(config)
    from gateway import overview
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        lines = overview.list_patients(session)
    columns = ("patient_key", "tumour_type", "time_points", "first", "last", "opted_out", "merged")
    _show(lines, columns, "Patients", as_json)


@patients.command("show")
def show_patient(patient: PatientArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the record of a patient, study by study."""
    gateway = gateway_from(config)
    from gateway import overview
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        found = overview.show_patient(session, patient)
    if as_json:
        show_json(found)
        return
    rows = []
    for entry in found["studies"]:
        result = entry["result"]
        for lesion in result["lesions"] if result else []:
            context = result["timepoint"]
            rows.append(
                [context["order"], context["acquired"], lesion["tracking_id"], *_volumes(lesion), lesion["response"]]
            )
    if found["merged_into"]:
        typer.echo(f"This record is part of {found['merged_into']}.")
    elif found["merged"]:
        typer.echo(f"Merged into this record: {', '.join(found['merged'])}.")
    columns = ["#", "acquired", "lesion", "whole ml", "core ml", "enhancing ml", "response"]
    show_table(f"Patient {patient} - AI results, not verified", columns, rows)


@patients.command("opt-out")
def opt_out(
    patient: PatientArgument,
    config: ConfigOption = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let the patient into exports again.")] = False,
) -> None:
    """Keep a patient's history out of every future export, and tell which past ones are to be recalled."""
    gateway = gateway_from(config)
    from gateway.operations import opt_out as act

    recalled = act(gateway, patient, actor(), out=not undo)
    typer.echo("Opted in again." if undo else "Opted out of every future export.")
    if recalled:
        show_releases = [[r.export_key, r.sha256, ", ".join(r.pids)] for r in recalled]
        show_table("Releases to recall; one without the patient is queued", _RECALLS, show_releases)


@patients.command("set-type")
def set_type(
    patient: PatientArgument,
    tumour_type: Annotated[str, typer.Argument(help="GBM, ASTRO, OLIGO, MENING, BM or OTHER.")],
    config: ConfigOption = None,
) -> None:
    """State the tumour type: it decides which region is followed; results that change are published again."""
    gateway = gateway_from(config)
    from gateway.operations import set_tumour_type
    from longitudinal.types import TumourType

    if tumour_type not in list(TumourType):
        stop(f"There is no tumour type {tumour_type!r}; types are {', '.join(TumourType)}.", WRONG_USE)
    set_tumour_type(gateway, patient, TumourType(tumour_type), actor())
    typer.echo(f"Tumour type is {tumour_type}.")


@quarantine.command("list")
def list_quarantine(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    kind: Annotated[str | None, typer.Option("--kind", help="Only items of this kind.")] = None,
) -> None:
    """List what waits for a decision, the oldest first."""
    gateway = gateway_from(config)
    from gateway.database import read_scope
    from gateway.quarantine import list_open
    from gateway.tables import QuarantineKind

    if kind is not None and kind not in list(QuarantineKind):
        stop(f"There is no kind {kind!r}; kinds are {', '.join(QuarantineKind)}.", WRONG_USE)
    with read_scope(gateway.database) as session:
        lines = [_item(row) for row in list_open(session, kind=QuarantineKind(kind) if kind else None)]
    _show(lines, ("key", "kind", "study_key", "reason", "remedy"), "Quarantine", as_json)


@quarantine.command("show")
def show_quarantine(
    key: Annotated[str, typer.Argument(help="Key of the item.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one item; one about identity with the patient values to compare."""
    gateway = gateway_from(config)
    from gateway.database import read_scope
    from gateway.identity_operations import show_decision
    from gateway.quarantine import show

    compared = show_decision(gateway, key, actor())
    with read_scope(gateway.database) as session:
        item = {**_item(show(session, key)), "compared": compared}
    if as_json:
        show_json(item)
    else:
        show_table(f"Quarantine {key}", ["", ""], [[k, v] for k, v in item.items()])


@quarantine.command("resolve")
def resolve_quarantine(
    key: Annotated[str, typer.Argument(help="Key of the item.")],
    decision: Annotated[
        str,
        typer.Option(
            "--as",
            help="complete: go on with the study as it is; release: it belongs there after all, look again; replace: "
            "take the new copy; assign: give the study a patient; merge: both records are one person; discard: leave "
            "it out (its bytes stay kept).",
        ),
    ],
    patient_id: Annotated[str, typer.Option("--patient-id", help="assign: the patient ID.")] = "",
    issuer: Annotated[str, typer.Option("--issuer", help="assign: the issuer of the patient ID.")] = "",
    config: ConfigOption = None,
) -> None:
    """Decide on an item."""
    gateway = gateway_from(config)
    from gateway.operations import complete_item, resolve_item
    from gateway.quarantine_decisions import Action, Decision

    if decision == "complete":
        typer.echo(f"The study goes on as revision {complete_item(gateway, key, actor())}.")
        return
    if decision not in list(Action):
        stop(f"--as takes complete, {', '.join(Action)}.", WRONG_USE)
    if decision == Action.ASSIGN and not patient_id:
        stop("--as assign needs --patient-id.", WRONG_USE)
    resolve_item(gateway, key, Decision(Action(decision), actor(), patient_id, issuer))
    typer.echo(f"Settled: {decision}.")


def _item(row: Any) -> dict[str, Any]:
    return {
        "key": row.quarantine_key,
        "kind": row.kind.value,
        "study_key": row.study_key,
        "reason": row.reason,
        "remedy": row.remedy,
        "since": row.created_at.isoformat(timespec="seconds"),
        "resolution": row.resolution or None,
    }


@jobs.command("list")
def list_jobs(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the newest jobs."""
    with _queue(config) as queue:
        lines = [asdict(job) for job in queue.jobs()]
    _show(lines, ("job_id", "kind", "state", "error"), "Jobs", as_json)


@jobs.command("cancel")
def cancel_job(job: Annotated[str, typer.Argument(help="Job id.")], config: ConfigOption = None) -> None:
    """Cancel a job; it ends at its next step."""
    with _queue(config) as queue:
        queue.cancel(job)
    typer.echo("Cancelled.")


@jobs.command("retry")
def retry_job(job: Annotated[str, typer.Argument(help="Job id.")], config: ConfigOption = None) -> None:
    """Run an ended job again from its start."""
    with _queue(config) as queue:
        queue.retry(job)
    typer.echo("Queued again.")


@contextmanager
def _queue(config: Path | None) -> Iterator[JobQueue]:
    """The engine's queue of the configured gateway, closed at the end."""
    from gateway.engine_dbos import DbosQueue

    queue = DbosQueue(settings_from(config).engine.url)
    try:
        yield queue
    finally:
        queue.close()

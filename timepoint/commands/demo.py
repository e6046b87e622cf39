"""`timepoint demo`: the whole way on this machine, with a table and pictures at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timepoint.output import FAILED, REFUSED_INPUT, progress, say, show_json, show_table, stop

if TYPE_CHECKING:
    from timepoint.demonstration import Demonstration

_OWN = "summary.json"


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("demo-output"),
    patients: Annotated[int, typer.Option("--patients", min=1, help="Simulated patients.")] = 2,
    timepoints: Annotated[int, typer.Option("--timepoints", min=1, help="Studies of each.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 1,
    source: Annotated[Path | None, typer.Option("--input", help="Send the studies of this folder instead.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Leave the web page up until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of the table.")] = False,
) -> None:
    """Send studies through a gateway of its own: PACS in, SEG, SR and FHIR out, history updated. Results are AI."""
    from timepoint.demo_report import write_report
    from timepoint.demonstration import DemoFailed, run_demonstration, running_demo_site, send_order, write_summary

    out = out.absolute()
    _empty(out)
    with progress() as shown:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        try:
            truth: dict[str, Any] = {}
            if source is None:
                truth = _simulate(out / "studies", patients, timepoints, seed, report)
                source = out / "studies"
            studies = send_order(source)
        except DemoFailed as error:
            stop(f"{error}.", REFUSED_INPUT)
        with running_demo_site(out) as site:
            try:
                result = run_demonstration(out, studies, truth, site, report)
            except DemoFailed as error:
                stop(f"{error}.", FAILED)
            summary = write_summary(result)
            page = write_report(result)
            shown.stop()
            if as_json:
                show_json(json.loads(summary.read_text(encoding="utf-8")))
            else:
                _show(result)
            say(f"Written to {out}: {summary.name}, {page.name}, pacs/, fhir/, export/patient_histories.json")
            if serve:
                _leave_up(result.web_url)
    if any(entry["state"] != "published" for entry in result.studies):
        raise typer.Exit(FAILED)


def _empty(out: Path) -> None:
    """Make room for a new run; a folder that is not one of ours is left alone."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / _OWN).exists() and not (out / "timepoint.toml").exists():
        stop(f"{out} exists and is no earlier demonstration: choose another folder with --out.", FAILED)
    shutil.rmtree(out)


def _simulate(folder: Path, patients: int, timepoints: int, seed: int, report: Any) -> dict[str, Any]:
    from training.simulate.studies import simulate_studies

    made = simulate_studies(
        patients, timepoints, seed, folder, progress=lambda done, total: report("simulating MR studies", done, total)
    )
    return {truth.study_instance_uid: truth.as_json() for truth in made}


def _show(result: Demonstration) -> None:
    rows = [row for number, entry in enumerate(result.studies, 1) for row in _rows(number, entry)]
    show_table(
        "AI results - not verified by a reader",
        [
            "study",
            "acquired",
            "lesion",
            "volume ml",
            "truth ml",
            "change ml",
            "response",
            "forecast",
            "SEG",
            "SR",
            "FHIR",
        ],
        rows,
    )


def _rows(number: int, entry: dict[str, Any]) -> list[list[Any]]:
    if not entry["lesions"]:
        return [[number, entry["acquired"], entry["reason"] or "no lesion found", *([None] * 8)]]
    rows = []
    for index, lesion in enumerate(entry["lesions"]):
        target = lesion["target"]
        truth = lesion["truth_ml"]
        change = lesion["change_since_previous_ml"]
        first = index == 0
        rows.append(
            [
                number if first else "",
                entry["acquired"] if first else "",
                lesion["tracking_id"],
                f"{lesion['volumes_ml'][target]:.1f} {target}",
                f"{truth[target]:.1f}" if truth else None,
                None if change is None else f"{change:+.1f}" + ("" if lesion["change_reliable"] else " (within error)"),
                lesion["response"],
                _forecast(entry) if first else "",
                _mark(entry["seg_sop_uid"]) if first else "",
                _mark(entry["sr_sop_uid"]) if first else "",
                (len(entry["fhir"]) or None) if first else "",
            ]
        )
    return rows


def _forecast(entry: dict[str, Any]) -> str | None:
    if not entry["forecast"]:
        return entry.get("forecast_abstained")
    p = entry["forecast"][0]
    interval = f"{p['lower_ml']:.1f}-{p['upper_ml']:.1f}"
    return f"+{p['horizon_days']} d: {p['median_ml']:.1f} ({interval}, {p['coverage']:.0%})"


def _mark(uid: str | None) -> str | None:
    return f"..{uid[-6:]}" if uid else None


def _leave_up(url: str) -> None:
    import threading

    say(f"The pages are at {url} - Ctrl-C ends.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        say("Stopping.")

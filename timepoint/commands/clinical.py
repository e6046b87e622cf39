"""What a person states of a patient beside the images: `patients treatments|treat|untreat|facts`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from timepoint.commands.options import ConfigOption, JsonOption, gateway_from
from timepoint.commands.records import PatientArgument, actor
from timepoint.output import WRONG_USE, say, show_json, show_table, stop

_UNKNOWN = "unknown"
_COLUMNS = ("treatment_key", "kind", "start", "stop", "decided", "agent", "extent", "planned", "stated_by")


def add_to(patients: typer.Typer) -> None:
    """Add these commands to their group."""
    patients.command("treatments")(list_treatments)
    patients.command("treat")(add_treatment)
    patients.command("untreat")(take_back_treatment)
    patients.command("facts")(state_facts)


def list_treatments(patient: PatientArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the treatments that were stated for a patient."""
    gateway = gateway_from(config)
    from gateway import clinical_facts
    from gateway.database import read_scope

    with read_scope(gateway.database) as session:
        lines = clinical_facts.list_treatments(session, patient)
    if as_json:
        show_json(lines)
    else:
        show_table("Treatments", _COLUMNS, [[line[c] for c in _COLUMNS] for line in lines])


def add_treatment(
    patient: PatientArgument,
    kind: Annotated[str, typer.Option("--kind", help="surgery, rt, srs, chemo, antiangiogenic, immuno or steroid.")],
    start: Annotated[str, typer.Option("--start", help="First day (YYYY-MM-DD).")],
    last_day: Annotated[str | None, typer.Option("--stop", help="Last day; none while it runs.")] = None,
    decided: Annotated[str | None, typer.Option("--decided", help="Day of the decision; default: the start.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Drug or technique.")] = None,
    extent: Annotated[str | None, typer.Option("--extent", help="Surgery: gtr, str or bx.")] = None,
    planned: Annotated[bool, typer.Option("--planned", help="Decided, not begun.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """State a treatment: it sets baselines and informs the forecast; results that change are published again."""
    gateway = gateway_from(config)
    from gateway.operations import add_treatment as act

    values = {"kind": kind, "start": start, "stop": last_day, "decided": decided}
    key = act(gateway, patient, {**values, "agent": agent, "extent": extent, "planned": planned}, actor())
    if as_json:
        show_json({"treatment_key": key})
    else:
        say(f"Treatment {key} is on record. `patients untreat {key}` takes it back.")


def take_back_treatment(
    treatment: Annotated[str, typer.Argument(metavar="TREATMENT", help="Key of the treatment.")],
    config: ConfigOption = None,
) -> None:
    """Take back a treatment that was stated wrongly."""
    gateway = gateway_from(config)
    from gateway.operations import take_back_treatment as act

    act(gateway, treatment, actor())
    say(f"Treatment {treatment} was taken back.")


def state_facts(
    patient: PatientArgument,
    who_grade: Annotated[str | None, typer.Option("--who-grade", help="1 to 4, or unknown.")] = None,
    idh: Annotated[str | None, typer.Option("--idh", help="wt, mut or unknown.")] = None,
    mgmt: Annotated[str | None, typer.Option("--mgmt", help="meth, unmeth or unknown.")] = None,
    codel_1p19q: Annotated[str | None, typer.Option("--1p19q", help="codel, intact or unknown.")] = None,
    config: ConfigOption = None,
) -> None:
    """State markers of the tumour; those that are not named stay as they are."""
    given = {"who_grade": who_grade, "idh": idh, "mgmt": mgmt, "codel_1p19q": codel_1p19q}
    values: dict[str, Any] = {k: None if v == _UNKNOWN else v for k, v in given.items() if v is not None}
    if not values:
        stop("Name at least one of --who-grade, --idh, --mgmt and --1p19q.", WRONG_USE)
    if values.get("codel_1p19q") is not None:
        if values["codel_1p19q"] not in ("codel", "intact"):
            stop("--1p19q takes codel, intact or unknown.", WRONG_USE)
        values["codel_1p19q"] = values["codel_1p19q"] == "codel"
    if values.get("who_grade") is not None:
        if values["who_grade"] not in ("1", "2", "3", "4"):
            stop("--who-grade takes 1, 2, 3, 4 or unknown.", WRONG_USE)
        values["who_grade"] = int(values["who_grade"])
    gateway = gateway_from(config)
    from gateway.operations import state_facts as act

    act(gateway, patient, values, actor())
    say("On record.")

"""`studies hold` and `studies simulate-rules`: a person's word against the timer, and rules tried on past studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from timepoint.commands.options import ConfigOption, JsonOption, SinceOption, day_of, gateway_from
from timepoint.commands.records import StudyArgument, actor
from timepoint.commands.records import studies as studies
from timepoint.output import show_json, show_table


@studies.command("hold")
def hold_study(
    study: StudyArgument,
    config: ConfigOption = None,
    release: Annotated[bool, typer.Option("--release", help="Let it go again.")] = False,
) -> None:
    """Hold a study back: it is not closed, whatever its timer says, until it is released or completed."""
    gateway = gateway_from(config)
    from gateway.operations import hold

    hold(gateway, study, actor(), on=not release)
    typer.echo("Released: its timer decides again." if release else "Held.")


@studies.command("simulate-rules")
def simulate_rules(
    config: ConfigOption = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", help="Configuration file whose [study] section is tried; default: the present one."),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="Only this study (key or UID).")] = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest first.")] = 200,
    changed: Annotated[bool, typer.Option("--changed", help="Only studies that would come out differently.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the rules would have chosen and decided for past studies, and how that differs. Writes nothing."""
    gateway = gateway_from(config)
    from gateway.database import read_scope
    from gateway.overview import find_study
    from gateway.rule_simulation import simulate_rules as run
    from gateway.settings import load_settings

    tried = load_settings(rules).study if rules else gateway.settings.study
    file = gateway.settings.deidentify.key_file
    keys = gateway.keys if file is not None and file.exists() else None
    with read_scope(gateway.database) as session:
        key = find_study(session, study).study_key if study else None
        found = run(session, tried, keys, limit, day_of(since), key)
    shown = [line for line in found if line.differences or not changed]
    if as_json:
        different = sum(1 for line in found if line.differences)
        show_json({"studies": [s.as_json() for s in shown], "simulated": len(found), "different": different})
        return
    columns = ("study", "acquired", "sender", "state", "decision", "after", "series", "reason", "difference")
    show_table("What the rules would decide; nothing is changed", columns, [_row(line) for line in shown])


def _row(line: Any) -> list[Any]:
    series = " ".join(f"{contrast}={number}" for contrast, number in line.series.items())
    reason = "; ".join(part for part in (line.reason, *line.undecided) if part)
    after = None if line.after_last_image_s is None else f"{line.after_last_image_s:.0f} s"
    return [line.study_key, line.acquired, line.source_ae, line.state, line.decision, after, series or None,
            reason or None, "; ".join(line.differences) or None]  # fmt: skip

"""Options that many commands share, and the open gateway behind them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.context import Gateway
    from gateway.settings import Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; default: timepoint.toml here, if it exists.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SinceOption = Annotated[
    dt.datetime | None,
    typer.Option("--since", formats=["%Y-%m-%d"], help="Only what was acquired since this day (YYYY-MM-DD)."),
]


def settings_from(config: Path | None) -> Settings:
    """Load the settings and set logging up by them."""
    from gateway.logs import configure_logging
    from gateway.settings import load_settings

    settings = load_settings(config)
    configure_logging(settings.log)
    return settings


def gateway_from(config: Path | None) -> Gateway:
    """Open the gateway that the configuration describes."""
    from gateway.context import open_gateway

    return open_gateway(settings_from(config))


def day_of(moment: dt.datetime | None) -> dt.date | None:
    """The day that `--since` names."""
    return moment.date() if moment else None

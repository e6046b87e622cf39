"""Housekeeping: sweep what killed processes left behind, and delete what has been kept long enough."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import structlog

from gateway import forecast_watch, retention
from gateway.context import Gateway
from gateway.engine import Arguments
from gateway.retention_plan import days_of

OLD_S = 24 * 3600.0
_log = structlog.get_logger()


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Remove unfinished files of the object stores and partial folders of the research zone older than a day; then
    whatever `[retention]` says (nothing by default)."""
    del arguments
    files = gateway.received.remove_unfinished() + gateway.results.remove_unfinished()
    folders = [folder for folder in _partial_folders(gateway) if time.time() - folder.stat().st_mtime > OLD_S]
    for folder in folders:
        shutil.rmtree(folder)
    demoted = forecast_watch.demote_if_failing(gateway)
    removals = retention.apply(gateway) if any(days is not None for days in days_of(gateway.settings).values()) else []
    counts = {"unfinished_files": files, "partial_folders": len(folders), "removals": len(removals)}
    _log.info("housekeeping", **counts, demoted=demoted)


def _partial_folders(gateway: Gateway) -> list[Path]:
    return [*gateway.research_folder.glob("*/*.partial-*"), *gateway.exports_folder.glob(".*.partial-*")]

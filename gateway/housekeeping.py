"""Housekeeping: sweep what killed processes left behind. Nothing that anything refers to is touched."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import structlog

from gateway.context import Gateway
from gateway.engine import Arguments

OLD_S = 24 * 3600.0
_log = structlog.get_logger()


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Remove unfinished files of the object stores and partial folders of the research zone older than a day."""
    del arguments
    files = gateway.received.remove_unfinished() + gateway.results.remove_unfinished()
    folders = [folder for folder in _partial_folders(gateway) if time.time() - folder.stat().st_mtime > OLD_S]
    for folder in folders:
        shutil.rmtree(folder)
    _log.info("housekeeping", unfinished_files=files, partial_folders=len(folders))


def _partial_folders(gateway: Gateway) -> list[Path]:
    return [*gateway.research_folder.glob("*/*.partial-*"), *gateway.exports_folder.glob(".*.partial-*")]

"""How commands speak: tables for people, one JSON document on stdout with `--json`, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

DONE, FAILED, WRONG_USE, REFUSED_INPUT = 0, 1, 2, 3


def show_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout; None is shown as a dash."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)


def say(sentence: str) -> None:
    """Tell the user something on stderr."""
    typer.echo(sentence, err=True)


def stop(sentence: str, code: int = FAILED) -> NoReturn:
    """End the command with a sentence on stderr and an exit code."""
    say(sentence)
    raise typer.Exit(code)


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display on stderr; silent where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as shown:
        yield shown

"""What the tables on standard output have in common."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200
LATENTS_ONLY = "latents\nonly\n(decoder\nnot\ncounted)"


def new_table(first: str, *columns: str) -> Table:
    """A table with a column of names and columns of numbers, narrow enough for 80 characters."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def print_with_report(table: Table, report: Path) -> None:
    """A table, and where its report is."""
    screen = console()
    screen.print(table if table.row_count else "there is nothing to show in a table")
    screen.print(f"report with pictures: {report}")


def console() -> Console:
    """Standard output, as wide as the terminal."""
    # Tensor names and paths are not markup, and a pipe has no width to fold them for.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def ratio(value: float | None) -> str:
    """A compression ratio; a dash if there is none."""
    return "-" if value is None else f"{value:.3g}x"


def milliseconds(seconds: float) -> str:
    """A time as a number of milliseconds."""
    return f"{1000 * seconds:.3g}"

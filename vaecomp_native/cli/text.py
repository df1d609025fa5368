"""Text that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer


def examples(*commands: str) -> str:
    """Make the end of a help page, with one example per line."""
    # A line with only a backspace tells click not to wrap the paragraph below it.
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def print_json(result: Mapping[str, Any]) -> None:
    """Print ``result`` on standard output as one JSON object."""
    typer.echo(json.dumps(result, indent=2, allow_nan=False))


def print_notice(line: str) -> None:
    """Print a line on standard error, above a progress bar if one is drawn."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(line)


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns of text under a header.

    A table of the package rich would take seconds for thousands of rows.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())

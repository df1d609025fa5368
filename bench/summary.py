"""Print a table of the benchmarks: python bench/summary.py FILE (from --benchmark-json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Row = dict[str, Any]


def rows(report: dict[str, Any]) -> list[Row]:
    """Make one row per group: its name, median seconds by implementation, reference / native."""
    medians: dict[str, dict[str, float]] = {}
    for run in report["benchmarks"]:
        implementation = run["params"]["implementation"]
        medians.setdefault(run["group"], {})[implementation] = run["stats"]["median"]
    return [
        {
            "group": group,
            "seconds": seconds,
            "ratio": seconds["reference"] / seconds["native"],
        }
        for group, seconds in medians.items()
    ]


def duration(seconds: float) -> str:
    """Format a duration with three significant digits in a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def markdown(table: list[Row]) -> str:
    """Format the rows as a Markdown table.

    Implementations besides native and reference have columns of their own.
    """
    others = sorted({name for row in table for name in row["seconds"]} - {"native", "reference"})
    header = ["benchmark", "native", "reference", *others, "reference / native"]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for row in table:
        seconds = row["seconds"]
        cells = [
            duration(seconds[name]) if name in seconds else ""
            for name in ("native", "reference", *others)
        ]
        lines.append([row["group"], *cells, f"{row['ratio']:.3g}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    report: Annotated[Path, typer.Argument(help="Output of pytest --benchmark-json.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print median times, native beside reference, from a JSON report of pytest-benchmark."""
    table = rows(json.loads(report.read_text(encoding="utf-8")))
    typer.echo(json.dumps(table, indent=2) if as_json else markdown(table))


if __name__ == "__main__":
    typer.run(main)

"""How decoding grows with the number of weights and threads: python bench/growth.py [--plot growth.svg].

Archives of matrices of normal weights, plainly quantized to 4.3 bits each, from 10^5 weights up in factors of ten.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure
from timing import Function, medians

import vaecomp_native as vc
from vaecomp_native.progress import console, silent

MIN_WEIGHTS = 100_000
COLUMNS = 1000
MATRIX_MAX = 100_000_000  # weights of a matrix
Row = dict[str, float]


def rows(weights_max: int, threads_max: int) -> Iterator[Row]:
    """Seconds of decoding a file, by number of weights and threads."""
    count = MIN_WEIGHTS
    while count <= weights_max:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "growth.vaec"
            _write(path, count)
            # Into memory that is there: the system's time for new pages varies by more than threads do.
            out = vc.decode(path)
            functions: dict[str, Function] = {
                str(threads): partial(vc.decode, path, out=out, threads=threads)
                for threads in range(1, threads_max + 1)
            }
            for threads, seconds in medians(functions).items():
                yield {"weights": count, "threads": int(threads), "seconds": seconds}
        count *= 10


def _write(path: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    shape = (min(count, MATRIX_MAX) // COLUMNS, COLUMNS)
    weights = {
        f"weight.{i}": generator.standard_normal(shape, np.float32) * np.float32(0.04)
        for i in range(count // math.prod(shape))
    }
    vc.compress(
        weights,
        path,
        codec="quantized",
        quantizer="uniform",
        rate_weight=0.005,
        progress=silent,
    )


def draw(table: list[Row]) -> Figure:
    """Time against weights, one line a number of threads; straight lines of slope 1 where time is proportional."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for threads in sorted({row["threads"] for row in table}):
        own = [row for row in table if row["threads"] == threads]
        x, y = [row["weights"] for row in own], [1e3 * row["seconds"] for row in own]
        axes.plot(x, y, marker="o", label=f"{threads} thread{'s' * (threads > 1)}")
    axes.set(xscale="log", yscale="log", xlabel="weights", ylabel="ms to decode the file")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main(
    weights_max: Annotated[
        int,
        typer.Option(min=MIN_WEIGHTS, help="Most weights; 1000000000 takes minutes and 20 GB."),
    ] = 100_000_000,
    threads_max: Annotated[int, typer.Option(min=1, help="Threads to go up to.")] = 2,
    plot: Annotated[Path | None, typer.Option(help="A picture to write, .svg or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Measure and print.

    Example: python bench/growth.py --plot growth.svg
    """
    table: list[Row] = []
    steps = threads_max * (len(str(weights_max)) - 5)
    with console() as progress:
        for row in rows(weights_max, threads_max):
            table.append(row)
            progress("decoding", len(table), steps, {"weights": row["weights"]})
    if plot is not None:
        draw(table).savefig(plot)
    if as_json:
        print(json.dumps(table))
        return
    print("| weights | threads | ms | ns a weight |\n|---:|---:|---:|---:|")
    for row in table:
        nanoseconds = 1e9 * row["seconds"] / row["weights"]
        print(
            f"| {row['weights']:,} | {row['threads']} | {1e3 * row['seconds']:.3g} | {nanoseconds:.3g} |"
        )


if __name__ == "__main__":
    typer.run(main)

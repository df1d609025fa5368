"""``vaecomp demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaecomp_native import progress
from vaecomp_native.cli import tables
from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import JsonOption
from vaecomp_native.cli.paths import check_directory
from vaecomp_native.cli.text import print_json, print_notice

EXAMPLES = ("vaecomp demo", "vaecomp demo --out /tmp/demo", "vaecomp demo --json > demo.json")


def command(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where archives, report and JSON go.")
    ] = Path("vaecomp-demo"),
    as_json: JsonOption = False,
) -> None:
    """Train a small CNN on real digits, compress it, decode it and compare; a minute or two.

    Writes DIR/report.html with pictures, DIR/demo.json and the archives. Needs no download.
    """
    check_directory(out)
    with interruptible(f"the demo in {out} is not complete"):
        from vaecomp_native.demo.run import run

        with progress.console() as bar:
            result = run(out, progress=bar, notice=print_notice)
    if as_json:
        print_json(result.to_dict())
    else:
        tables.print_demo(result, out / "report.html")

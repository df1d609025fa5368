"""Arguments and options that several commands share."""

from __future__ import annotations

import math
import re
import sys
from typing import Annotated, Optional

import typer

from vaecomp_native.io.sources import Source

ArchiveArgument = Annotated[
    str,
    typer.Argument(
        metavar="IN",
        help="Latent archive (.vaec), or an index of shards (.vaec.index.json): a path, a URL that "
        "fsspec knows, or - for standard input.",
    ),
]


def archive_source(text: str) -> Source:
    """Return the source of an archive named on the command line."""
    return sys.stdin.buffer if text == "-" else text


JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
]

UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}


def parse_size(text: str) -> int:
    """Parse a size in bytes, with or without a unit: 250000, 250kB, 1.5MB, 64KiB."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([kmg]i?|)b?", text.strip().lower())
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not a size; give bytes, or a number with kB, MB or MiB"
        )
    return int(float(match[1]) * UNITS[match[2]])


MaxShardBytesOption = Annotated[
    Optional[int],  # noqa: UP045 - typer evaluates it, also on Python 3.10
    typer.Option(
        parser=parse_size,
        metavar="SIZE",
        help="Bytes of weights in a shard, if OUT is an index: 5GB by default.",
    ),
]


def check_positive(value: float | None) -> float | None:
    """Check that an option's value is a finite number above 0, or None."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a finite number above 0")
    return value


ThreadsOption = Annotated[
    int, typer.Option("--threads", min=0, max=65_536, help="Threads; 0 takes all cores.")
]

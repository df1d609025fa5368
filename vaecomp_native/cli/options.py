"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ArchiveArgument = Annotated[Path, typer.Argument(metavar="IN", help="Latent archive (.vaec).")]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
]

ThreadsOption = Annotated[
    int, typer.Option("--threads", min=0, max=65_536, help="Threads; 0 takes all cores.")
]

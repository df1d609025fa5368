"""``vaecomp decode``."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from typing import Annotated, Optional

import typer

from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import ArchiveArgument, JsonOption, ThreadsOption
from vaecomp_native.cli.packs import PackOption, opened
from vaecomp_native.cli.text import print_json
from vaecomp_native.errors import VaecompError
from vaecomp_native.io import sinks
from vaecomp_native.io.checkpoints import safetensors

EXAMPLES = (
    "vaecomp decode model.vaec model.safetensors",
    "vaecomp decode model.vaec part.safetensors --tensor fc1.weight --tensor fc1.bias",
    "vaecomp decode alice.vaec alice.safetensors --pack fleet.vaepack",
    "ssh store cat model.vaec | vaecomp decode - model.safetensors",
)


def command(
    source: ArchiveArgument,
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="File to write (.safetensors), a path or URL.")
    ],
    tensor: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer evaluates it, also on Python 3.10
        typer.Option("--tensor", metavar="NAME", help="Only this tensor; may be repeated."),
    ] = None,
    pack: PackOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode the archive IN to the safetensors file OUT, checking every tensor's digest."""
    sinks.check_output(out, [place for place in (source, pack) if place not in (None, "-")])
    with interruptible(f"{out} was not written"):
        with opened(source, pack, threads=threads) as archive:
            metadata = dict(archive.info.metadata)
            names = _known_names(source, list(archive), tensor)
            start = time.perf_counter()
            tensors = archive.decode(names)
            seconds = time.perf_counter() - start
        safetensors.write(tensors, out, metadata)
    size = sum(array.nbytes for array in tensors.values())
    if as_json:
        print_json({"tensors": len(tensors), "bytes": size, "decode_seconds": seconds})
    else:
        typer.echo(f"{out}: {len(tensors)} tensors, {size:,} bytes of weights")


def _known_names(
    source: str, known: Sequence[str], wanted: Sequence[str] | None
) -> list[str] | None:
    """``wanted`` without repetitions; None for all. Raises `VaecompError` for an unknown name."""
    for name in wanted or ():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"see vaecomp inspect {source}"
            raise VaecompError(f"{source} holds no tensor {name!r}; {advice}")
    return list(dict.fromkeys(wanted)) if wanted else None

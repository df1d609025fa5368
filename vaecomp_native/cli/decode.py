"""``vaecomp decode``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Optional

import typer

from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import (
    ArchiveArgument,
    JsonOption,
    MaxShardBytesOption,
    ThreadsOption,
)
from vaecomp_native.cli.packs import PackOption, opened
from vaecomp_native.cli.text import print_json
from vaecomp_native.errors import VaecompError
from vaecomp_native.exporting import export
from vaecomp_native.io import sinks
from vaecomp_native.io.shard_index import MAX_SHARD_BYTES
from vaecomp_native.progress import console

EXAMPLES = (
    "vaecomp decode model.vaec model.safetensors",
    "vaecomp decode model.vaec part.safetensors --tensor fc1.weight --tensor fc1.bias",
    "vaecomp decode alice.vaec alice.safetensors --pack fleet.vaepack",
    "vaecomp decode model.vaec.index.json model.safetensors.index.json",
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
    max_shard_bytes: MaxShardBytesOption = None,
    pack: PackOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode the archive IN to the safetensors file OUT.

    The digest of every tensor is checked. An archive in shards is named by its index
    (.vaec.index.json). If OUT ends with .safetensors.index.json, shards are written beside it.
    """
    sinks.check_output(out, [place for place in (source, pack) if place not in (None, "-")])
    with (
        interruptible(f"{out} was not written"),
        opened(source, pack, threads=threads) as archive,
        console() as bar,
    ):
        names = _known_names(source, list(archive), tensor)
        size = max_shard_bytes or MAX_SHARD_BYTES
        done = export(archive, out, names, max_shard_bytes=size, progress=bar)
    if as_json:
        print_json({"tensors": done.tensors, "bytes": done.bytes, "decode_seconds": done.seconds})
    else:
        typer.echo(f"{out}: {done.tensors} tensors, {done.bytes:,} bytes of weights")


def _known_names(
    source: str, known: Sequence[str], wanted: Sequence[str] | None
) -> list[str] | None:
    """Return ``wanted`` without repetitions; None stands for all tensors.

    Raises `VaecompError` for an unknown name.
    """
    for name in wanted or ():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"see vaecomp inspect {source}"
            raise VaecompError(f"{source} holds no tensor {name!r}; {advice}")
    return list(dict.fromkeys(wanted)) if wanted else None

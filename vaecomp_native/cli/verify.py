"""``vaecomp verify``."""

from __future__ import annotations

import typer

import vaecomp_native as vc
from vaecomp_native.cli.errors import reading
from vaecomp_native.cli.options import ArchiveArgument, JsonOption, archive_source
from vaecomp_native.cli.text import print_json

EXAMPLES = (
    "vaecomp verify model.vaec",
    "vaecomp verify model.vaec && vaecomp decode model.vaec model.safetensors",
)


def command(source: ArchiveArgument, as_json: JsonOption = False) -> None:
    """Check every byte of the archive IN: all checksums, and the digest of every decoded tensor."""
    with reading(source):
        info = vc.verify(archive_source(source))
    if as_json:
        print_json({"verified": True, **info.to_dict()})
    else:
        count = len(info.tensors)
        typer.echo(f"{source}: intact, all {count} tensors decode to what was stored")

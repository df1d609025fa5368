"""``vaecomp verify``."""

from __future__ import annotations

import typer

from vaecomp_native.cli.options import ArchiveArgument, JsonOption
from vaecomp_native.cli.packs import PackOption, hashes, opened
from vaecomp_native.cli.text import print_json

EXAMPLES = (
    "vaecomp verify model.vaec",
    "vaecomp verify alice.vaec --pack fleet.vaepack",
    "vaecomp verify model.vaec && vaecomp decode model.vaec model.safetensors",
)


def command(source: ArchiveArgument, pack: PackOption = None, as_json: JsonOption = False) -> None:
    """Check every byte of the archive IN.

    This compares all checksums, and the digest of every decoded tensor.
    """
    with opened(source, pack) as archive:
        archive.verify()
        info = archive.info
        named = hashes(archive)
    if as_json:
        print_json({"verified": True, **info.to_dict(), **named})
    else:
        count = len(info.tensors)
        typer.echo(f"{source}: intact, all {count} tensors decode to what was stored")

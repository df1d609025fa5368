"""``vaecomp inspect``."""

from __future__ import annotations

import typer

from vaecomp_native.cli import tables
from vaecomp_native.cli.options import ArchiveArgument, JsonOption
from vaecomp_native.cli.packs import PackOption, hashes, opened
from vaecomp_native.cli.text import print_json

EXAMPLES = (
    "vaecomp inspect model.vaec",
    "vaecomp inspect s3://bucket/model.vaec --json",
    "vaecomp inspect alice.vaec --pack fleet.vaepack",
)
HASHES = {
    "sha256": "a pack; its members name it by SHA-256",
    "pack_sha256": "a member of the pack with SHA-256",
}


def command(source: ArchiveArgument, pack: PackOption = None, as_json: JsonOption = False) -> None:
    """Show the tensors of the archive IN, and the bytes of each of its parts."""
    with opened(source, pack) as archive:
        info = archive.info
        named = hashes(archive)
    if as_json:
        print_json({**info.to_dict(), **named})
        return
    tables.print_tensors(info)
    tables.print_archive(source, info)
    for what, digest in named.items():
        typer.echo(f"{HASHES[what]} {digest}")

"""``vaecomp inspect``."""

from __future__ import annotations

import vaecomp_native as vc
from vaecomp_native.cli import tables
from vaecomp_native.cli.errors import reading
from vaecomp_native.cli.options import ArchiveArgument, JsonOption, archive_source
from vaecomp_native.cli.text import print_json

EXAMPLES = (
    "vaecomp inspect model.vaec",
    "vaecomp inspect s3://bucket/model.vaec --json",
)


def command(source: ArchiveArgument, as_json: JsonOption = False) -> None:
    """Show what the archive IN holds: its tensors, and every byte by part."""
    with reading(source), vc.open(archive_source(source)) as archive:
        info = archive.info
    if as_json:
        print_json(info.to_dict())
    else:
        tables.print_tensors(info)
        tables.print_archive(source, info)

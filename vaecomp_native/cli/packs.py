"""Members of a fleet on the command line: their pack, and the hashes that name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Optional

import typer

import vaecomp_native as vc
from vaecomp_native.cli.errors import reading
from vaecomp_native.cli.options import archive_source
from vaecomp_native.errors import MissingPackError, VaecompError

PackOption = Annotated[
    Optional[str],  # noqa: UP045 - typer evaluates it, also on Python 3.10
    typer.Option(
        "--pack", metavar="PACK", help="Of a fleet's member: the pack it belongs to, a path or URL."
    ),
]


@contextmanager
def opened(source: str, pack: str | None, *, threads: int = 0) -> Iterator[vc.Archive]:
    """The archive IN, with its pack if it has one. Raises `VaecompError` that names the file at fault."""
    with ExitStack() as stack:
        opened_pack = None
        if pack is not None:
            with reading(pack):
                opened_pack = stack.enter_context(vc.open(pack, threads=threads))
        with reading(source):
            try:
                archive = vc.open(archive_source(source), pack=opened_pack, threads=threads)
            except MissingPackError as error:
                raise VaecompError(f"{source}: {error}; name it with --pack") from error
            yield stack.enter_context(archive)


def hashes(archive: vc.Archive) -> dict[str, str]:
    """Of a pack its SHA-256, of a member its pack's, of other archives nothing."""
    if archive.pack_sha256 is not None:
        return {"pack_sha256": archive.pack_sha256}
    return {"sha256": archive.sha256} if is_pack(archive) else {}


def is_pack(archive: vc.Archive) -> bool:
    """Whether members can be made of the archive."""
    try:
        archive.reader.fleet()
    except ValueError as error:
        if isinstance(error, vc.ArchiveError):
            raise
        return False
    return True

"""Packs of fleets on the command line: the option that names one, and the hash of its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Optional, TypeGuard

import typer

import vaecomp_native as vc
from vaecomp_native.cli.errors import reading
from vaecomp_native.cli.options import archive_source
from vaecomp_native.errors import MissingPackError, VaecompError
from vaecomp_native.opening import AnyArchive

PackOption = Annotated[
    Optional[str],  # noqa: UP045 - typer evaluates it, also on Python 3.10
    typer.Option(
        "--pack", metavar="PACK", help="Pack that a fleet's member belongs to, a path or URL."
    ),
]


@contextmanager
def opened(source: str, pack: str | None, *, threads: int = 0) -> Iterator[AnyArchive]:
    """Open the archive IN, with its pack if one is given.

    Raises `VaecompError`, which names the file at fault.
    """
    with ExitStack() as stack:
        opened_pack = None
        if pack is not None:
            with reading(pack):
                opened_pack = stack.enter_context(vc.Archive(pack, threads=threads))
        with reading(source):
            try:
                archive = vc.open(archive_source(source), pack=opened_pack, threads=threads)
            except MissingPackError as error:
                raise VaecompError(f"{source}: {error}; name it with --pack") from error
            stack.enter_context(archive)
            yield archive


def hashes(archive: AnyArchive) -> dict[str, str]:
    """Return the SHA-256 of a pack, or that of a member's pack; empty for other archives."""
    if archive.pack_sha256 is not None:
        return {"pack_sha256": archive.pack_sha256}
    return {"sha256": archive.sha256} if is_pack(archive) else {}


def is_pack(archive: AnyArchive) -> TypeGuard[vc.Archive]:
    """Whether an archive is a pack."""
    if not isinstance(archive, vc.Archive):
        return False
    try:
        archive.reader.fleet()
    except ValueError as error:
        if isinstance(error, vc.ArchiveError):
            raise
        return False
    return True

"""Many members of one pack at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy.typing as npt

from vaecomp_native.archive import Archive, decode_members
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.io.sources import Source

Array = npt.NDArray[Any]


def decode(
    members: Sequence[Archive | Source],
    *,
    pack: Pack | Archive | Source,
    names: Sequence[str] | None = None,
    threads: int = 0,
    verify: bool = True,
    mmap: bool = False,
) -> list[dict[str, Array]]:
    """Decode members of one pack, natively in batches.

    For each member it gives what `vaecomp_native.decode` gives: its tensors by name, all of them or
    those in `names`.

    Args:
        members: archives that are open with this pack, or where to read them from.
        pack: the pack, open or where to read it from.
        names: the tensors to decode.
        threads: threads of the native kernels, 0 for all cores.
        verify: compare every decoded tensor with its digest.
        mmap: map files instead of reading them.

    `threads`, `verify` and `mmap` are for what this call opens. What was open keeps its own.

    Raises:
        ArchiveError: bytes or decoded values do not match their checksums.
        MissingPackError: a member is of another pack.
        KeyError: a member has no tensor of a name.
        OSError: a file cannot be read.
    """
    with ExitStack() as stack:

        def opened(source: Archive | Source, of: Archive | None = None) -> Archive:
            if isinstance(source, Archive):
                return source
            archive = Archive(source, pack=of, threads=threads, verify=verify, mmap=mmap)
            return stack.enter_context(archive)

        owner = pack.archive if isinstance(pack, Pack) else opened(pack)
        return decode_members([opened(member, owner) for member in members], names)

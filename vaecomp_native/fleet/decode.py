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
    members: Sequence[Archive | Source], pack: Pack | Archive | Source, *, threads: int = 0
) -> list[dict[str, Array]]:
    """Decode members of one pack, natively in batches: for each its tensors by name, as `vaecomp_native.decode` gives them.

    `members` and `pack` are archives that are open, or where to read them from. Raises ArchiveError, MissingPackError for a member of another pack, and OSError.
    """
    with ExitStack() as stack:
        if isinstance(pack, Pack):
            opened = pack.archive
        elif isinstance(pack, Archive):
            opened = pack
        else:
            opened = stack.enter_context(Archive(pack, threads=threads))
        archives = [
            one
            if isinstance(one, Archive)
            else stack.enter_context(Archive(one, pack=opened, threads=threads))
            for one in members
        ]
        return decode_members(archives)

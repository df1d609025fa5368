"""The calls that read an archive, in one file or in shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from vaecomp_native.archive import Archive, ArchiveInfo
from vaecomp_native.io.sources import Source
from vaecomp_native.sharded import ShardedArchive, is_sharded

Array = npt.NDArray[Any]
AnyArchive = Archive | ShardedArchive
"""An open archive: of one file, or of several."""


def open(
    source: Source,
    *,
    pack: Archive | Source | None = None,
    threads: int = 0,
    verify: bool = True,
    mmap: bool = False,
) -> AnyArchive:
    """Open an archive to read tensors one at a time.

    Args:
        source: a path, a URL that fsspec knows ("s3://bucket/model.vaec"), bytes, a memoryview or a
            binary file object. Only the ranges that are asked for are read, while other threads
            decode. A stream that cannot seek is read to memory up to the end of the archive. A path
            or URL that ends with ``.vaec.index.json`` is the index of an archive in shards, which
            lie beside it.
        pack: the pack of a fleet's member, as a source or as an open archive. Many members can
            share an open one. It is never changed.
        threads: the number of threads that may work, 0 for all cores.
        verify: whether every decoded tensor is compared with its digest.
        mmap: whether a path's file is mapped instead of read. Nobody may cut it short while it is
            open.

    Raises:
        ArchiveError: the bytes are not an intact archive.
        UnsupportedVersionError: the archive has a newer format version.
        MissingPackError: the archive is a member, and `pack` is not its pack.
        OSError: the source cannot be read.

    >>> with vaecomp_native.open("model.vaec") as archive:
    ...     weight = archive["fc.weight"]
    """
    if is_sharded(source):
        return ShardedArchive(source, pack=pack, threads=threads, verify=verify, mmap=mmap)
    return Archive(source, pack=pack, threads=threads, verify=verify, mmap=mmap)


def decode(
    source: Source,
    *,
    pack: Archive | Source | None = None,
    names: Sequence[str] | None = None,
    out: Mapping[str, Array] | None = None,
    threads: int = 0,
    verify: bool = True,
    mmap: bool = False,
) -> dict[str, Array]:
    """Decode an archive, or the tensors named, to a dict of NumPy arrays in the archive's order.

    `out` works as in `Archive.decode`, the other arguments as in `open`. bfloat16 and float8
    tensors come in the dtypes of `ml_dtypes`. Tied weights share one array. The result is the same
    on every machine. Raises ArchiveError, KeyError for an unknown name, ValueError for arrays that
    do not fit, and OSError.

    >>> arrays = vaecomp_native.decode("model.vaec")
    >>> vaecomp_native.decode("model-2.vaec", out=arrays)  # into the same memory
    """
    with open(source, pack=pack, threads=threads, verify=verify, mmap=mmap) as archive:
        return archive.decode(names, out=out)


def verify(
    source: Source, *, pack: Archive | Source | None = None, threads: int = 0
) -> ArchiveInfo:
    """Check every byte and every decoded tensor of an archive, and return its info.

    Arguments and errors are those of `open`.
    """
    with open(source, pack=pack, threads=threads) as archive:
        archive.verify()
        return archive.info

"""Archives in shards: an index, and beside it archives that hold some of the tensors each.

docs/format.md, Shards, says what the index holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeGuard

import numpy.typing as npt

from vaecomp_native.archive import PARTS, Archive, ArchiveInfo
from vaecomp_native.arguments import check_names
from vaecomp_native.errors import ArchiveError
from vaecomp_native.io.shard_index import (
    ARCHIVE_INDEX_SUFFIX,
    LARGEST_INDEX,
    ShardIndex,
    parse_index,
)
from vaecomp_native.io.sources import HEADER_BYTES, Source, read_start
from vaecomp_native.io.urls import Location, beside, plain
from vaecomp_native.lazy_arrays import LazyArrays

Array = npt.NDArray[Any]
SHARDS = "shards"
"""The key of the index's metadata that tells each shard from any other file of its name."""
MARKS = ("start", "sha256")
"""What is known of a shard, in hexadecimal digits: its first bytes, and the SHA-256 of all."""


def is_sharded(source: Source) -> TypeGuard[Location]:
    """Whether a source is the path or the URL of an index of shards, by its name."""
    return isinstance(source, (str, os.PathLike)) and plain(source).endswith(ARCHIVE_INDEX_SUFFIX)


class ShardedArchive(LazyArrays):
    """An open archive in shards. It can do what `Archive` can.

    Use `vaecomp_native.open` to get one. Tensors have the order of the index. Every shard is the
    one that the index was written for: their first bytes are compared when it is opened, and their
    hashes by `verify`.
    """

    def __init__(
        self,
        source: Location,
        *,
        pack: object = None,
        threads: int = 0,
        verify: bool = True,
        mmap: bool = False,
    ) -> None:
        """Read the indexes of all shards. Arguments and errors are those of `open`."""
        self._place = place = plain(source)
        if pack is not None:
            raise ArchiveError("an archive in shards is no member of a fleet and has no pack")
        self._index, self._index_bytes = _read_index(place)
        self._shards: dict[str, Archive] = {}
        with ExitStack() as stack:
            for shard in self._index.shards:
                opened = _open_shard(
                    place, shard, self._marks(shard), threads=threads, verify=verify, mmap=mmap
                )
                self._shards[shard] = stack.enter_context(opened)
            self._names = self._names_in_order()
            self._stack = stack.pop_all()

    def __getitem__(self, name: str) -> Array:
        """Decode one tensor. Raises KeyError for a name that is not there, and ArchiveError."""
        shard = self._home(name)
        with _naming(shard):
            return self._shards[shard][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Let go of all shards, as `Archive.close` does."""
        self._stack.close()

    def decode(
        self, names: Sequence[str] | None = None, *, out: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Decode the named tensors, or all, as `Archive.decode` does, shard after shard."""
        given = out or {}
        listed = check_names(names)
        wanted = list(self._names) if listed is None else listed
        for name in given:
            self._home(name)
        by_shard: dict[str, list[str]] = {}
        for name in wanted:
            by_shard.setdefault(self._home(name), []).append(name)
        found: dict[str, Array] = {}
        for shard, own in by_shard.items():
            archive = self._shards[shard]
            with _naming(shard):
                found |= archive.decode(own, out={n: a for n, a in given.items() if n in archive})
        return {name: found[name] for name in wanted}

    def rows(self, name: str, start: int | None = None, stop: int | None = None) -> Array:
        """Decode rows `[start, stop)` of a tensor's first dimension, as `Archive.rows` does."""
        shard = self._home(name)
        with _naming(shard):
            return self._shards[shard].rows(name, start, stop)

    @property
    def shards(self) -> list[str]:
        """The paths or URLs of the shards."""
        return [beside(self._place, shard) for shard in self._shards]

    @property
    def pack_sha256(self) -> None:
        """None: an archive in shards is no member of a fleet."""
        return None

    def verify(self) -> None:
        """Check every shard, and that it is the one that the index names. Raises ArchiveError."""
        for shard, archive in self._shards.items():
            with _naming(shard):
                archive.verify()
                if archive.sha256 != self._marks(shard)["sha256"]:
                    raise ArchiveError("is not the file that the index names; take all of one run")

    @property
    def info(self) -> ArchiveInfo:
        """The contents and sizes of all shards together; the index counts as container."""
        infos = [archive.info for archive in self._shards.values()]
        parts = {part: sum(one.bytes[part] for one in infos) for part in PARTS}
        parts["container"] += self._index_bytes
        tensors = {one.name: one for info in infos for one in info.tensors}
        with_latents = [one for one in infos if one.latent_numbers]
        merged: dict[str, str] = {}
        for info in reversed(infos):
            merged |= info.metadata
        return ArchiveInfo(
            format_version=max((one.format_version for one in infos), default=1),
            parameters=sum(one.parameters for one in infos),
            raw_bytes=sum(one.raw_bytes for one in infos),
            bytes=parts | {"total": sum(parts.values())},
            chunks=sum(one.chunks for one in infos),
            chunk_length=with_latents[0].chunk_length if with_latents else None,
            latent=with_latents[0].latent if with_latents else None,
            latent_numbers=sum(one.latent_numbers for one in infos),
            tensors=tuple(tensors[name] for name in self._names),
            metadata=merged,
        )

    def _marks(self, shard: str) -> Mapping[str, str]:
        marks: Mapping[str, str] = self._index.metadata[SHARDS][shard]
        return marks

    def _home(self, name: str) -> str:
        """The name of a tensor's shard. Raises KeyError."""
        if name not in self._index.weight_map:
            raise KeyError(f"the archive has no tensor '{name}'")
        return self._index.weight_map[name]

    def _names_in_order(self) -> list[str]:
        """The names in the index's order, or in the shards' if a tool has changed the index's.

        Raises ArchiveError if a shard holds other tensors than the index says.
        """
        by_shard: dict[str, list[str]] = {shard: [] for shard in self._shards}
        for name, shard in self._index.weight_map.items():
            by_shard[shard].append(name)
        for shard, archive in self._shards.items():
            differing = sorted(set(by_shard[shard]) ^ set(archive))
            if differing:
                verb = "holds" if differing[0] in archive else "does not hold"
                raise ArchiveError(f"shard '{shard}' {verb} tensor '{differing[0]}'")
        if all(by_shard[shard] == list(archive) for shard, archive in self._shards.items()):
            return list(self._index.weight_map)
        return [name for archive in self._shards.values() for name in archive]

    def in_batches(self) -> Iterator[tuple[str, Array]]:
        """Yield what `items` gives."""
        pairs = {shard: iter(archive.items()) for shard, archive in self._shards.items()}
        for name in self._names:
            shard = self._home(name)
            with _naming(shard):
                pair = next(pairs[shard])
            yield pair


def shard_start(place: Location) -> str:
    """The first bytes of a shard in hexadecimal digits, by which an index knows it at once.

    They hold the checksum of its index, and that holds those of all its tensors.
    """
    return read_start(place, HEADER_BYTES).hex()


def _read_index(place: str) -> tuple[ShardIndex, int]:
    """Read an index and its size in bytes. Raises ArchiveError, OSError."""
    data = read_start(place, LARGEST_INDEX + 1)
    if len(data) > LARGEST_INDEX:
        raise ArchiveError(f"the index of shards has more than {LARGEST_INDEX:,} bytes")
    try:
        index = parse_index(data)
    except ValueError as error:
        raise ArchiveError(str(error)) from error
    known = index.metadata.get(SHARDS)
    for shard in index.shards:
        marks = known.get(shard) if isinstance(known, dict) else None
        if not (isinstance(marks, dict) and all(isinstance(marks.get(one), str) for one in MARKS)):
            raise ArchiveError(f"the index does not tell the start and SHA-256 of shard '{shard}'")
    return index, len(data)


def _open_shard(
    place: str, shard: str, marks: Mapping[str, str], *, threads: int, verify: bool, mmap: bool
) -> Archive:
    """Open a shard of an index. Raises ArchiveError, which names the shard, and OSError."""
    path = beside(place, shard)
    try:
        with _naming(shard):
            if shard_start(path) != marks["start"]:
                raise ArchiveError("is not the file that the index names; take all of one run")
            return Archive(path, threads=threads, verify=verify, mmap=mmap)
    except FileNotFoundError as error:
        raise ArchiveError(f"shard '{shard}' is not beside the index; bring it there") from error


@contextmanager
def _naming(shard: str) -> Iterator[None]:
    """Have an ArchiveError say which shard it is about."""
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"shard '{shard}': {error}") from error

"""Reading archives: lazily tensor by tensor, all at once, or only their contents and sizes."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.accounting import latents_only_ratio, self_contained_ratio
from vaecomp_native.arguments import check_names, check_threads
from vaecomp_native.errors import ArchiveError
from vaecomp_native.io.sources import Source, open_reader
from vaecomp_native.lazy_arrays import LazyArrays

Array = npt.NDArray[Any]
AHEAD_BYTES, AHEAD_TENSORS = 1 << 20, 1 << 12
"""Limits of reading ahead: small tensors decoded together with one asked for in order."""
PARTS = ("container", "decoder", "latents", "weights", "tables", "passthrough")
"""What an archive's bytes are spent on."""
BATCH_BYTES = 1 << 24
"""The size in bytes of a batch of decoded tensors when all are read one after another."""


@dataclass(frozen=True)
class TensorInfo:
    """One row of an archive's tensor table.

    `codec` is "latent", "quantized", "lossless", "raw" or "alias"; with "alias", `alias_of` names
    the tensor. A member of a fleet also has "shared" (the pack's tensor), "member" (the pack's
    tensor with the decoder's output added) and "differences" (bit for bit, as differences from
    either).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    alias_of: str | None = None


@dataclass(frozen=True)
class ArchiveInfo:
    """The contents of an archive and the use of its bytes.

    `bytes` gives the bytes of "container", "decoder", "latents", "weights", "tables" and
    "passthrough". Its "total" is their sum and the file's size. `latent_numbers` counts the latents
    of all chunks, the measure of size of Cheng et al. 2024.
    """

    format_version: int
    parameters: int
    raw_bytes: int
    bytes: Mapping[str, int]
    chunks: int
    chunk_length: int | None
    latent: int | None
    latent_numbers: int
    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]

    @property
    def ratio_self_contained(self) -> float:
        """Bytes of the tensors over bytes of the whole file, with everything counted."""
        return self_contained_ratio(self.raw_bytes, self.bytes["total"])

    @property
    def ratio_latents_only(self) -> float | None:
        """Parameters over latent numbers, as Cheng et al. 2024 count, without the decoder.

        None if the archive has no latents.
        """
        if not self.latent_numbers:
            return None
        return latents_only_ratio(self.parameters, self.latent_numbers)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and both ratios, ready for JSON."""
        return asdict(self) | {
            "ratio_self_contained": self.ratio_self_contained,
            "ratio_latents_only": self.ratio_latents_only,
        }


class Archive(LazyArrays):
    """An open archive: a mapping from names to arrays that are decoded when asked for.

    Use `vaecomp_native.open` to get one. Several threads may read from it. `items` and `values`
    decode batches of at most 16 MiB, or one larger tensor. They take little more time than `decode`
    and little memory. The same holds for tensors that are asked for by name in the archive's order.
    """

    def __init__(
        self,
        source: Source,
        *,
        pack: Archive | Source | None = None,
        threads: int = 0,
        verify: bool = True,
        mmap: bool = False,
    ) -> None:
        """Read the index. Arguments and errors are those of `open`."""
        threads = check_threads(threads)
        if pack is not None and not isinstance(pack, Archive):
            pack = Archive(pack, threads=threads, verify=verify, mmap=mmap)
        self._open_reader: _core.ArchiveReader | None = open_reader(
            source,
            threads=threads,
            verify=verify,
            mapped=mmap,
            pack=None if pack is None else pack.reader,
        )
        self._rows = self.reader.tensors()
        self._index = {row[0]: i for i, row in enumerate(self._rows)}
        self._lock = threading.Lock()
        self._ahead: dict[str, Array] = {}
        self._next: int | None = None

    @property
    def reader(self) -> _core.ArchiveReader:
        """The native reader, for this package's own use."""
        if self._open_reader is None:
            raise ValueError("the archive is closed; open it again")
        return self._open_reader

    def __getitem__(self, name: str) -> Array:
        """Decode one tensor. Raises KeyError for a name that is not there, and ArchiveError.

        Calls in the archive's order read some small tensors ahead. This saves time, because each
        call to the decoder costs time in proportion to all tensors of the archive.
        """
        _ = self.reader  # closed archives have nothing to give
        with self._lock:
            array = self._ahead.pop(name, None)
            index = self._index.get(name)
            goes_on = index is not None and index == self._next
            self._next = None if index is None else index + 1
        if array is not None:
            return array
        following = self._following(index) if index is not None and goes_on else []
        if following:
            # An error in another tensor is raised when that tensor is asked for.
            with suppress(ArchiveError):
                decoded = self.decode([name, *following])
                array = decoded.pop(name)
                with self._lock:
                    self._ahead = decoded
                return array
        return self.decode([name])[name]

    def _following(self, index: int) -> list[str]:
        """List the small tensors behind one that are read ahead with it."""
        names: list[str] = []
        total = 0
        for name, _, _, _, target, size in self._rows[index + 1 : index + 1 + AHEAD_TENSORS]:
            total += size
            if total > AHEAD_BYTES:
                break
            if target is None:  # tied tensors are arrays of their own here
                names.append(name)
        return names

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def close(self) -> None:
        """Let go of the archive's bytes.

        Decoded arrays stay valid. Reading from the closed archive raises ValueError.
        """
        self._open_reader = None
        with self._lock:
            self._ahead = {}

    def decode(
        self, names: Sequence[str] | None = None, *, out: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Decode the named tensors, or all.

        A tensor is written to the array of its name in `out`, or to a new array. Tied weights share
        one array. An array of `out` has the tensor's shape and dtype, and is C-contiguous and
        writable. After an error its contents are undefined.

        Raises KeyError for a name that is not there, ValueError if an array does not fit or tied
        weights have two arrays, and ArchiveError if bytes or decoded values do not match their
        checksums.
        """
        owners, outputs = self._destinations(names, out or {})
        self.reader.decode([(owner, 0, array) for owner, array in outputs.items()])
        return {name: outputs[owner] for name, owner in owners.items()}

    def _destinations(
        self, names: Sequence[str] | None, given: Mapping[str, Array]
    ) -> tuple[dict[str, int], dict[int, Array]]:
        """For each of the names the row that has its data, and for each such row an array.

        Raises what `decode` does of names and arrays.
        """
        listed = check_names(names)
        wanted = list(self._index) if listed is None else listed
        unknown = [name for name in (*wanted, *given) if name not in self._index]
        if unknown:
            raise KeyError(f"the archive has no tensor '{unknown[0]}'")
        outputs: dict[int, Array] = {}
        for name, array in given.items():
            self._check_output(name, array)
            owner = self._owner(self._index[name])
            if outputs.setdefault(owner, array) is not array:
                raise ValueError(f"'{name}' is tied to a tensor with another array in out")
        owners = {name: self._owner(self._index[name]) for name in wanted}
        for owner in owners.values():
            if owner not in outputs:
                _, shape, dtype, *_ = self._rows[owner]
                outputs[owner] = np.empty(shape, dtype)
        used = set(owners.values())
        return owners, {owner: array for owner, array in outputs.items() if owner in used}

    def rows(self, name: str, start: int | None = None, stop: int | None = None) -> Array:
        """Decode rows `[start, stop)` of a tensor's first dimension, counted as slices count.

        Only the blocks of the file that hold these rows are read and decoded. Raises KeyError for a
        name that is not there, ValueError for a tensor without dimensions, and ArchiveError.
        """
        if name not in self._index:
            raise KeyError(f"the archive has no tensor '{name}'")
        owner = self._owner(self._index[name])
        _, shape, dtype, *_ = self._rows[owner]
        if not shape:
            raise ValueError(f"'{name}' has no dimensions and so no rows; decode it whole")
        first, last, _ = slice(start, stop).indices(shape[0])
        array = np.empty((max(last - first, 0), *shape[1:]), dtype)
        row_elements = math.prod(shape[1:])
        self.reader.decode([(owner, first * row_elements, array)])
        return array

    @property
    def sha256(self) -> str:
        """SHA-256 of the file in hexadecimal digits, by which members name their pack.

        The first use reads the whole file.
        """
        return self.reader.hash().hex()

    @property
    def pack_sha256(self) -> str | None:
        """The SHA-256 of the pack's file, for a member of a fleet; None for other archives."""
        own = self.reader.pack_hash()
        return None if own is None else own.hex()

    def verify(self) -> None:
        """Check every section and decode every tensor against its digest. Raises ArchiveError."""
        self.reader.verify()

    @property
    def info(self) -> ArchiveInfo:
        """The contents and sizes of the archive; this reads the latents' headers and tables."""
        groups = self.reader.chunks()
        parts = self.reader.accounting()
        own = [row for row in self._rows if row[4] is None]
        return ArchiveInfo(
            format_version=self.reader.version,
            parameters=sum(math.prod(row[1]) for row in own),
            raw_bytes=sum(row[5] for row in own),
            bytes=parts | {"total": sum(parts.values())},
            chunks=sum(group[0] for group in groups),
            chunk_length=groups[0][1] if groups else None,
            latent=groups[0][2] if groups else None,
            latent_numbers=sum(group[0] * group[2] for group in groups),
            tensors=tuple(self._tensor_info(i) for i in range(len(self._rows))),
            metadata=self.reader.metadata(),
        )

    def in_batches(self) -> Iterator[tuple[str, Array]]:
        """Yield what `items` gives."""
        last_use = {self._owner(i): i for i in range(len(self._rows))}
        held: dict[int, Array] = {}
        names = list(self._index)
        start = 0
        while start < len(names):
            batch = self._batch(start, held)
            arrays = self.decode([names[owner] for owner in batch.owners])
            held |= {owner: arrays.pop(names[owner]) for owner in batch.owners}
            for i in range(start, batch.stop):
                owner = self._owner(i)
                yield names[i], held.pop(owner) if last_use[owner] == i else held[owner]
            start = batch.stop

    def _batch(self, start: int, held: Mapping[int, Array]) -> _Batch:
        """Choose the tensors from row `start` on to decode together, without those in `held`."""
        owners: dict[int, None] = {}
        size = 0
        for i in range(start, len(self._rows)):
            owner = self._owner(i)
            if owner in held or owner in owners:
                continue
            size += self._rows[owner][5]
            if owners and size > BATCH_BYTES:
                return _Batch(list(owners), i)
            owners[owner] = None
        return _Batch(list(owners), len(self._rows))

    def _check_output(self, name: str, array: Array) -> None:
        _, shape, dtype, *_ = self._rows[self._owner(self._index[name])]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"out has {array.dtype} {list(array.shape)} for '{name}', "
                f"which is {dtype} {list(shape)}"
            )
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"out's array for '{name}' must be C-contiguous and writable")

    def _owner(self, index: int) -> int:
        target = self._rows[index][4]
        return index if target is None else target

    def _tensor_info(self, index: int) -> TensorInfo:
        name, shape, dtype, codec, target, _ = self._rows[index]
        alias_of = None if target is None else self._rows[target][0]
        return TensorInfo(name, shape, _core.dtype_name(dtype), codec, alias_of)


class _Batch(NamedTuple):
    """Rows of tensors to decode together; `stop` is the first row that is not covered by them."""

    owners: Sequence[int]
    stop: int


def decode_members(
    members: Sequence[Archive], names: Sequence[str] | None = None
) -> list[dict[str, Array]]:
    """Decode the named tensors, or all, of members of one pack, natively in batches.

    `members` are open archives, opened with the same open pack. Raises ValueError if the packs
    differ, KeyError for a name that is not there, and ArchiveError.
    """
    destinations = [member._destinations(names, {}) for member in members]
    _core.decode_members(
        [
            (member.reader, [(owner, 0, array) for owner, array in outputs.items()])
            for member, (_, outputs) in zip(members, destinations, strict=True)
        ]
    )
    return [
        {name: outputs[owner] for name, owner in owners.items()} for owners, outputs in destinations
    ]

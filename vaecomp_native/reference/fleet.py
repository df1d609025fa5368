"""Fleet and member sections: what a pack's decoders add to its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.chunk import to_float32_bits
from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.quantized import add_base
from vaecomp_native.reference.rans import (
    FrequencyTable,
    Tables,
    decode_block,
    read_stream,
    read_table,
)

Int8Array = npt.NDArray[np.int8]
Float32Array = npt.NDArray[np.float32]

STORED, CODED = 0, 1
MAX_OUTPUTS = 1 << 28
MAX_LATENTS, MAX_TABLES, MAX_SLICES, MAX_GROUPS = 65_536, 256, 256, 65_536


class Decoder(Protocol):
    """A decoder's sizes and its evaluation."""

    @property
    def latent(self) -> int:
        """The number of inputs."""

    @property
    def chunk_length(self) -> int:
        """The number of outputs."""

    @property
    def multiplications(self) -> int:
        """Products that one chunk takes."""

    def forward(self, latents: Int8Array) -> Float32Array:
        """Latents [K, L] to chunks [K, C]."""


@dataclass(frozen=True)
class Group:
    """The tensors to which one decoder adds; ``tensors`` are their places in the table, ``position`` is [K, numbers]."""

    decoder: int
    slices: list[tuple[int, int]]
    tensors: list[int]
    position: Int8Array

    def inputs(self, latents: Int8Array) -> Int8Array:
        """What the decoder takes for each of the K chunks."""
        own = [latents[first : first + count] for first, count in self.slices]
        row = np.concatenate([*own, np.empty(0, np.int8)])
        return np.concatenate([np.tile(row, (len(self.position), 1)), self.position], axis=1)


@dataclass(frozen=True)
class Fleet:
    """A pack's fleet: the table of each latent by number, and the groups."""

    contexts: npt.NDArray[np.int64]
    tables: Tables | None
    groups: list[Group]


def read_coding(cursor: Cursor) -> tuple[npt.NDArray[np.int64], Tables | None]:
    """How many latents a member has, and which table each of them has."""
    latents = cursor.varint("latents", high=MAX_LATENTS)
    segments = cursor.varint("segment count", high=min(latents, MAX_TABLES))
    lengths: list[int] = []
    tables: list[FrequencyTable] = []
    for _ in range(segments):
        lengths.append(cursor.varint("segment length", 1, latents - sum(lengths)))
        tables.append(read_table(cursor, -128, 127))
    if sum(lengths) != latents:
        cursor.fail("segment length", f"the segments have {sum(lengths)} of {latents} latents")
    contexts = np.repeat(np.arange(segments), lengths)
    return contexts, Tables(tables) if tables else None


def read_group(
    cursor: Cursor,
    latents: int,
    sizes: Sequence[int | None],
    taken: set[int],
    decoders: Mapping[int, Decoder],
) -> Group:
    """One group; ``sizes`` are the elements of the table's tensors, None of those that no decoder may change."""
    decoder = cursor.varint("decoder")
    if decoder not in decoders:
        cursor.fail("decoder", f"{decoder} is no section of kind 3")
    length = cursor.varint("chunk length", 1, MAX_OUTPUTS)
    slices = []
    for _ in range(cursor.varint("slice count", high=MAX_SLICES)):
        first = cursor.varint("slice's first latent", high=latents)
        slices.append((first, cursor.varint("slice's latent count", 1, latents - first)))
    tensors: list[int] = []
    for _ in range(cursor.varint("tensor count", 1, len(sizes))):
        tensor = cursor.varint("tensor", high=len(sizes) - 1)
        if sizes[tensor] is None or tensor in taken:
            cursor.fail("tensor", f"{tensor} is no float tensor that belongs to no other group")
        taken.add(tensor)
        tensors.append(tensor)
    elements = sum(sizes[tensor] or 0 for tensor in tensors)
    chunks = -(-elements // length)
    numbers = cursor.varint("position numbers", high=MAX_LATENTS)
    position = np.zeros((chunks, 0), np.int8)
    if numbers:
        symbols = read_stream(cursor, -128, 127, chunks * numbers)
        position = symbols.astype(np.int8).reshape(chunks, numbers)
    inputs = sum(count for _, count in slices) + numbers
    if (decoders[decoder].latent, decoders[decoder].chunk_length) != (inputs, length):
        cursor.fail("decoder", f"its inputs and outputs are not {inputs} and {length}")
    return Group(decoder, slices, tensors, position)


def read_fleet(
    cursor: Cursor, sizes: Sequence[int | None], decoders: Mapping[int, Decoder], max_work: int
) -> Fleet:
    """A section of kind 6; decoding a member may take ``max_work`` products."""
    contexts, tables = read_coding(cursor)
    taken: set[int] = set()
    groups = [
        read_group(cursor, contexts.size, sizes, taken, decoders)
        for _ in range(cursor.varint("group count", high=MAX_GROUPS))
    ]
    cursor.finish("fleet")
    work = sum(decoders[g.decoder].multiplications * len(g.position) for g in groups)
    if work > max_work:
        cursor.fail("groups", f"decoding takes above {max_work} products")
    return Fleet(contexts, tables, groups)


def read_member(cursor: Cursor, fleet: Fleet) -> Int8Array:
    """A section of kind 8: the member's latents, int8 [L]."""
    count = fleet.contexts.size
    latents = np.empty(0, np.int8)
    if fleet.tables is not None:
        form = cursor.unpack("B", "latents' form")
        if form == STORED:
            latents = np.frombuffer(cursor.take(count, "latents"), np.int8)
        elif form == CODED:
            cursor.take(cursor.left, "latents")
            symbols = decode_block(cursor.last_taken(), fleet.contexts, fleet.tables, 1)
            latents = symbols.astype(np.int8)
        else:
            cursor.fail("latents' form", f"{form} is neither 0 nor 1")
    cursor.finish("member")
    return latents


def member_values(
    fleet: Fleet,
    decoders: Mapping[int, Decoder],
    latents: Int8Array,
    base: Mapping[int, npt.NDArray[Any]],
) -> dict[int, Float32Array]:
    """Base and what the decoders add, flat float32, by place in the table; ``base`` has the pack's float tensors."""
    values: dict[int, Float32Array] = {
        place: to_float32_bits(array).view(np.float32) for place, array in base.items()
    }
    for group in fleet.groups:
        added = decoders[group.decoder].forward(group.inputs(latents)).reshape(-1)
        for tensor in group.tensors:
            size = math.prod(base[tensor].shape)
            values[tensor] = add_base(values[tensor], added[:size])
            added = added[size:]
    return values

"""Packs and members: what a pack's decoders add to its tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from basics import Reader
from sections import INT8, Decoder, Table, decode_block, read_stream, read_table


@dataclass(frozen=True)
class Group:
    """Tensors, by their places in the table, to which one decoder adds."""

    decoder: Decoder
    slices: list[tuple[int, int]]  # of a member's latents: the first, and how many
    tensors: list[int]
    positions: list[list[int]]  # of each chunk

    def added(self, latents: list[int]) -> Iterator[float]:
        """What is added to the elements of the tensors, one tensor behind another."""
        own = [latent for first, count in self.slices for latent in latents[first : first + count]]
        for position in self.positions:
            yield from self.decoder.evaluate(own + position)


@dataclass(frozen=True)
class Fleet:
    """How members are coded, and what is made of them."""

    segments: list[tuple[int, Table]]  # of the latents: length and table
    groups: list[Group]

    @property
    def latents(self) -> int:
        return sum(length for length, _ in self.segments)


def read_fleet(
    reader: Reader, decoders: Mapping[int, Decoder], elements: Sequence[int | None]
) -> Fleet:
    """Read a fleet section; `elements` are those of each tensor of the table, None if no decoder may change it."""
    latents = reader.varint("latents", 0, 65_536)
    segments = []
    for _ in range(reader.varint("segment_count", min(latents, 1), 256 if latents else 0)):
        segments.append((reader.varint("segment length", 1), read_table(reader, INT8)))
    fleet = Fleet(segments, [])
    reader.require(fleet.latents == latents, "segments", "not as many latents")
    free = dict(enumerate(elements))
    work = 0
    for _ in range(reader.varint("group_count", 0, 65_536)):
        group = read_group(reader, decoders, latents, free)
        work += len(group.positions) * sum(map(math.prod, group.decoder.sizes))
        fleet.groups.append(group)
    reader.require(work <= 2**24 * reader.file_size, "groups", "too many chunks")
    reader.finish()
    return fleet


def read_group(
    reader: Reader, decoders: Mapping[int, Decoder], latents: int, free: dict[int, int | None]
) -> Group:
    """Read a group, whose tensors are no longer free then."""
    decoder = decoders.get(reader.varint("decoder"))
    if decoder is None or not decoder.integer:
        reader.fail("decoder", "not the index of an integer decoder")
    length = reader.varint("chunk_length", 1, 2**28)
    reader.require(length == decoder.sizes[-1][1], "chunk_length", "not the decoder's outputs")
    slices = []
    for _ in range(reader.varint("slice_count", 0, 256)):
        first = reader.varint("slice first", 0, latents)
        slices.append((first, reader.varint("slice count", 1, latents - first)))
    tensors, elements = [], 0
    for _ in range(reader.varint("tensor_count", 1)):
        tensors.append(reader.varint("tensor"))
        size = free.pop(tensors[-1], None)
        if size is None:
            reader.fail("tensor", "not one of a float dtype that belongs to no other group")
        elements += size
    numbers = reader.varint("positions", 0, 65_536)
    inputs = sum(count for _, count in slices) + numbers
    reader.require(inputs == decoder.sizes[0][0], "positions", "not the decoder's inputs")
    chunks = -(-elements // length)
    positions: list[list[int]] = [[] for _ in range(chunks)]
    if numbers > 0:
        symbols = read_stream(reader, chunks * numbers, INT8).read(reader)
        positions = [symbols[i * numbers : (i + 1) * numbers] for i in range(chunks)]
    return Group(decoder, slices, tensors, positions)


def read_member(reader: Reader, fleet: Fleet) -> list[int]:
    """Read a member section: the latents."""
    latents: list[int] = []
    if fleet.latents:
        form = reader.number("B", "form")
        reader.require(form in (0, 1), "form", f"{form} is not allowed")
        if form == 0:
            latents = list(reader.numbers("b", fleet.latents, "latents"))
        else:
            block = reader.take(reader.end - reader.position, "latents")
            repeated = (itertools.repeat(table, length) for length, table in fleet.segments)
            tables = itertools.chain.from_iterable(repeated)
            latents = decode_block(reader, block, 1, tables)
    reader.finish()
    return latents

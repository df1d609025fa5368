"""A complete decoder of latent archives (`.vaec`, format version 1): `python decode.py FILE [PACK]`.

It follows docs/format.md and docs/kernels.md, reads all of the file and checks all that they demand of a reader.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import add
from pathlib import Path

from basics import (
    DTYPES,
    FormatError,
    Reader,
    bytes_to_floats,
    crc32c,
    float32,
    floats_to_bytes,
    one_nan,
    tensor_digest,
)
from exact import read_exact
from fleet import Fleet, read_fleet, read_member
from sections import read_decoder, read_latents, read_lossless, read_residual

RAW, LATENTS, INTEGER_DECODER, FLOAT_DECODER, RESIDUAL, FLEET, LOSSLESS, MEMBER, EXACT = range(
    1, 10
)
ALIAS, SHARED = 2, 6
KIND_OF_CODEC = {0: RAW, 1: LATENTS, 3: RESIDUAL, 4: LOSSLESS}
KIND_IN_MEMBERS = {**KIND_OF_CODEC, 5: MEMBER, 7: EXACT}
QUANTIzABLE = list(DTYPES)[9:15]  # the dtypes of latent and residual tensors
ORDERED = list(DTYPES)[9:13]  # of exact ones


@dataclass(frozen=True)
class Tensor:
    """Little-endian elements in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Section:
    """A section as the index describes it."""

    kind: int
    size: int
    crc: int


@dataclass(frozen=True)
class Entry:
    """A tensor as the index describes it."""

    name: str
    codec: int
    target: int  # section, or the tensor that an alias names; of a shared one nothing
    dtype: str
    shape: tuple[int, ...]
    digest: int
    offset: int  # of the digest

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.elements * DTYPES[self.dtype]


def decode(data: bytes, pack: bytes | None = None) -> dict[str, Tensor]:
    """Decode an archive.

    Args:
        data: The file.
        pack: The file of the pack that a member needs.

    Raises:
        FormatError: The file is damaged, not an archive of this version, or a member of another pack.
    """
    return Archive(data, pack).decode()


# Header and index.


def read_header(data: bytes) -> tuple[Reader, bool]:
    """Check the header; give a reader of the index, and whether the file is a member of a pack."""
    header = Reader(data, 0, len(data), "header: ", len(data))
    header.require(header.take(8, "magic") == b"\x89VAEC\r\n\x1a", "magic", "not an archive")
    version = header.number("H", "version")
    header.require(version == 1, "version", f"{version} is not 1")
    check = Reader(data, 28, len(data), "header: ", len(data)).number("I", "CRC of header")
    if check != crc32c(data[:28]):
        raise FormatError("header: CRC of header", 28, "it differs")
    flags = header.number("H", "flags")
    header.require(flags in (0, 1), "flags", f"{flags} is not allowed")
    index_size = header.number("I", "size of index")
    header.require(index_size <= 2**30, "size of index", "above 2^30")
    header.require(32 + index_size <= len(data), "size of index", "the file ends before it")
    header.require(header.number("Q", "size of file") == len(data), "size of file", "it differs")
    index_crc = header.number("I", "CRC of index")
    end = 32 + index_size
    header.require(crc32c(data[32:end]) == index_crc, "CRC of index", "it differs")
    return Reader(data, 32, end, "index: ", len(data)), flags == 1


def open_pack(index: Reader, data: bytes | None) -> Archive:
    """The pack of a member, whose index begins with the pack's hash."""
    sha256 = index.take(32, "pack")
    if data is None or hashlib.sha256(data).digest() != sha256:
        index.fail("pack", f"the file is a member of the pack with SHA-256 {sha256.hex()}")
    pack = Archive(data)
    index.require(bool(pack.of_kind(FLEET)), "pack", "it has no fleet section")
    return pack


def read_index(index: Reader, pack: Archive | None) -> tuple[list[Section], list[Entry]]:
    keys = set()
    for count in range(1, index.varint("metadata_count", most=65_536) + 1):
        keys.add(index.string("key"))
        index.require(len(keys) == count, "key", "it occurs twice")
        index.string("value")
    parts: list[Section] = []
    for _ in range(index.varint("section_count", most=65_536)):
        parts.append(read_section(index, (MEMBER, EXACT) if pack else (FLEET,)))
        kind = parts[-1].kind
        once = kind not in (FLEET, MEMBER) or all(part.kind != kind for part in parts[:-1])
        index.require(once, "kind", f"a second section of kind {kind}")
    if pack:
        entries = [read_member_entry(index, entry, parts) for entry in pack.entries]
    else:
        entries = read_entries(index, parts)
    index.finish()
    own = (entry.size for entry in entries if entry.codec not in (ALIAS, SHARED))
    index.require_modest(sum(own), "tensors")
    return parts, entries


def read_entries(index: Reader, parts: list[Section]) -> list[Entry]:
    entries: list[Entry] = []
    name, names, size_of_names = b"", set[bytes](), 0
    for count in range(1, index.varint("tensor_count", most=2**24) + 1):
        name = read_name(index, name, 2**26 - size_of_names)
        names.add(name)
        size_of_names += len(name)
        index.require(len(names) == count, "name", "it occurs twice")
        entries.append(read_entry(index, name.decode("utf-8"), parts, entries))
    return entries


def read_section(index: Reader, special: tuple[int, ...]) -> Section:
    kind = index.number("B", "kind")
    index.require(kind in (1, 2, 3, 4, 5, 7, *special), "kind", f"{kind} is not allowed")
    index.require(index.number("B", "section flags") == 0, "section flags", "not 0")
    size = index.varint("section size", most=2**63 - 1)
    return Section(kind, size, index.number("I", "section crc32c"))


def read_name(index: Reader, previous: bytes, most: int) -> bytes:
    """A name of at most so many bytes; the first are those of the previous one."""
    shared = index.varint("shared", most=len(previous))
    rest = index.take(index.varint("name size"), "name")
    index.require(shared + len(rest) <= most, "name", "all names have more than 2^26 bytes")
    index.text(previous[:shared] + rest, "name")
    return previous[:shared] + rest


def read_entry(index: Reader, name: str, parts: list[Section], entries: list[Entry]) -> Entry:
    codec = index.number("B", "codec")
    if codec == ALIAS:
        target = index.varint("alias")
        earlier = target < len(entries) and entries[target].codec != ALIAS
        index.require(earlier, "alias", "not an earlier tensor of another codec")
        return replace(entries[target], name=name, codec=ALIAS, target=target)
    index.require(codec in KIND_OF_CODEC, "codec", f"{codec} is not allowed")
    number = index.number("B", "dtype")
    index.require(number < len(DTYPES), "dtype", f"{number} is not allowed")
    dtype = list(DTYPES)[number]
    index.require(codec in (0, 4) or dtype in QUANTIzABLE, "dtype", f"{dtype} is not allowed here")
    rank = index.number("B", "rank")
    index.require(rank <= 32, "rank", "above 32")
    shape = tuple(index.varint("shape") for _ in range(rank))
    product = math.prod(length for length in shape if length)
    index.require(product <= (2**63 - 1) // 16, "shape", "too many elements")
    section = read_home(index, parts, KIND_OF_CODEC[codec])
    return Entry(name, codec, section, dtype, shape, index.number("Q", "digest"), index.last)


def read_home(index: Reader, parts: list[Section], kind: int) -> int:
    section = index.varint("section")
    fits = section < len(parts) and parts[section].kind == kind
    index.require(fits, "section", f"{section} is not one of this codec")
    return section


def read_member_entry(index: Reader, own: Entry, parts: list[Section]) -> Entry:
    """A tensor of a member: the pack's with other values."""
    if own.codec == ALIAS:
        return own
    codec = index.number("B", "codec")
    if codec == SHARED:
        return replace(own, codec=SHARED)
    index.require(codec in KIND_IN_MEMBERS, "codec", f"{codec} is not allowed")
    dtypes = {0: DTYPES, 4: DTYPES, 7: ORDERED}.get(codec, QUANTIzABLE)
    index.require(own.dtype in dtypes, "codec", f"{codec} does not fit {own.dtype}")
    section = read_home(index, parts, KIND_IN_MEMBERS[codec])
    digest = index.number("Q", "digest")
    return replace(own, codec=codec, target=section, digest=digest, offset=index.last)


# Sections.


def find_section(file: Reader, section: Section) -> Reader:
    if section.kind == RAW:
        padding = file.take(-file.position % 64, "padding")
        file.require(not any(padding), "padding", "not zero")
    return file.part(section.size, "section")


def split_head(reader: Reader, section: Section) -> tuple[Reader, Reader]:
    """Check the CRC; give the section, or its head, and its blocks."""
    start = reader.position
    if section.kind in (RESIDUAL, LOSSLESS, EXACT):
        head, blocks = reader.part(reader.varint("head_size"), "head"), reader
    else:
        head, blocks = reader, reader.part(0, "blocks")
    reader.last = start
    reader.require(crc32c(reader.data[start : head.end]) == section.crc, "CRC", "it differs")
    return head, blocks


class Archive:
    """A file whose sections are found and checked; `decode` may be called once."""

    def __init__(self, data: bytes, pack: bytes | None = None) -> None:
        self.size = len(data)
        index, is_member = read_header(data)
        self.pack = open_pack(index, pack) if is_member else None
        if self.pack:
            index.file_size += self.pack.size
        self.sections, self.entries = read_index(index, self.pack)
        self.members: list[list[int]] = [[] for _ in self.sections]  # the tensors that name each
        for place, entry in enumerate(self.entries):
            if entry.codec not in (ALIAS, SHARED):
                self.members[entry.target].append(place)
        file = Reader(data, index.end, len(data), "", index.file_size)
        self.readers = []
        for number, section in enumerate(self.sections):
            reader = find_section(file, section)
            reader.place = f"section {number}: "
            self.readers.append(split_head(reader, section))
        file.finish()

    def of_kind(self, *kinds: int) -> list[int]:
        return [number for number, section in enumerate(self.sections) if section.kind in kinds]

    def decode(self) -> dict[str, Tensor]:
        self.decoders = {
            number: read_decoder(self.readers[number][0], number in self.of_kind(INTEGER_DECODER))
            for number in self.of_kind(INTEGER_DECODER, FLOAT_DECODER)
        }
        self.fleet = Fleet([], [])
        for number in self.of_kind(FLEET):
            elements = [
                entry.elements if entry.codec != ALIAS and entry.dtype in QUANTIzABLE else None
                for entry in self.entries
            ]
            self.fleet = read_fleet(self.readers[number][0], self.decoders, elements)
        shared = list(self.pack.decode().values()) if self.pack else []
        self.shared = shared
        self.values: dict[int, list[float]] = {}  # what base and decoders make, by tensor
        for number in self.of_kind(MEMBER):
            self.values = self.read_values(number, shared)
        self.free_bases = {number for number in self.of_kind(LATENTS) if not self.members[number]}
        data = [iter(self.read_section(number)) for number in range(len(self.sections))]
        for number in self.free_bases:
            self.readers[number][0].fail("section", "no tensor names it, and it is no base")
        tensors: list[Tensor] = []
        for place, entry in enumerate(self.entries):
            if entry.codec == ALIAS:
                tensors.append(tensors[entry.target])
            elif entry.codec == SHARED:
                tensors.append(shared[place])
            else:
                tensors.append(Tensor(entry.dtype, entry.shape, next(data[entry.target])))
                check_tensor(entry, tensors[-1].data)
        return {entry.name: tensor for entry, tensor in zip(self.entries, tensors, strict=True)}

    def read_section(self, number: int) -> list[bytes]:
        """Decode the tensors that name a section."""
        kind, places = self.sections[number].kind, self.members[number]
        members = [self.entries[place] for place in places]
        head, blocks = self.readers[number]
        if kind == LATENTS and members:
            count = sum(entry.elements for entry in members)
            return split(read_latents(head, self.decoders, count), members)
        if kind == RESIDUAL:
            shapes = [entry.shape for entry in members]
            read_base = partial(self.read_base, places)
            return split(read_residual(head, blocks, shapes, read_base), members)
        if kind == MEMBER:
            return split([value for place in places for value in self.values[place]], members)
        if kind == EXACT:
            tensors = [(entry.dtype, entry.shape) for entry in members]
            return read_exact(head, blocks, tensors, partial(self.predict, places))
        if kind == LOSSLESS:
            return read_lossless(head, blocks, [(entry.dtype, entry.size) for entry in members])
        if kind == RAW:
            return read_raw(head, [entry.size for entry in members])
        return []

    def read_base(self, places: list[int], residual: Reader, number: int) -> list[float]:
        """What is added to the tensors at these places of the table."""
        if number in self.of_kind(MEMBER):
            return [value for place in places for value in self.values[place]]
        free = number in self.free_bases
        residual.require(free, "base", f"section {number} is not latents for this section alone")
        self.free_bases.remove(number)
        elements = sum(self.entries[place].elements for place in places)
        return read_latents(self.readers[number][0], self.decoders, elements)

    def predict(self, places: list[int], exact: Reader, base: int) -> list[bytes]:
        """What the tensors at these places would be without their differences; `base` counts from 1."""
        if base == 0:
            return [self.shared[place].data for place in places]
        is_member = base - 1 in self.of_kind(MEMBER)
        exact.require(is_member, "base", f"section {base - 1} is not the member's")
        values = [value for place in places for value in self.values[place]]
        return split(values, [self.entries[place] for place in places])

    def read_values(self, number: int, shared: list[Tensor]) -> dict[int, list[float]]:
        """What the pack's float tensors become with the latents of the member section."""
        assert self.pack is not None
        fleet = self.pack.fleet
        latents = read_member(self.readers[number][0], fleet)
        values = {
            place: bytes_to_floats(tensor.data, tensor.dtype)
            for place, tensor in enumerate(shared)
            if tensor.dtype in QUANTIzABLE
        }
        for group in fleet.groups:
            added = group.added(latents)
            for place in group.tensors:
                base = values[place]
                sums = map(add, base, islice(added, len(base)))
                values[place] = [one_nan(float32(total)) for total in sums]
        return values


def read_raw(section: Reader, sizes: list[int]) -> list[bytes]:
    data = [section.take(size, "tensor") for size in sizes]
    section.finish()
    return data


def split(values: list[float], members: list[Entry]) -> list[bytes]:
    """Cut the flat vector into tensors, and convert these to their dtypes."""
    vector = iter(values)
    return [floats_to_bytes(list(islice(vector, entry.elements)), entry.dtype) for entry in members]


def check_tensor(entry: Entry, data: bytes) -> None:
    if entry.dtype == "bool" and max(data, default=0) > 1:
        raise FormatError(f"tensor {entry.name!r}", entry.offset, "a bool is neither 0 nor 1")
    if tensor_digest(data) != entry.digest:
        raise FormatError(f"digest of {entry.name!r}", entry.offset, "the values do not match it")


def main(path: str, pack: str | None = None) -> int:
    try:
        tensors = decode(Path(path).read_bytes(), Path(pack).read_bytes() if pack else None)
    except FormatError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    for name, tensor in tensors.items():
        sha256 = hashlib.sha256(tensor.data).hexdigest()
        line = f"{name}\t{tensor.dtype}\t{list(tensor.shape)}\t{sha256}\n"
        sys.stdout.buffer.write(line.encode("utf-8"))
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python decode.py FILE [PACK]")
    sys.exit(main(*sys.argv[1:]))

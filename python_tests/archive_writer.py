"""A latent archive made by hand, part by part, so that tests can break the format's rules."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import ArchiveError
from vaecomp_native.reference import (
    FrequencyTable,
    Tables,
    crc32c,
    digest,
    encode_symbols,
    frequency_table,
)
from vaecomp_native.reference.archive import MAGIC, RAW, checked_bytes
from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.dtypes import DTYPES, dtype_name
from vaecomp_native.reference.lossless import SMALL
from vaecomp_native.reference.rans import encode_blocks, encode_stream, varint, write_table


def string(text: str | bytes) -> bytes:
    """A length-prefixed string."""
    raw = text.encode() if isinstance(text, str) else text
    return varint(len(raw)) + raw


def parameter(values: npt.NDArray[Any] | None) -> bytes:
    """A decoder parameter: absent, one value, or one for each output."""
    if values is None:
        return b"\0"
    return bytes([1 if values.ndim == 0 else 2]) + values.tobytes()


def weight_stream(weight: npt.NDArray[np.int8]) -> bytes:
    """The symbol stream of an integer layer's weights [out, in]."""
    symbols = weight.T.reshape(-1).astype(np.int32)
    return encode_symbols(symbols, [symbols.size])


def integer_decoder(layers: Sequence[tuple[Any, ...]]) -> bytes:
    """A section of kind 3: layers (weight, bias, multiplier, shift), last (weight, bias, scale).

    A parameter is None (absent), one value, or one for each output.
    """
    parts = [varint(len(layers))]
    for weight, *parameters in layers:
        out, inputs = weight.shape
        parts += [varint(inputs), varint(out), *map(parameter, parameters), weight_stream(weight)]
    return b"".join(parts)


def float32_decoder(layers: Sequence[tuple[Any, Any]]) -> bytes:
    """A section of kind 4: layers (weight, bias)."""
    parts = [varint(len(layers))]
    for weight, bias in layers:
        out, inputs = weight.shape
        parts += [varint(inputs), varint(out), bias.tobytes(), weight.tobytes()]
    return b"".join(parts)


def latents_section(numbers: Sequence[int], content: bytes) -> bytes:
    """A section of kind 2: the numbers (decoder, C, K, L, P), then the latents."""
    return b"".join(map(varint, numbers)) + content


def latent_stream(latents: npt.NDArray[np.int8]) -> bytes:
    """The symbol stream of int8 latents [K, L]."""
    symbols = latents.T.reshape(-1).astype(np.int32)
    return encode_symbols(symbols, [symbols.size])


def zigzag(value: int) -> bytes:
    """A signed number."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


def bfloat16(values: npt.ArrayLike) -> bytes:
    """The upper halves of float32 numbers."""
    return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


def matrix(
    step: float, flags: int = 0, level: int = 0, codebook: tuple[int, Any] | None = None
) -> bytes:
    """A tensor's entry in a quantized section."""
    head = bfloat16([step]) + bytes([flags]) + varint(level)
    if codebook is None:
        return head
    first, values = codebook
    return head + zigzag(first) + varint(len(values)) + bfloat16(values)


def frequency_tables(
    symbols: npt.NDArray[np.int32], contexts: npt.NDArray[Any]
) -> list[FrequencyTable]:
    """The encoder's table of each context; of those without symbols the shortest."""
    members = [symbols[contexts == t] for t in range(int(contexts.max(initial=0)) + 1)]
    return [frequency_table(own) if own.size else FrequencyTable(0, (4096,)) for own in members]


def joined(head: bytes, payload: bytes) -> bytes:
    """A section that begins with a head."""
    return varint(len(head)) + head + payload


def coded_symbols(
    symbols: npt.ArrayLike, contexts: npt.ArrayLike, lanes: int = 2
) -> tuple[bytes, bytes]:
    """Return a quantized section's tables with the directory, and its blocks.

    ``contexts`` are the symbols' tables.
    """
    flat = np.asarray(symbols, np.int32).reshape(-1)
    numbers = np.broadcast_to(np.asarray(contexts, np.int64), np.shape(symbols)).reshape(-1)
    tables = frequency_tables(flat, numbers)
    head = varint(len(tables)) + b"".join(map(write_table, tables)) + bytes([lanes])
    directory, blocks = encode_blocks(flat, numbers, Tables(tables), lanes)
    return head + directory, blocks


def quantized_section(
    matrices: Sequence[bytes], axes: Sequence[int], coded: tuple[bytes, bytes], base: int = 0
) -> bytes:
    """A section of kind 5: entries of the tensors, all their exponents and levels, the symbols."""
    stream = encode_symbols(np.array(axes, np.int32), [len(axes)] if axes else [])
    return joined(varint(base) + b"".join(matrices) + stream + coded[0], coded[1])


Plane = tuple[bytes, bytes]
"""What a plane has in its section's head and behind it."""


def stored_plane(values: npt.ArrayLike) -> Plane:
    """A plane of bytes as they are: a small one, or one of a single block."""
    content = np.asarray(values, np.uint8).tobytes()
    if len(content) <= SMALL:
        return b"\0" + content, b""
    return b"\0" + struct.pack("<I", crc32c(content)), content


def coded_plane(values: npt.ArrayLike) -> Plane:
    """A plane of bytes as a symbol stream."""
    symbols = np.asarray(values, np.int32)
    tables, directory, blocks = encode_stream(symbols, [symbols.size])
    if symbols.size <= SMALL:
        return b"\1" + tables + directory + blocks, b""
    return b"\1" + tables + directory, blocks


@dataclass(frozen=True)
class SplitFields:
    """How a tensor is split. The last four fields, if given, make a file that is not valid."""

    low: int
    origin: int
    symbols: int
    level: int = 0
    row_levels: Sequence[int] | None = None
    column_levels: Sequence[int] | None = None
    row_zeros: Sequence[int] | None = None
    flags: int | None = None
    tail: bytes = b""
    last_bits: int = 0
    coded_size: int | None = None


def split_tensor(items: npt.NDArray[np.unsignedinteger[Any]], fields: SplitFields) -> Plane:
    """A split tensor of at most one block; ``items`` [rows, columns] are turned, signs last."""
    words = items.astype(np.uint64)
    rows, columns = words.shape
    axes = [fields.row_levels, fields.column_levels, fields.row_zeros]
    flags = sum(1 << bit for bit, axis in enumerate(axes) if axis is not None)
    highs = words >> np.uint64(fields.low)
    symbols = highs.astype(np.int64) - fields.origin
    escapes = (symbols < 0) | (symbols >= fields.symbols)
    symbols[escapes] = fields.symbols
    contexts = np.full(words.shape, fields.level)
    contexts += np.reshape(fields.row_levels or [0] * rows, (rows, 1))
    contexts += np.asarray(fields.column_levels or [0] * columns)
    tables, blocks = coded_symbols(symbols, contexts)
    # The directory's entry is that of the whole block.
    directory = varint(len(blocks)) + struct.pack("<I", crc32c(blocks))
    tables = tables.removesuffix(directory)
    bits = 0
    width = 0
    for i, j in np.ndindex(words.shape):
        zeros = 0 if fields.row_zeros is None else fields.row_zeros[i]
        low = int(words[i, j]) & ((1 << fields.low) - 1)
        bits |= (low >> 1 >> zeros << 1 | low & 1) << width
        width += fields.low - zeros
    for high in highs[escapes].tolist():
        bits |= high << width
        width += 8 * items.itemsize - fields.low
    content = bytearray(bits.to_bytes(-(-width // 8), "little") + fields.tail)
    content[-1] |= fields.last_bits
    size = len(blocks) if fields.coded_size is None else fields.coded_size
    block = struct.pack("<I", size) + blocks + content
    head = b"\2" + bytes([fields.low]) + varint(fields.origin) + varint(fields.symbols)
    head += bytes([flags if fields.flags is None else fields.flags]) + varint(fields.level)
    values = np.array([value for axis in axes for value in axis or ()], np.int32)
    segments = [values.size] if values.size else []
    head += encode_symbols(values, segments) + tables
    return head + varint(len(block)) + struct.pack("<I", crc32c(block)), block


def lossless_section(*planes: Plane) -> bytes:
    """A section of kind 7."""
    return joined(b"".join(head for head, _ in planes), b"".join(rest for _, rest in planes))


@dataclass(frozen=True)
class Row:
    """A tensor's entry in the table; ``shared`` replaces the length shared with the last name."""

    name: bytes
    content: bytes
    shared: int | None = None

    def entry(self, previous: bytes) -> bytes:
        """The entry's bytes behind one of another name."""
        shared = self.shared
        if shared is None:
            pairs = zip(self.name, previous, strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        rest = self.name[shared:]
        return varint(shared) + varint(len(rest)) + rest + self.content


def row(name: str | bytes, content: bytes, shared: int | None = None) -> Row:
    """The table's entry of whatever follows a name."""
    return Row(name.encode() if isinstance(name, str) else name, content, shared)


def tensor(name: str | bytes, codec: int, array: npt.NDArray[Any], section: int) -> Row:
    """The table's entry of a tensor with data of its own."""
    head = bytes([codec, DTYPES.index(dtype_name(array.dtype)), array.ndim])
    shape = b"".join(map(varint, array.shape))
    return row(name, head + shape + varint(section) + struct.pack("<Q", digest(array)))


def alias(name: str, target: int) -> Row:
    """The table's entry of an alias."""
    return row(name, b"\2" + varint(target))


def section_crc(kind: int, content: bytes) -> int:
    """What the index says of a section; that of a head which is too long covers everything."""
    try:
        return crc32c(checked_bytes(kind, Cursor(content)))
    except ArchiveError:
        return crc32c(content)


@dataclass
class Archive:
    """The parts of an archive; ``build`` adds sizes and CRCs."""

    metadata: list[tuple[str | bytes, str | bytes]] = field(default_factory=list)
    sections: list[tuple[int, bytes]] = field(default_factory=list)
    tensors: list[Row] = field(default_factory=list)
    section_flags: int = 0
    index_tail: bytes = b""
    tail: bytes = b""
    version: int = 1
    flags: int = 0
    file_size: int | None = None

    def index(self) -> bytes:
        """The index."""
        parts = [varint(len(self.metadata))]
        parts += [string(text) for pair in self.metadata for text in pair]
        parts.append(varint(len(self.sections)))
        for kind, content in self.sections:
            entry = bytes([kind, self.section_flags]) + varint(len(content))
            parts.append(entry + struct.pack("<I", section_crc(kind, content)))
        parts.append(varint(len(self.tensors)))
        names = [b"", *(entry.name for entry in self.tensors)]
        parts += [entry.entry(name) for entry, name in zip(self.tensors, names, strict=False)]
        return b"".join([*parts, self.index_tail])

    def build(self) -> bytes:
        """The archive's bytes."""
        index = self.index()
        body = index
        for kind, content in self.sections:
            padding = -(32 + len(body)) % 64 if kind == RAW else 0
            body += bytes(padding) + content
        body += self.tail
        size = 32 + len(body) if self.file_size is None else self.file_size
        head = MAGIC + struct.pack(
            "<HHIQI", self.version, self.flags, len(index), size, crc32c(index)
        )
        return head + struct.pack("<I", crc32c(head)) + body
